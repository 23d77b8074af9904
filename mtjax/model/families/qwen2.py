"""Qwen2 and Qwen2.5: the shape of Llama, with biases on query, key and value."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Family, shape
from mtjax.model.families.keys import flag, number, sliding_window
from mtjax.model.families.tables import LLAMA_TENSORS, QKV_BIAS, Entry

QWEN25 = DecoderConfig(head_dim=128, rope_theta=1e6, norm_eps=1e-6, qkv_bias=True, max_length=32768)
SMALL = {"vocab_size": 151936, "tied": True}
LARGE = {"vocab_size": 152064, "norm_eps": 1e-5}  # base models; the instruct models have 1e-6 in their config.json


@FAMILIES.register("qwen2")
class Qwen2(Family):
    """The shape of Llama with biases on query, key and value, and an optional window in the upper layers.

    Want it for Qwen2 and Qwen2.5.

    Source: Qwen Team, "Qwen2.5 Technical Report", 2024 (arXiv 2412.15115).
    """

    architecture = "Qwen2ForCausalLM"
    max_length = 32768
    reads: ClassVar[tuple[str, ...]] = ("use_sliding_window", "sliding_window", "max_window_layers", "layer_types")
    switches: ClassVar[Mapping[str, Any]] = {"qkv_bias": True}
    tensors: ClassVar[tuple[Entry, ...]] = (*LLAMA_TENSORS, *QKV_BIAS)
    sizes: ClassVar[Mapping[str, DecoderConfig]] = {
        "qwen2.5-0.5b": shape(24, 14, 2, 896, 4864, QWEN25, head_dim=64, **SMALL),
        "qwen2.5-1.5b": shape(28, 12, 2, 1536, 8960, QWEN25, **SMALL),
        "qwen2.5-3b": shape(36, 16, 2, 2048, 11008, QWEN25, **SMALL),
        "qwen2.5-7b": shape(28, 28, 4, 3584, 18944, QWEN25, vocab_size=152064),
        "qwen2.5-14b": shape(48, 40, 8, 5120, 13824, QWEN25, **LARGE),
        "qwen2.5-32b": shape(64, 40, 8, 5120, 27648, QWEN25, **LARGE),
        "qwen2.5-72b": shape(80, 64, 8, 8192, 29568, QWEN25, **LARGE),
    }

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """`sliding_window` if `use_sliding_window`, in the layers from `max_window_layers` on or by `layer_types`."""
        if not flag(config, "use_sliding_window"):
            return sliding_window({**config, "sliding_window": None}, (False,) * layers)
        first = number(config, "max_window_layers", 28, least=0)
        return sliding_window(config, tuple(layer >= first for layer in range(layers)))

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The window and the layers that have it, in the keys of both versions of transformers."""
        slides = config.window_layers or (config.window is not None,) * config.layers
        return {
            "use_sliding_window": config.window is not None,
            "sliding_window": config.window,
            "max_window_layers": slides.index(True) if any(slides) else config.layers,
            "layer_types": ["sliding_attention" if slide else "full_attention" for slide in slides],
        }
