"""Mistral 7B: the shape of Llama, with a sliding window in version 0.1."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Family
from mtjax.model.families.keys import sliding_window
from mtjax.model.families.llama import LLAMA_2


@FAMILIES.register("mistral")
class Mistral(Family):
    """The shape of Llama with a sliding window in every layer.

    Want it for Mistral 7B. Versions 0.2 and 0.3 have no window.

    Source: Jiang et al., "Mistral 7B", 2023 (arXiv 2310.06825).
    """

    architecture = "MistralForCausalLM"
    max_length = 131072
    reads = ("sliding_window", "layer_types")
    sizes = {"mistral-7b": replace(LLAMA_2, kv_heads=8, mlp_width=14336, window=4096, max_length=32768)}  # version 0.1

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """`sliding_window`, in all layers unless `layer_types` is there."""
        return sliding_window(config, (True,) * layers)

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The window, which every layer has."""
        return {"sliding_window": config.window}
