"""The contract of a family of checkpoints, and reading and writing its `config.json`.

transformers 4.x writes `rope_theta` and `rope_scaling`, 5.x one dict `rope_parameters`. Both are read; the 4.x form,
which both versions read, is written. Why this does not go through `transformers.AutoConfig`:
docs/decisions/config_json_is_read_here.md.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from mtjax.errors import InputError, suggest
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.tensors import LLAMA_TENSORS, Entry
from mtjax.model.rope import RopeScaling
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
# Settings of a decoder that the family decides and `config.json` does not mention, with their usual values.
SWITCHES: dict[str, Any] = {"qkv_bias": False, "qk_norm": False}
# Keys of each rotary type beside `rope_type`: fields of `RopeScaling`, but for `ORIGINAL`, its `original_length`.
ORIGINAL = "original_max_position_embeddings"
ROPE_KEYS = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", ORIGINAL, "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", ORIGINAL, "beta_fast", "beta_slow", "attention_factor"),
}


class Family:
    """Base class of the families, used as classes: a decoder of the Llama shape, of which they override parts."""

    architecture: ClassVar[str]  # the class in transformers
    max_length: ClassVar[int]  # context length where `config.json` gives none, as in that class
    head_dim: ClassVar[int | None] = None  # head width where `config.json` gives none; None: hidden size by heads
    switches: ClassVar[Mapping[str, Any]] = {}  # changes to `SWITCHES`
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
    `num_key_value_heads` means one per query head. Raises InputError for an unknown `model_type`, an unsupported option
    and a missing or impossible number.
    """
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(f"config.json: model_type {name!r} is not supported; {suggest(str(name), FAMILIES)}")
    family = FAMILIES[name]
    activation = config.get("hidden_act") or "silu"
    if activation not in ("silu", "swish"):
        raise InputError(f"config.json: hidden_act {activation!r}; expected 'silu', the only one of these families")
    for key in ("attention_bias", "mlp_bias"):
        if flag(config, key):
            raise InputError(f"config.json: {key} is true; expected false: only Qwen2's biases are supported")
    width, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    if not (config.get("head_dim") or family.head_dim) and width % heads:
        raise InputError(f"config.json: hidden_size {width}, num_attention_heads {heads}: not a multiple; add head_dim")
    defaults = {"kv_heads": heads, "head_dim": family.head_dim or width // heads}
    sizes: dict[str, Any] = {name: number(config, key, defaults.get(name)) for name, key in SIZES.items()}
    max_length = number(config, "max_position_embeddings", family.max_length)
    theta, scaling = _rotary(config, max_length)
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


def config_to_json(config: DecoderConfig, *, dtype: str = "float32", **ids: Any) -> dict[str, Any]:
    """The `config.json` of a decoder, as a dict that transformers 4.x and 5.x and `config_from_json` read.

    `dtype` is the type of the weights on disk; `ids` are `bos_token_id`, `eos_token_id`, `pad_token_id` or None. The
    compute `dtype` and `remat` of the decoder are not part of a checkpoint.
    """
    name, scaling = family_of(config), config.rope_scaling
    family = FAMILIES[name]
    keys = ROPE_KEYS[scaling.kind] if scaling else ()
    rope = {key: getattr(scaling, "original_length" if key == ORIGINAL else key) for key in keys}
    return (
        {"architectures": [family.architecture], "model_type": name}
        | {key: getattr(config, name) for name, key in SIZES.items()}
        | {
            "hidden_act": "silu",
            "rms_norm_eps": config.norm_eps,
            "rope_theta": config.rope_theta,
            "rope_scaling": scaling and {"rope_type": scaling.kind} | {k: v for k, v in rope.items() if v is not None},
            "max_position_embeddings": config.max_length,
            "tie_word_embeddings": config.tied,
            "initializer_range": config.init_scale,
            "torch_dtype": dtype,
        }
        | {key: value for key, value in ids.items() if value is not None}
        | dict(family.constants)
        | family.window_to_json(config)
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


def _value(config: Mapping[str, Any], key: str, default: Any, fits: Callable[[Any], bool], expected: str) -> Any:
    """The value of a key, where absent or null takes the default; InputError unless it fits."""
    value = default if config.get(key) is None else config[key]
    if not fits(value):
        raise InputError(f"config.json: {key} is {value!r:.80}; expected {expected}")
    return value


def number(config: Mapping[str, Any], key: str, default: int | None = None, least: int = 1) -> int:
    """A whole number of at least `least`."""
    fits = lambda x: type(x) is int and x >= least
    return int(_value(config, key, default, fits, f"a whole number of at least {least}"))


def real(config: Mapping[str, Any], key: str, default: float) -> float:
    """A positive number."""
    fits = lambda x: type(x) in (int, float) and 0 < x < math.inf
    return float(_value(config, key, default, fits, "a positive number"))


def flag(config: Mapping[str, Any], key: str) -> bool:
    """True or false; absent or null is false."""
    return bool(_value(config, key, False, lambda x: isinstance(x, bool), "true or false"))


def sliding_window(config: Mapping[str, Any], slides: tuple[bool, ...]) -> tuple[int | None, tuple[bool, ...] | None]:
    """`sliding_window`, and the layers that have it (None: all) by `layer_types`; `slides` if that is absent."""
    if config.get("sliding_window", 4096) is None:
        return None, None
    kinds = config.get("layer_types")
    if kinds is not None:
        known = isinstance(kinds, list) and all(kind in ("full_attention", "sliding_attention") for kind in kinds)
        if not known or len(kinds) != len(slides):
            raise InputError(
                f"config.json: layer_types is {kinds!r:.200}; expected a list with 'full_attention' or "
                f"'sliding_attention' for each of {len(slides)} layers"
            )
        slides = tuple(kind == "sliding_attention" for kind in kinds)
    window = number(config, "sliding_window", 4096)
    return (window, None if all(slides) else slides) if any(slides) else (None, None)


def _rotary(config: Mapping[str, Any], max_length: int) -> tuple[float, RopeScaling | None]:
    """Base and scaling of the rotary embedding, from either dialect."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
        raise InputError(f"config.json: rotary settings {rope!r:.200}; expected a flat dict with rope_type and factor")
    theta = real(rope, "rope_theta", real(config, "rope_theta", 10_000.0))
    kind: Any = rope.get("rope_type") or rope.get("type") or "default"
    kinds = ("default", *ROPE_KEYS)
    if kind not in kinds:
        raise InputError(f"config.json: rope type {kind!r} is not supported; {suggest(str(kind), kinds)}")
    partial = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    odd = [key for key in ("mscale", "mscale_all_dim") if rope.get(key)]
    odd += ["truncate"] if rope.get("truncate") is False else []
    odd += ["partial_rotary_factor"] if partial != 1.0 else []
    if odd:
        raise InputError(f"config.json: rotary option {odd[0]!r} is not supported; these families do not use it")
    if kind == "default":
        return theta, None
    original = number(rope, ORIGINAL, max_length)
    needed = ROPE_KEYS["llama3"] if kind == "llama3" else ("factor",)
    needed = () if kind == "yarn" and rope.get(ORIGINAL) else needed
    missing = [key for key in needed if rope.get(key) is None]
    if missing:
        raise InputError(f"config.json: rope_type {kind!r} needs {', '.join(missing)}; got {dict(rope)!r:.200}")
    # What the file leaves out keeps the default of RopeScaling, which is that of the published checkpoints.
    others = [key for key in ROPE_KEYS[kind] if key not in ("factor", ORIGINAL) and rope.get(key) is not None]
    return theta, RopeScaling(
        kind=kind,
        factor=real(rope, "factor", max_length / original),
        original_length=original,
        **{key: real(rope, key, 1.0) for key in others},
    )
