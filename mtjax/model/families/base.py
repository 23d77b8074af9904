"""`config.json` of the Llama, Qwen2 and Mistral families, in both dialects, to a `DecoderConfig` and back.

transformers 4.x writes `rope_theta` and `rope_scaling`, 5.x one dict `rope_parameters`; both are read. What is written
is the 4.x form, which both versions read.
"""

import math
from collections.abc import Mapping
from typing import Any

from mtjax.errors import InputError, suggest
from mtjax.model.decoder import DecoderConfig
from mtjax.model.rope import RopeScaling

MAX_LENGTH = {"llama": 2048, "qwen2": 32768, "mistral": 131072}
"""The families that can be loaded, by `model_type`, and the context length each class takes when the file is silent."""

ARCHITECTURE = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "mistral": "MistralForCausalLM"}

ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn")


def config_from_json(config: Mapping[str, Any]) -> DecoderConfig:
    """The decoder that a parsed `config.json` describes.

    Absent keys take the default of the transformers class; `head_dim` absent is `hidden_size / num_attention_heads`;
    `num_key_value_heads` absent is one per query head. `layer_types` decides which layers slide; without it Qwen2
    slides from `max_window_layers` on, if `use_sliding_window`, and Mistral everywhere.

    Raises:
        InputError: an unknown `model_type`, an unsupported rotary type or option, a missing or impossible number.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or family not in MAX_LENGTH:
        raise InputError(f"config.json: model_type {family!r} is not supported; {suggest(str(family), MAX_LENGTH)}")
    activation = config.get("hidden_act") or "silu"
    if activation not in ("silu", "swish"):
        raise InputError(f"config.json: hidden_act {activation!r}; expected 'silu', the only one of these families")
    for key in ("attention_bias", "mlp_bias"):
        if _flag(config, key):
            raise InputError(
                f"config.json: {key} is true; expected false: of biases only Qwen2's q, k, v are supported"
            )
    width, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    if not config.get("head_dim") and width % heads:
        raise InputError(
            f"config.json: hidden_size {width} is no multiple of num_attention_heads {heads}; add head_dim"
        )
    layers = _number(config, "num_hidden_layers")
    max_length = _number(config, "max_position_embeddings", MAX_LENGTH[family])
    theta, scaling = _rotary(config, max_length)
    window, window_layers = _window(config, family, layers)
    return DecoderConfig(
        vocab_size=_number(config, "vocab_size"),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=_number(config, "num_key_value_heads", heads),
        head_dim=_number(config, "head_dim", width // heads),
        mlp_width=_number(config, "intermediate_size"),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=_real(config, "rms_norm_eps", 1e-6),
        tied=_flag(config, "tie_word_embeddings"),
        qkv_bias=family == "qwen2",
        window=window,
        window_layers=window_layers,
        max_length=max_length,
        init_scale=_real(config, "initializer_range", 0.02),
    )


def _number(config: Mapping[str, Any], key: str, default: int | None = None, least: int = 1) -> int:
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"config.json: {key} is {value!r:.80}; expected a whole number of at least {least}")
    return value


def _real(config: Mapping[str, Any], key: str, default: float) -> float:
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"config.json: {key} is {value!r:.80}; expected a positive number")
    return float(value)


def _flag(config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key)
    if not isinstance(value, bool | None):
        raise InputError(f"config.json: {key} is {value!r:.80}; expected true or false")
    return bool(value)


def _rotary(config: Mapping[str, Any], max_length: int) -> tuple[float, RopeScaling | None]:
    """Base and scaling of the rotary embedding, from either dialect."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
        raise InputError(
            f"config.json: rotary settings {rope!r:.200}; expected one flat dict with rope_type and factor"
        )
    theta = _real(rope, "rope_theta", _real(config, "rope_theta", 10_000.0))
    kind: Any = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ROPE_TYPES:
        raise InputError(f"config.json: rope type {kind!r} is not supported; {suggest(str(kind), ROPE_TYPES)}")
    partial = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    odd = [key for key in ("mscale", "mscale_all_dim") if rope.get(key)]
    odd += ["truncate"] if rope.get("truncate") is False else []
    odd += ["partial_rotary_factor"] if partial != 1.0 else []
    if odd:
        raise InputError(f"config.json: rotary option {odd[0]!r} is not supported; these families do not use it")
    if kind == "default":
        return theta, None
    original = _number(rope, "original_max_position_embeddings", max_length)
    needed: tuple[str, ...]
    if kind == "llama3":
        needed = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    else:
        needed = () if kind == "yarn" and rope.get("original_max_position_embeddings") else ("factor",)
    missing = [key for key in needed if rope.get(key) is None]
    if missing:
        raise InputError(f"config.json: rope_type {kind!r} needs {', '.join(missing)}; got {dict(rope)!r:.200}")
    # What the file leaves out keeps the default of RopeScaling, which is that of the published checkpoints.
    others = ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor")
    return theta, RopeScaling(
        kind=kind,
        factor=_real(rope, "factor", max_length / original),
        original_length=original,
        **{key: _real(rope, key, 1.0) for key in others if rope.get(key) is not None},
    )


def _window(config: Mapping[str, Any], family: str, layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
    """Window in tokens, and which layers slide (None: all)."""
    if family == "llama" or (family == "qwen2" and not _flag(config, "use_sliding_window")):
        return None, None
    if config.get("sliding_window", 4096) is None:
        return None, None
    window = _number(config, "sliding_window", 4096)
    kinds = config.get("layer_types")
    if kinds is not None:
        fine = isinstance(kinds, list) and all(kind in ("full_attention", "sliding_attention") for kind in kinds)
        if not fine or len(kinds) != layers:
            raise InputError(
                f"config.json: layer_types is {kinds!r:.200}; expected a list with 'full_attention' or "
                f"'sliding_attention' for each of {layers} layers"
            )
        slides = tuple(kind == "sliding_attention" for kind in kinds)
    elif family == "qwen2":
        first = _number(config, "max_window_layers", 28, least=0)
        slides = tuple(layer >= first for layer in range(layers))
    else:
        slides = (True,) * layers
    if not any(slides):
        return None, None
    return window, None if all(slides) else slides


def family_of(config: DecoderConfig) -> str:
    """The `model_type` that holds this decoder: qwen2 with q, k, v biases, mistral with a window, else llama.

    Raises InputError where none does: a window on only some layers without biases.
    """
    if config.qkv_bias:
        return "qwen2"
    if config.window is None:
        return "llama"
    if config.window_layers is not None and not all(config.window_layers):
        raise InputError(
            "no Hugging Face family of ours has a window on only some layers and no q, k, v bias: "
            "set model.qkv_bias=True (qwen2) or model.window_layers=None (mistral) before exporting"
        )
    return "mistral"


def config_to_json(config: DecoderConfig, *, dtype: str = "float32", **ids: Any) -> dict[str, Any]:
    """The `config.json` of a decoder, as a dict that transformers 4.x and 5.x and `config_from_json` read.

    Args:
        config: the decoder; `remat` and the compute `dtype` are not part of a checkpoint.
        dtype: type of the weights on disk, "float32" or "bfloat16".
        **ids: `bos_token_id`, `eos_token_id`, `pad_token_id`; those that are None are left out.
    """
    family = family_of(config)
    out: dict[str, Any] = {
        "architectures": [ARCHITECTURE[family]],
        "model_type": family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scaling is None else _rope_to_json(config.rope_scaling),
        "max_position_embeddings": config.max_length,
        "tie_word_embeddings": config.tied,
        "initializer_range": config.init_scale,
        "torch_dtype": dtype,
    } | {key: value for key, value in ids.items() if value is not None}
    if family == "llama":
        out |= {"attention_bias": False, "mlp_bias": False}
    if family == "mistral":
        out["sliding_window"] = config.window
    if family == "qwen2":
        slides = config.window_layers or (config.window is not None,) * config.layers
        first = slides.index(True) if any(slides) else config.layers
        out |= {"use_sliding_window": config.window is not None, "sliding_window": config.window}
        out |= {"max_window_layers": first}
        out["layer_types"] = ["sliding_attention" if slide else "full_attention" for slide in slides]
    return out


def _rope_to_json(scaling: RopeScaling) -> dict[str, Any]:
    out: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind in ("llama3", "yarn"):
        out["original_max_position_embeddings"] = scaling.original_length
    if scaling.kind == "llama3":
        out |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    if scaling.kind == "yarn":
        out |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        out |= {} if scaling.attention_factor is None else {"attention_factor": scaling.attention_factor}
    return out
