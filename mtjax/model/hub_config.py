"""`config.json` of the Hugging Face hub to `DecoderConfig` and back, in the dialects of transformers 4.x and 5.x."""

from collections.abc import Mapping
from typing import Any

from mtjax.errors import InputError, suggest
from mtjax.model.decoder import DecoderConfig
from mtjax.model.rope import RopeScaling

FAMILIES = ("llama", "qwen2", "mistral")
ROPE_KINDS = ("default", "linear", "dynamic", "llama3", "yarn")


def config_from_json(settings: Mapping[str, Any], dtype: Any = "float32") -> DecoderConfig:
    """Settings of the decoder that a `config.json` describes.

    Raises:
        InputError: an unknown `model_type`, rope type or activation, or a missing size.
    """
    family = settings.get("model_type", "")
    if family not in FAMILIES:
        raise InputError(f"config.json: model_type '{family}' is not supported; {suggest(family, FAMILIES)}")
    act = settings.get("hidden_act", "silu")
    if act != "silu" or settings.get("mlp_bias") or (settings.get("attention_bias") and family != "qwen2"):
        raise InputError(
            f"config.json: hidden_act={act}, mlp_bias={settings.get('mlp_bias')}, attention_bias="
            f"{settings.get('attention_bias')}: mtjax knows silu without these biases"
        )

    def size(name: str) -> int:
        if not isinstance(settings.get(name), int):
            raise InputError(f"config.json: {name}={settings.get(name)!r}, expected a whole number; is the file whole?")
        return settings[name]

    heads, layers = size("num_attention_heads"), size("num_hidden_layers")
    window, slides = _windows(settings, family, layers)
    theta, scaling = _rope(settings)
    return DecoderConfig(
        vocab_size=size("vocab_size"),
        width=size("hidden_size"),
        layers=layers,
        heads=heads,
        kv_heads=settings.get("num_key_value_heads") or heads,
        head_dim=settings.get("head_dim") or size("hidden_size") // heads,
        mlp_width=size("intermediate_size"),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=settings.get("rms_norm_eps", 1e-6),
        tied=bool(settings.get("tie_word_embeddings", False)),
        qkv_bias=family == "qwen2",
        window=window,
        window_layers=slides,
        max_length=settings.get("max_position_embeddings", 2048),
        dtype=dtype,
        init_scale=settings.get("initializer_range", 0.02),
    )


def _windows(settings: Mapping[str, Any], family: str, layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
    """The window and which layers slide; `layer_types` is obeyed where it stands."""
    window = settings.get("sliding_window")
    if family == "qwen2" and not settings.get("use_sliding_window", False):
        window = None
    if window is None or family == "llama":
        return None, None
    if settings.get("layer_types"):
        slides = tuple(kind == "sliding_attention" for kind in settings["layer_types"])
    elif family == "qwen2":
        slides = tuple(i >= settings.get("max_window_layers", 28) for i in range(layers))
    else:
        slides = (True,) * layers
    return (window, slides) if any(slides) else (None, None)


def _rope(settings: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Base and scaling from `rope_parameters` (5.x) or `rope_theta` with `rope_scaling` (4.x)."""
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    theta = float(rope.get("rope_theta") or settings.get("rope_theta") or 10_000.0)
    kind: Any = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ROPE_KINDS:
        raise InputError(f"config.json: rope type '{kind}' is not supported; {suggest(str(kind), ROPE_KINDS)}")
    if kind == "default":
        return theta, None
    original = rope.get("original_max_position_embeddings") or settings.get("max_position_embeddings", 2048)
    return theta, RopeScaling(
        kind=kind,
        factor=float(rope.get("factor", 1.0)),
        low_freq_factor=float(rope.get("low_freq_factor", 1.0)),
        high_freq_factor=float(rope.get("high_freq_factor", 4.0)),
        original_length=original,
        beta_fast=float(rope.get("beta_fast") or 32.0),
        beta_slow=float(rope.get("beta_slow") or 1.0),
        attention_factor=rope.get("attention_factor"),
    )


def config_to_json(config: DecoderConfig) -> dict[str, Any]:
    """A `config.json` that transformers 4.x and 5.x, and `config_from_json`, read; both dialects stand in it."""
    family = "qwen2" if config.qkv_bias else "mistral" if config.window else "llama"
    names = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "mistral": "MistralForCausalLM"}
    rope: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling is not None:
        s = config.rope_scaling
        rope = {"rope_type": s.kind, "factor": s.factor, "original_max_position_embeddings": s.original_length}
        if s.kind == "llama3":
            rope |= {"low_freq_factor": s.low_freq_factor, "high_freq_factor": s.high_freq_factor}
        if s.kind == "yarn":
            rope |= {"beta_fast": s.beta_fast, "beta_slow": s.beta_slow, "attention_factor": s.attention_factor}
    out: dict[str, Any] = {
        "architectures": [names[family]],
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
        "rope_scaling": None if config.rope_scaling is None else rope,
        "rope_parameters": {**rope, "rope_theta": config.rope_theta},
        "max_position_embeddings": config.max_length,
        "tie_word_embeddings": config.tied,
        "initializer_range": config.init_scale,
        "dtype": "float32",
        "torch_dtype": "float32",
    }
    if config.window is not None:
        slides = config.window_layers or (True,) * config.layers
        kinds = ["sliding_attention" if slide else "full_attention" for slide in slides]
        out |= {"sliding_window": config.window, "use_sliding_window": True, "layer_types": kinds}
        out |= {"max_window_layers": slides.index(True)}
    return out
