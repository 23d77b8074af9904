"""Gemma 2: four norms a layer, caps on scores and logits, and a window in every other layer."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Family, Key, shape
from mtjax.model.families.keys import number, real_or_none, sliding_window
from mtjax.model.families.tables import (
    ATTENTION,
    EMBED,
    END,
    MLP,
    NORM_BEFORE_ATTENTION,
    NORMS_AFTER,
    Entry,
    in_layer,
)

FOUR_NORMS = (
    *NORM_BEFORE_ATTENTION,
    in_layer("mlp_norm.scale", "pre_feedforward_layernorm.weight", None),
    *NORMS_AFTER,
)
GEMMA = {"activation": "gelu_tanh", "norm": "one_plus", "norm_places": "both", "embed_scale": True}
GEMMA2 = DecoderConfig(
    vocab_size=256000, head_dim=256, norm_eps=1e-6, tied=True, max_length=8192, window=4096, score_cap=50.0,
    logit_cap=30.0, **GEMMA,  # type: ignore[arg-type]
)  # fmt: skip


def every_but_nth(layers: int, n: int) -> tuple[bool, ...]:
    """Which layers slide where each n-th one does not."""
    return tuple((layer + 1) % n > 0 for layer in range(layers))


def query_scalar(config: Mapping[str, Any], key: str, default: int) -> int | None:
    """The number under the root by which scores are divided; None where it is the width of a head."""
    value = number(config, key, default)
    return None if value == number(config, "head_dim", 256) else value


@FAMILIES.register("gemma2")
class Gemma2(Family):
    """The shape of Llama with scaled embeddings, GELU, norms before and behind attention and MLP, caps, and windows.

    Formula: embeddings times `sqrt(D)`; norms `(1 + w) x / rms(x)`; scores `c tanh(q k / (c sqrt(s)))` with
    `c = attn_logit_softcapping` and `s = query_pre_attn_scalar`; logits capped alike. Even layers slide.

    Want it for Gemma 2 in 2B, 9B and 27B.

    Source: Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024 (arXiv 2408.00118).
    """

    architecture = "Gemma2ForCausalLM"
    max_length = 8192
    head_dim = 256
    tied = True
    activation_key = "hidden_activation"
    activations = ("gelu_pytorch_tanh",)
    switches: ClassVar[Mapping[str, Any]] = GEMMA
    settings: ClassVar[Mapping[str, Key]] = {
        "query_scalar": Key("query_pre_attn_scalar", query_scalar, 256),
        "score_cap": Key("attn_logit_softcapping", real_or_none, 50.0),
        "logit_cap": Key("final_logit_softcapping", real_or_none, 30.0),
    }
    reads: ClassVar[tuple[str, ...]] = ("sliding_window", "layer_types", "hidden_act")
    constants: ClassVar[Mapping[str, Any]] = {"attention_bias": False}
    tensors: ClassVar[tuple[Entry, ...]] = (*EMBED, *ATTENTION, *FOUR_NORMS, *MLP, *END)
    sizes: ClassVar[Mapping[str, DecoderConfig]] = {
        "gemma2-2b": shape(26, 8, 4, 2304, 9216, GEMMA2, window_layers=every_but_nth(26, 2)),
        "gemma2-9b": shape(42, 16, 8, 3584, 14336, GEMMA2, window_layers=every_but_nth(42, 2), query_scalar=None),
        "gemma2-27b": shape(
            46, 32, 16, 4608, 36864, GEMMA2, window_layers=every_but_nth(46, 2), head_dim=128, query_scalar=144
        ),
    }

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """`sliding_window` in the even layers, or by `layer_types`."""
        return sliding_window(config, every_but_nth(layers, 2))

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The window, and the kind of each layer."""
        return layer_types_to_json(config)

    @classmethod
    def to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """As in `Family`, with the scalar of the scores as a number."""
        return super().to_json(config) | {"query_pre_attn_scalar": config.query_scalar or config.head_dim}


def layer_types_to_json(config: DecoderConfig) -> dict[str, Any]:
    """`sliding_window` and `layer_types`, from which `sliding_window` reads them."""
    slides = config.window_layers or (config.window is not None,) * config.layers
    kinds = ["sliding_attention" if slide and config.window else "full_attention" for slide in slides]
    return {"sliding_window": config.window, "layer_types": kinds}
