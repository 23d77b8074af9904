"""The contract of a family of checkpoints, and reading and writing its `config.json`.

Why this does not go through `transformers.AutoConfig`: docs/decisions/config_json_is_read_here.md.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.keys import ACTIVATIONS, check_architecture, check_keys, flag, number, real
from mtjax.model.families.rotary import KEYS, ORIGINAL, UNUSED, rotary, rotary_to_json
from mtjax.model.families.tensors import LLAMA_TENSORS, Entry
from mtjax.registry import Registry

FAMILIES = Registry("model_family", requires=("architecture", "max_length"), settings=False)
"""Every family by its `model_type` in `config.json`."""

# Sizes of a decoder and their keys in `config.json`.
SIZES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "mlp_width": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
}
# Keys that every family reads; what it reads besides, `Family.reads` says.
READ = {
    *SIZES.values(), *KEYS, *UNUSED, ORIGINAL, "rope_theta", "hidden_act", "rms_norm_eps", "max_position_embeddings",
    "tie_word_embeddings", "initializer_range",
}  # fmt: skip
# Settings of a decoder that the family decides and `config.json` does not mention, with their usual values.
SWITCHES: dict[str, Any] = {"qkv_bias": False, "qk_norm": False}


class Family:
    """Base class of the families, used as classes: a decoder of the Llama shape, of which they override parts."""

    architecture: ClassVar[str]  # the class in transformers
    max_length: ClassVar[int]  # context length where `config.json` gives none, as in that class
    head_dim: ClassVar[int | None] = None  # head width where `config.json` gives none; None: hidden size by heads
    switches: ClassVar[Mapping[str, Any]] = {}  # changes to `SWITCHES`
    reads: ClassVar[tuple[str, ...]] = ()  # keys of `config.json` besides those that every family reads
    constants: ClassVar[Mapping[str, Any]] = {}  # keys of `config.json` that always have the same value
    tensors: ClassVar[tuple[Entry, ...]] = LLAMA_TENSORS  # parameters and their names on the hub
    sizes: ClassVar[Mapping[str, DecoderConfig]] = {}  # published models by name

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """The sliding window in tokens, and which layers have it (None: all), from `config.json`."""
        return None, None

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The keys of `config.json` from which `window` is read."""
        return {}

    @classmethod
    def holds(cls, config: DecoderConfig) -> bool:
        """Whether checkpoints of this family can describe the decoder."""
        same = all(getattr(config, name) == value for name, value in (SWITCHES | dict(cls.switches)).items())
        window, slides = cls.window(cls.window_to_json(config), config.layers)
        return same and dataclasses.replace(config, window=window, window_layers=slides).windows == config.windows

    @classmethod
    def table(cls, config: DecoderConfig) -> list[Entry]:
        """The tensors of one decoder: all but the head if it is tied."""
        return [entry for entry in cls.tensors if not (config.tied and entry.path[0] == "head")]


def shape(
    layers: int, heads: int, kv_heads: int, width: int, mlp: int, base: DecoderConfig | None = None, **more: Any
) -> DecoderConfig:
    """A published size: `base` (default: a `DecoderConfig`) with these sizes and further changes."""
    sizes: dict[str, Any] = {"layers": layers, "heads": heads, "kv_heads": kv_heads, "width": width, "mlp_width": mlp}
    return dataclasses.replace(base or DecoderConfig(), **sizes, **more)


def config_from_json(config: Mapping[str, Any]) -> DecoderConfig:
    """The decoder that a parsed `config.json` describes.

    Absent keys take the default of the transformers class, except that sizes are required and absent
    `num_key_value_heads` means one per query head. Raises InputError for an unknown `model_type`, a key that would
    change the computation and that the family does not read, and a missing or impossible number.
    """
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(
            f"config.json: model_type {name!r:.80} is not supported; expected one of {', '.join(sorted(FAMILIES))}. "
            "Other architectures compute something else, so their weights cannot be read as one of these: take a "
            "model of one of these types"
        )
    family = FAMILIES[name]
    activation = config.get("hidden_act") or "silu"
    if activation not in ACTIVATIONS:
        raise InputError(
            f"config.json: hidden_act {activation!r:.80}; expected 'silu', the only one of these families: "
            "take another checkpoint"
        )
    check_architecture(config, family.architecture)
    check_keys(config, name, READ | {*family.reads})
    width, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    if not (config.get("head_dim") or family.head_dim) and width % heads:
        raise InputError(f"config.json: hidden_size {width}, num_attention_heads {heads}: not a multiple; add head_dim")
    defaults = {"kv_heads": heads, "head_dim": family.head_dim or width // heads}
    sizes: dict[str, Any] = {name: number(config, key, defaults.get(name)) for name, key in SIZES.items()}
    max_length = number(config, "max_position_embeddings", family.max_length)
    theta, scaling = rotary(config, max_length)
    window, window_layers = family.window(config, sizes["layers"])
    return DecoderConfig(
        **sizes,
        **SWITCHES | dict(family.switches),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=real(config, "rms_norm_eps", 1e-6),
        tied=flag(config, "tie_word_embeddings"),
        window=window,
        window_layers=window_layers,
        max_length=max_length,
        init_scale=real(config, "initializer_range", 0.02),
    )


def config_to_json(
    config: DecoderConfig, *, family: str | None = None, dtype: str = "float32", **ids: Any
) -> dict[str, Any]:
    """The `config.json` of a decoder, as a dict that transformers 4.x and 5.x and `config_from_json` read.

    `family` is the one to write, where it can describe the decoder; `dtype` is the type of the weights on disk; `ids`
    are `bos_token_id`, `eos_token_id`, `pad_token_id` or None. The compute `dtype` and `remat` of the decoder are
    not part of a checkpoint.
    """
    name = family if family and family in FAMILIES and FAMILIES[family].holds(config) else family_of(config)
    kind = FAMILIES[name]
    return (
        {"architectures": [kind.architecture], "model_type": name}
        | {key: getattr(config, name) for name, key in SIZES.items()}
        | {
            "hidden_act": "silu",
            "rms_norm_eps": config.norm_eps,
            **rotary_to_json(config.rope_theta, config.rope_scaling),
            "max_position_embeddings": config.max_length,
            "tie_word_embeddings": config.tied,
            "initializer_range": config.init_scale,
            "torch_dtype": dtype,
        }
        | {key: value for key, value in ids.items() if value is not None}
        | dict(kind.constants)
        | kind.window_to_json(config)
    )


def family_of(config: DecoderConfig) -> str:
    """The first family, in alphabetical order, that can describe this decoder; InputError if none can."""
    found = next((name for name, family in FAMILIES.items() if family.holds(config)), None)
    if found is None:
        has = ", ".join(f"{name}={getattr(config, name)}" for name in SWITCHES)
        windows = len(set(config.windows))
        has += " and a window on only some layers" if windows > 1 else f" and window={config.window}"
        raise InputError(
            f"no Hugging Face family ({', '.join(FAMILIES)}) has a decoder with {has}: change model.qkv_bias, "
            "model.qk_norm or model.window_layers before exporting"
        )
    return found
