"""Phi-3, Phi-3.5 and Phi-4: the shape of Llama with joined projections, and longrope in the long ones."""

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, WindowInAllLayers, shape
from mtjax.model.families.rotary import Rotary
from mtjax.model.families.tables import EMBED, END, NORM_BEFORE_ATTENTION, NORM_BEFORE_MLP, in_layer

# One tensor has the rows of query, key and value, another those of gate and up.
JOINED = (
    in_layer("attention.query.kernel", "self_attn.qkv_proj.weight", 1),
    in_layer("attention.key.kernel", "self_attn.qkv_proj.weight", 1),
    in_layer("attention.value.kernel", "self_attn.qkv_proj.weight", 1),
    in_layer("attention.out.kernel", "self_attn.o_proj.weight", 2),
    in_layer("mlp.gate.kernel", "mlp.gate_up_proj.weight", 1),
    in_layer("mlp.up.kernel", "mlp.gate_up_proj.weight", 1),
    in_layer("mlp.down.kernel", "mlp.down_proj.weight", 1),
)
PHI3 = DecoderConfig(vocab_size=32064, head_dim=96, norm_eps=1e-5, max_length=4096, window=2047)


@FAMILIES.register("phi3")
class Phi3(WindowInAllLayers):
    """The shape of Llama; query, key and value are one tensor in the checkpoint, and so are gate and up.

    `longrope` divides each rotary frequency by a factor of its own, one list for texts of up to
    `original_max_position_embeddings` tokens and one for longer ones. Phi-4-mini rotates a part of each head only.

    Want it for Phi-3 mini and medium, Phi-3.5 mini, Phi-4 and Phi-4-mini. Phi-3 small and the mixtures are others.

    Source: Abdin et al., "Phi-3 Technical Report", 2024 (arXiv 2404.14219); Abdin et al., "Phi-4 Technical Report",
    2024 (arXiv 2412.08905); Ding et al., "LongRoPE", 2024 (arXiv 2402.13753).
    """

    architecture = "Phi3ForCausalLM"
    max_length = 4096
    norm_eps = 1e-5
    rotary = Rotary(kinds=("default", "longrope"), partial=True, original=4096)
    reads = ("sliding_window", "full_attn_mod", "interpolate_factor", "lm_head_bias")
    constants = {"attention_bias": False}
    tensors = (*EMBED, *NORM_BEFORE_ATTENTION, *NORM_BEFORE_MLP, *JOINED, *END)
    sizes = {
        "phi-3-mini-4k": shape(32, 32, 32, 3072, 8192, PHI3),
        "phi-4": shape(
            40, 40, 10, 5120, 17920, PHI3, vocab_size=100352, head_dim=128, rope_theta=250_000.0, window=None,
            max_length=16384,
        ),
    }  # fmt: skip
