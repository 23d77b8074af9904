"""The contract of a family of checkpoints, and reading and writing its `config.json`.

Why this does not go through `transformers.AutoConfig`: docs/decisions/config_json_is_read_here.md.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.keys import ACTIVATIONS, check_architecture, check_keys, flag, number, real, sliding_window
from mtjax.model.families.rotary import KEYS, ORIGINAL, PLAIN, UNUSED, Rotary, rotary, rotary_to_json
from mtjax.model.families.tables import EMBEDDING, LLAMA_TENSORS, Entry
from mtjax.model.mixture import Mixture
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
# Keys that every family reads; what it reads besides, `Family.settings` and `Family.reads` say.
READ = {
    *SIZES.values(), *KEYS, ORIGINAL, "rope_theta", "rms_norm_eps", "max_position_embeddings", "tie_word_embeddings",
    "initializer_range", *UNUSED,
}  # fmt: skip
# Settings of a decoder that the family decides, and those that say nothing of a checkpoint.
SWITCHES: dict[str, Any] = {
    name: getattr(DecoderConfig(), name)
    for name in ("activation", "norm", "norm_places", "embed_scale", "qkv_bias", "qk_norm", "qk_norm_joint")
}
OTHERS = {
    "gemma3": "It has an image encoder, and only text models (gemma3_text, such as Gemma 3 1B) are read",
    "gpt_oss": "Its attention sinks and MXFP4 weights cannot be held exactly here",
}
"""What is known of types that are not supported."""
NOT_STORED = ("adapter", "value_head", "lm_infinite", "neftune_alpha", "remat", "attention", "dtype")


class Key(NamedTuple):
    """How a setting of the decoder is read from a key of `config.json` and written to it."""

    name: str
    read: Callable[[Mapping[str, Any], str, Any], Any]  # `(config, key, default) -> value`, such as `keys.real`
    default: Any = None


class Family:
    """Base class of the families, used as classes: a decoder of the Llama shape, of which they override parts."""

    architecture: ClassVar[str]  # the class in transformers
    max_length: ClassVar[int]  # context length where `config.json` gives none, as in that class
    head_dim: ClassVar[int | None] = None  # head width where `config.json` gives none; None: hidden size by heads
    norm_eps: ClassVar[float] = 1e-6  # where `config.json` gives none
    tied: ClassVar[bool] = False  # where `config.json` does not say
    activation_key: ClassVar[str] = "hidden_act"
    activations: ClassVar[tuple[str, ...]] = ("silu", "swish")  # the first where `config.json` gives none
    rotary: ClassVar[Rotary] = PLAIN  # which rotary settings it has
    switches: ClassVar[Mapping[str, Any]] = {}  # changes to `SWITCHES`
    settings: ClassVar[Mapping[str, Key]] = {}  # further settings of the decoder and their keys
    mixture: ClassVar[Mapping[str, Key]] = {}  # the settings of its experts (`Mixture`) and their keys; {}: no experts
    reads: ClassVar[tuple[str, ...]] = ()  # further keys of `config.json` that it reads or that change nothing
    constants: ClassVar[Mapping[str, Any]] = {}  # keys of `config.json` that always have this value; others are refused
    tensors: ClassVar[tuple[Entry, ...]] = LLAMA_TENSORS  # parameters and their names on the hub
    sizes: ClassVar[Mapping[str, DecoderConfig]] = {}  # published models by name
    embedding: ClassVar[str] = EMBEDDING  # name of the embedding on the hub
    shares_head: ClassVar[bool] = False  # whether a head that is not stored is the embedding, whatever the config says

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """The sliding window in tokens, and which layers have it (None: all), from `config.json`."""
        return None, None

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The keys of `config.json` from which `window` is read."""
        return {}

    @classmethod
    def stored(cls, tensors: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The tensors of a checkpoint by the names of `table`, without copies under other names."""
        return dict(tensors)

    @classmethod
    def generation(cls, config: DecoderConfig) -> dict[str, Any]:
        """What `generation_config.json` must say besides the ids of the tokenizer."""
        return {}

    @classmethod
    def from_json(cls, name: str, config: Mapping[str, Any]) -> DecoderConfig:
        """The decoder of a `config.json` of this family, whose `model_type` is `name`; see `config_from_json`."""
        key = cls.activation_key
        activation = config.get(key) or cls.activations[0]
        if activation not in cls.activations:
            raise InputError(
                f"config.json: {key} {activation!r:.80}; expected {' or '.join(map(repr, cls.activations))}, the only "
                f"one of {name}: take another checkpoint"
            )
        check_architecture(config, cls.architecture)
        keys = [each.name for each in (*cls.settings.values(), *cls.mixture.values())]
        same = [each for each, value in cls.constants.items() if config.get(each) == value]
        own = (key, cls.rotary.local_key, *cls.reads, *keys, *same)
        check_keys(config, name, READ | {each for each in own if each})
        width, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        if not (config.get("head_dim") or cls.head_dim) and width % heads:
            raise InputError(
                f"config.json: hidden_size {width}, num_attention_heads {heads}: not a multiple; add head_dim"
            )
        defaults = {"kv_heads": heads, "head_dim": cls.head_dim or width // heads}
        sizes: dict[str, Any] = {name: number(config, key, defaults.get(name)) for name, key in SIZES.items()}
        max_length = number(config, "max_position_embeddings", cls.max_length)
        window, window_layers = cls.window(config, sizes["layers"])
        read = lambda keys: {field: each.read(config, each.name, each.default) for field, each in keys.items()}
        return DecoderConfig(
            **sizes,
            **SWITCHES | dict(cls.switches) | {"activation": ACTIVATIONS[activation]} | read(cls.settings),
            mixture=Mixture(**read(cls.mixture)) if cls.mixture else None,
            **rotary(config, cls.rotary, max_length, sizes["head_dim"]),
            norm_eps=real(config, "rms_norm_eps", cls.norm_eps),
            tied=flag(config, "tie_word_embeddings", cls.tied),
            window=window,
            window_layers=window_layers,
            max_length=max_length,
            init_scale=real(config, "initializer_range", 0.02),
        )

    @classmethod
    def to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The keys of `config.json` that `from_json` reads."""
        names = [name for name in cls.activations if ACTIVATIONS[name] == config.activation]
        return (
            {key: getattr(config, name) for name, key in SIZES.items()}
            | {
                cls.activation_key: (names or cls.activations)[0],
                "rms_norm_eps": config.norm_eps,
                **rotary_to_json(config, cls.rotary),
                "max_position_embeddings": config.max_length,
                "tie_word_embeddings": config.tied,
                "initializer_range": config.init_scale,
            }
            | {each.name: getattr(config, field) for field, each in cls.settings.items()}
            | {each.name: getattr(config.mixture, field) for field, each in cls.mixture.items() if config.mixture}
            | dict(cls.constants)
            | cls.window_to_json(config)
        )

    @classmethod
    def holds(cls, config: DecoderConfig) -> bool:
        """Whether checkpoints of this family can describe the decoder: what is written is read as the same."""
        try:
            read = cls.from_json("", cls.to_json(config))
        except InputError:
            return False
        # What a kind of scaling does not use is not written: the keys are compared for it, and for the windows.
        same = {name: getattr(config, name) for name in (*NOT_STORED, "window", "window_layers", "rope_scaling")}
        if read.mixture is not None and config.mixture is not None:
            room = {name: getattr(config.mixture, name) for name in ("capacity", "group", "least")}
            same["mixture"] = dataclasses.replace(read.mixture, **room)
        fields = dataclasses.replace(read, **same) == config and read.windows == config.windows
        return fields and cls.to_json(read) == cls.to_json(config)

    @classmethod
    def table(cls, config: DecoderConfig) -> list[Entry]:
        """The tensors of one decoder: all but the head if it is tied, of each layer those of its kind."""
        table, kinds = [], config.blocks
        for entry in cls.tensors:
            if entry.path[-1] == "bias" and not config.qkv_bias:
                continue
            if entry.path[0] != "layers":
                table += [] if config.tied and entry.path[0] == "head" else [entry]
                continue
            fits = [place for place, sparse in enumerate(kinds) if entry.path[1] != ("mlp" if sparse else "experts")]
            if len(kinds) == 1:
                table += [entry] if fits else []
                continue
            for place in fits:
                path = ("layers", f"block_{place}", *entry.path[1:])
                table.append(entry._replace(path=path, layers=range(place, config.layers, len(kinds))))
        return table


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
        why = OTHERS.get(
            str(name), "Other architectures compute something else, so their weights cannot be read as these"
        )
        raise InputError(
            f"config.json: model_type {name!r:.80} is not supported; expected one of {', '.join(sorted(FAMILIES))}. "
            f"{why}: take a model of one of these types"
        )
    return FAMILIES[name].from_json(name, config)


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
    given = {key: value for key, value in ids.items() if value is not None}
    head = {"architectures": [kind.architecture], "model_type": name, "torch_dtype": dtype}
    return head | kind.to_json(config) | given


class WindowInAllLayers(Family):
    """A family whose `sliding_window` is that of all layers; absent or null is none."""

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """The window, and which layers have it."""
        return sliding_window({**config, "sliding_window": config.get("sliding_window")}, (True,) * layers)

    @classmethod
    def window_to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The key that `window` reads."""
        return {"sliding_window": config.window}


def family_of(config: DecoderConfig) -> str:
    """The first family, in alphabetical order, that can describe this decoder; InputError if none can."""
    found = next((name for name, family in FAMILIES.items() if family.holds(config)), None)
    if found is None:
        usual = dataclasses.asdict(DecoderConfig()) | {"query_scalar": None}
        named = [*SWITCHES, "clip_qkv", "query_scalar", "score_cap", "logit_cap", "local_theta", "rotary_dim"]
        named += ["mixture"]
        named = [name for name in named if name in ("qkv_bias", "qk_norm") or getattr(config, name) != usual[name]]
        has = ", ".join(f"{name}={getattr(config, name)}" for name in named)
        windows = len(set(config.windows))
        has += " and a window on only some layers" if windows > 1 else f" and window={config.window}"
        raise InputError(
            f"no Hugging Face family ({', '.join(FAMILIES)}) has a decoder with {has}: change "
            f"{', '.join(f'model.{name}' for name in named)} or model.window_layers before exporting"
        )
    return found
