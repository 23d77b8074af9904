"""Qwen3, dense: no biases, but a norm over each head's query and key."""

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, shape
from mtjax.model.families.qwen2 import Qwen2
from mtjax.model.families.tables import LLAMA_TENSORS, QK_NORM

QWEN3 = DecoderConfig(
    vocab_size=151936, head_dim=128, rope_theta=1e6, norm_eps=1e-6, qk_norm=True, max_length=40960, tied=True
)


@FAMILIES.register("qwen3")
class Qwen3(Qwen2):
    """The shape of Llama with RMSNorm over each head's query and key before the rotary embedding.

    Formula: `q_h = rope(scale_q * q_h / sqrt(mean(q_h^2) + eps))` for each query head, and the same for each key head.
    One scale of the head width serves all heads of a layer. The window is read as in Qwen2.

    Want it for the dense Qwen3 models; the mixture-of-experts ones have another `model_type`.

    Source: Qwen Team, "Qwen3 Technical Report", 2025 (arXiv 2505.09388).
    """

    architecture = "Qwen3ForCausalLM"
    head_dim = 128
    switches = {"qk_norm": True}
    constants = {"attention_bias": False}
    tensors = (*LLAMA_TENSORS, *QK_NORM)
    sizes = {
        "qwen3-0.6b": shape(28, 16, 8, 1024, 3072, QWEN3),
        "qwen3-1.7b": shape(28, 16, 8, 2048, 6144, QWEN3),
        "qwen3-4b": shape(36, 32, 8, 2560, 9728, QWEN3),
        "qwen3-8b": shape(36, 32, 8, 4096, 12288, QWEN3, tied=False),
        "qwen3-14b": shape(40, 40, 8, 5120, 17408, QWEN3, tied=False),
        "qwen3-32b": shape(64, 64, 8, 5120, 25600, QWEN3, tied=False),
    }
