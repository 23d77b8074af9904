"""OLMo 2: norms behind attention and MLP, and over all queries and all keys."""

from typing import ClassVar

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Family, shape
from mtjax.model.families.tables import ATTENTION, EMBED, END, MLP, NORMS_AFTER, QK_NORM

NORMS = {"norm": "scale_float32", "norm_places": "after", "qk_norm": True, "qk_norm_joint": True}
OLMO2 = DecoderConfig(
    vocab_size=100352, head_dim=128, rope_theta=5e5, norm_eps=1e-6, max_length=4096, **NORMS,  # type: ignore[arg-type]
)  # fmt: skip


@FAMILIES.register("olmo2")
class Olmo2(Family):
    """The shape of Llama with norms on the outputs of attention and MLP instead of their inputs, and on query and key.

    Formula: `x + norm(attention(x))`, `x + norm(mlp(x))`; the norm of the queries is over all heads together, before
    the rotary embedding, and so is that of the keys.

    Want it for OLMo 2 in 1B, 7B, 13B and 32B.

    Source: Team OLMo, "2 OLMo 2 Furious", 2024 (arXiv 2501.00656).
    """

    architecture = "Olmo2ForCausalLM"
    max_length = 2048
    norm_eps = 1e-5
    switches = NORMS
    constants = {"attention_bias": False}
    tensors: ClassVar = (*EMBED, *ATTENTION, *QK_NORM, *NORMS_AFTER, *MLP, *END)
    sizes: ClassVar = {
        "olmo2-1b": shape(16, 16, 16, 2048, 8192, OLMO2),
        "olmo2-7b": shape(32, 32, 32, 4096, 11008, OLMO2),
        "olmo2-13b": shape(40, 40, 40, 5120, 13824, OLMO2),
        "olmo2-32b": shape(64, 40, 8, 5120, 27648, OLMO2),
    }
