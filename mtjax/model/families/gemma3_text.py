"""Gemma 3, text only: as Gemma 2 without caps, with normed queries and keys and two rotary bases."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mtjax.model.families.base import FAMILIES, Key, shape
from mtjax.model.families.gemma2 import FOUR_NORMS, GEMMA, GEMMA2, Gemma2, every_but_nth, query_scalar
from mtjax.model.families.keys import number, real_or_none, sliding_window
from mtjax.model.families.rotary import Rotary
from mtjax.model.families.tables import ATTENTION, EMBED, END, MLP, QK_NORM
from mtjax.model.rope import RopeScaling

GEMMA3 = replace(
    GEMMA2, vocab_size=262144, qk_norm=True, score_cap=None, logit_cap=None, rope_theta=1e6, local_theta=1e4,
    rope_scaling=RopeScaling("linear", factor=8.0, original_length=131072), window=1024, max_length=131072,
)  # fmt: skip
PATTERN = 6  # each sixth layer sees everything


@FAMILIES.register("gemma3_text")
class Gemma3Text(Gemma2):
    """As Gemma 2 without caps on scores, with RMSNorm over each head's query and key, and windows in 5 of 6 layers.

    Layers that slide have the base `rope_local_base_freq` and are not stretched; the others have `rope_theta` and
    `rope_scaling`.

    Want it for Gemma 3 1B, and for the text models of the larger ones, saved apart.

    Source: Gemma Team, "Gemma 3 Technical Report", 2025 (arXiv 2503.19786).
    """

    architecture = "Gemma3ForCausalLM"
    max_length = 131072
    rotary = Rotary(1e6, local_key="rope_local_base_freq", local_theta=1e4)
    switches = GEMMA | {"qk_norm": True}
    settings = {
        "query_scalar": Key("query_pre_attn_scalar", query_scalar, 256),
        "logit_cap": Key("final_logit_softcapping", real_or_none),
    }
    reads = ("sliding_window", "layer_types", "hidden_act", "sliding_window_pattern", "_sliding_window_pattern")
    tensors = (*EMBED, *ATTENTION, *QK_NORM, *FOUR_NORMS, *MLP, *END)
    sizes = {
        "gemma3-1b": shape(
            26, 4, 1, 1152, 6912, GEMMA3, window=512, window_layers=every_but_nth(26, PATTERN), rope_scaling=None,
            max_length=32768,
        ),
        "gemma3-4b": shape(34, 8, 4, 2560, 10240, GEMMA3, window_layers=every_but_nth(34, PATTERN)),
        "gemma3-12b": shape(48, 16, 8, 3840, 15360, GEMMA3, window_layers=every_but_nth(48, PATTERN)),
        "gemma3-27b": shape(
            62, 32, 16, 5376, 21504, GEMMA3, window_layers=every_but_nth(62, PATTERN), head_dim=128, query_scalar=168
        ),
    }  # fmt: skip

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """`sliding_window` in all but each `sliding_window_pattern`-th layer, or by `layer_types`."""
        default = number(config, "_sliding_window_pattern", PATTERN)
        return sliding_window(config, every_but_nth(layers, number(config, "sliding_window_pattern", default)))
