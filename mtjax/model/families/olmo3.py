"""OLMo 3: as OLMo 2, with a window in three of four layers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, shape
from mtjax.model.families.gemma2 import every_but_nth, layer_types_to_json
from mtjax.model.families.keys import sliding_window
from mtjax.model.families.olmo2 import OLMO2, Olmo2
from mtjax.model.families.rotary import Rotary
from mtjax.model.rope import RopeScaling

LONG = RopeScaling("yarn", factor=8.0, original_length=8192, attention_factor=1.2079441541679836)
OLMO3 = replace(
    OLMO2, vocab_size=100278, window=4096, local_theta=5e5, rope_scaling=LONG, max_length=65536
)  # fmt: skip


@FAMILIES.register("olmo3")
class Olmo3(Olmo2):
    """As OLMo 2, with a sliding window in all but each fourth layer; only the layers without it are stretched.

    Want it for OLMo 3 in 7B and 32B.

    Source: Team OLMo, "OLMo 3", 2025 (arXiv 2512.13961).
    """

    architecture = "Olmo3ForCausalLM"
    rotary = Rotary(5e5, local_key="rope_theta", local_theta=5e5)
    reads = ("sliding_window", "layer_types")
    sizes = {
        "olmo3-7b": shape(32, 32, 32, 4096, 11008, OLMO3, window_layers=every_but_nth(32, 4)),
        "olmo3-32b": shape(64, 40, 8, 5120, 27648, OLMO3, window_layers=every_but_nth(64, 4)),
    }

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """`sliding_window` in all but each fourth layer, or by `layer_types`."""
        return sliding_window(config, every_but_nth(layers, 4))

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The window, and the kind of each layer."""
        return layer_types_to_json(config)
