"""OLMoE: many small experts, and norms over all queries and all keys."""

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Family, Key, shape
from mtjax.model.families.keys import EXPERT_COUNTS, flag, number, number_of_experts, real_or_none
from mtjax.model.families.tables import (
    ATTENTION,
    EMBED,
    END,
    EXPERTS,
    NORM_BEFORE_ATTENTION,
    NORM_BEFORE_MLP,
    QK_NORM,
)
from mtjax.model.mixture import Mixture

OLMOE = DecoderConfig(
    vocab_size=50304, head_dim=128, max_length=4096, qk_norm=True, qk_norm_joint=True,
    mixture=Mixture(64, 8, 1024, normalize=False),
)  # fmt: skip


@FAMILIES.register("olmoe")
class Olmoe(Family):
    """The shape of Llama with experts, and norms of all queries and all keys before the rotary embedding.

    The K weights of a token are the router's probabilities, unless `norm_topk_prob` is true.

    Want it for OLMoE-1B-7B.

    Source: Muennighoff et al., "OLMoE: Open Mixture-of-Experts Language Models", 2024 (arXiv 2409.02060).
    """

    architecture = "OlmoeForCausalLM"
    max_length = 4096
    norm_eps = 1e-5
    switches = {"qk_norm": True, "qk_norm_joint": True}
    settings = {"clip_qkv": Key("clip_qkv", real_or_none)}
    mixture = {
        "experts": Key("num_experts", number_of_experts, 64),
        "per_token": Key("num_experts_per_tok", number, 8),
        "width": Key("intermediate_size", number),
        "normalize": Key("norm_topk_prob", flag, False),
    }
    reads = EXPERT_COUNTS
    constants = {"attention_bias": False}
    tensors = (*EMBED, *NORM_BEFORE_ATTENTION, *ATTENTION, *QK_NORM, *NORM_BEFORE_MLP, *EXPERTS, *END)
    sizes = {"olmoe-1b-7b": shape(16, 16, 16, 2048, 1024, OLMOE)}
