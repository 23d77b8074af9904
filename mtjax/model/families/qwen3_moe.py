"""Qwen3-MoE: the shape of Qwen3 with experts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Key, shape
from mtjax.model.families.keys import EXPERT_COUNTS, flag, number, number_of_experts, sliding_window
from mtjax.model.families.qwen2 import Qwen2
from mtjax.model.families.qwen2_moe import Qwen2Moe, dense_layers
from mtjax.model.families.qwen3 import QWEN3
from mtjax.model.families.tables import EXPERTS, LLAMA_TENSORS, QK_NORM
from mtjax.model.mixture import Mixture


@FAMILIES.register("qwen3_moe")
class Qwen3Moe(Qwen2):
    """The shape of Qwen3 with experts; the K weights of a token sum to 1 if `norm_topk_prob` is true.

    Want it for Qwen3-30B-A3B and Qwen3-235B-A22B.

    Source: Qwen Team, "Qwen3 Technical Report", 2025 (arXiv 2505.09388).
    """

    architecture = "Qwen3MoeForCausalLM"
    switches = {"qk_norm": True}
    mixture = {
        "experts": Key("num_experts", number_of_experts, 128),
        "per_token": Key("num_experts_per_tok", number, 8),
        "width": Key("moe_intermediate_size", number, 768),
        "normalize": Key("norm_topk_prob", flag, False),
        "dense_layers": Key("mlp_only_layers", dense_layers),
    }
    reads = ("use_sliding_window", "sliding_window", "decoder_sparse_step", *EXPERT_COUNTS)
    constants = {**Qwen2Moe.constants, "attention_bias": False}
    tensors = (*LLAMA_TENSORS, *QK_NORM, *EXPERTS)
    sizes = {
        "qwen3-30b-a3b": shape(48, 32, 4, 2048, 6144, replace(QWEN3, tied=False), mixture=Mixture(128, 8, 768)),
    }

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """`sliding_window` in all layers if `use_sliding_window`."""
        if not flag(config, "use_sliding_window"):
            return None, None
        return sliding_window({**config, "layer_types": None}, (True,) * layers)

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The window, which every layer has."""
        return {"use_sliding_window": config.window is not None, "sliding_window": config.window}
