"""Published decoders by name: their shapes, and how many parameters they have."""

import dataclasses
import math

import jax

from mtjax.errors import InputError, suggest
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.rope import RopeScaling

LLAMA_2 = DecoderConfig(
    vocab_size=32000,
    width=4096,
    layers=32,
    heads=32,
    kv_heads=32,
    head_dim=128,
    mlp_width=11008,
    rope_theta=1e4,
    norm_eps=1e-5,
    max_length=4096,
)
LLAMA_3 = dataclasses.replace(LLAMA_2, vocab_size=128256, kv_heads=8, mlp_width=14336, rope_theta=5e5, max_length=8192)
LONG = RopeScaling("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_length=8192)
LLAMA_31 = dataclasses.replace(LLAMA_3, rope_scaling=LONG, max_length=131072)
LLAMA_32 = dataclasses.replace(LLAMA_31, rope_scaling=dataclasses.replace(LONG, factor=32.0), tied=True)
SMOLLM2 = DecoderConfig(
    vocab_size=49152, head_dim=64, rope_theta=1e5, norm_eps=1e-5, tied=True, max_length=8192, init_scale=1 / 24
)
QWEN25 = DecoderConfig(head_dim=128, rope_theta=1e6, norm_eps=1e-6, qkv_bias=True, max_length=32768)


def _size(base: DecoderConfig, layers: int, heads: int, kv_heads: int, width: int, mlp: int, **more) -> DecoderConfig:
    return dataclasses.replace(base, layers=layers, heads=heads, kv_heads=kv_heads, width=width, mlp_width=mlp, **more)


SMALL_QWEN = {"vocab_size": 151936, "tied": True}
LARGE_QWEN = {"vocab_size": 152064, "norm_eps": 1e-5}  # from 14B on the instruct models have 1e-6: read the file

SIZES: dict[str, DecoderConfig] = {
    "llama-2-7b": LLAMA_2,
    "llama-2-70b": _size(LLAMA_2, 80, 64, 8, 8192, 28672),
    "llama-3-8b": LLAMA_3,
    "llama-3.1-8b": LLAMA_31,
    "llama-3.1-70b": _size(LLAMA_31, 80, 64, 8, 8192, 28672),
    "llama-3.1-405b": _size(LLAMA_31, 126, 128, 8, 16384, 53248),
    "llama-3.2-1b": _size(LLAMA_32, 16, 32, 8, 2048, 8192, head_dim=64),
    "llama-3.2-3b": _size(LLAMA_32, 28, 24, 8, 3072, 8192),
    "mistral-7b": dataclasses.replace(LLAMA_2, kv_heads=8, mlp_width=14336, window=4096, max_length=32768),
    "smollm2-135m": _size(SMOLLM2, 30, 9, 3, 576, 1536),
    "smollm2-360m": _size(SMOLLM2, 32, 15, 5, 960, 2560),
    "smollm2-1.7b": _size(SMOLLM2, 24, 32, 32, 2048, 8192, rope_theta=1.3e5),
    "qwen2.5-0.5b": _size(QWEN25, 24, 14, 2, 896, 4864, head_dim=64, **SMALL_QWEN),
    "qwen2.5-1.5b": _size(QWEN25, 28, 12, 2, 1536, 8960, **SMALL_QWEN),
    "qwen2.5-3b": _size(QWEN25, 36, 16, 2, 2048, 11008, **SMALL_QWEN),
    "qwen2.5-7b": _size(QWEN25, 28, 28, 4, 3584, 18944, vocab_size=152064),
    "qwen2.5-14b": _size(QWEN25, 48, 40, 8, 5120, 13824, **LARGE_QWEN),
    "qwen2.5-32b": _size(QWEN25, 64, 40, 8, 5120, 27648, **LARGE_QWEN),
    "qwen2.5-72b": _size(QWEN25, 80, 64, 8, 8192, 29568, **LARGE_QWEN),
}
"""The decoders by name. `mistral-7b` is v0.1; a checkpoint's own `config.json` always goes before this table."""


def size(name: str) -> DecoderConfig:
    """The decoder called `name` in `SIZES`; InputError with the nearest name otherwise.

    >>> size("smollm2-135m").layers
    30
    """
    if name not in SIZES:
        raise InputError(f"no decoder size is called {name!r}: {suggest(name, SIZES)}")
    return SIZES[name]


def count_params(config: DecoderConfig) -> int:
    """How many parameters a decoder has; none is made, so any size costs nothing.

    >>> count_params(size("smollm2-135m"))
    134515008
    """
    shapes = jax.eval_shape(make_language_model(config).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
