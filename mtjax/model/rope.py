"""Rotary position embedding: frequencies with the scalings of published checkpoints, and the rotation itself."""

import dataclasses
import math
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, Int

from mtjax.errors import InputError
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How a checkpoint stretches its rotary frequencies beyond the length it was first trained on."""

    kind: Literal["linear", "dynamic", "llama3", "yarn", "longrope"] = "linear"  # Which formula; see `frequencies`.
    factor: Annotated[float, Ge(1), Lt(math.inf)] = 1.0  # How many times longer.
    low_freq_factor: float = 1.0
    """`llama3`: wavelengths above original_length / low_freq_factor are divided by `factor`."""
    high_freq_factor: float = 4.0  # `llama3`: wavelengths below original_length / high_freq_factor are left alone.
    original_length: PositiveInt = 8192  # Length in tokens the frequencies were first made for.
    beta_fast: float = 32.0  # `yarn`: dimensions that turn more often than this over original_length are left alone.
    beta_slow: float = 1.0  # `yarn`: dimensions that turn less often than this are divided by `factor`.
    attention_factor: Annotated[float, Gt(0), Lt(math.inf)] | None = None
    """`yarn`, `longrope`: factor on cos and sin; None takes that of `frequencies`."""
    short_factor: tuple[float, ...] | None = None
    """`longrope`: each frequency is divided by its factor, in texts of up to original_length tokens by these."""
    long_factor: tuple[float, ...] | None = None  # `longrope`: the factors in longer texts.

    def __post_init__(self) -> None:
        check_types(self, "rope_scaling")
        factors = (self.short_factor, self.long_factor)
        if self.kind != "longrope" and factors != (None, None):
            raise InputError(f"rope_scaling short_factor, long_factor belong to kind='longrope', not {self.kind!r}")
        if self.kind == "longrope" and not (all(factors) and len(factors[0] or ()) == len(factors[1] or ())):
            raise InputError(f"rope_scaling short_factor, long_factor are {factors!r:.200}; expected two equal lengths")
        if any(not 0 < factor < math.inf for each in factors for factor in each or ()):
            raise InputError(f"rope_scaling short_factor, long_factor are {factors!r:.200}; expected positive numbers")
        for low, high in (("low_freq_factor", "high_freq_factor"), ("beta_slow", "beta_fast")):
            small, large = getattr(self, low), getattr(self, high)
            if not 0 < small < large and (low != "beta_slow" or self.kind == "yarn"):
                raise InputError(f"rope_scaling {low}={small}, {high}={large}: expected 0 < {low} < {high}")


def frequencies(theta: float, head_dim: int, scaling: RopeScaling | None = None) -> tuple[np.ndarray, float]:
    """Angular frequency of each pair of head dimensions, float64 `[head_dim / 2]`, and the factor on cos and sin.

    Without scaling `inv_i = theta^(-2i / head_dim)`, i = 0 .. head_dim/2 - 1, radians per token. `linear` divides all
    by the factor; `llama3` divides long wavelengths, keeps short ones and blends between; `yarn` does so by how often a
    dimension turns over the original length, and scales cos and sin by `0.1 ln(factor) + 1`. `longrope` divides each by
    its own factor and scales cos and sin by `sqrt(1 + ln(factor) / ln(original_length))`. `dynamic`, and the factors of
    long texts in `longrope`, are applied in `rotary`.

    Source: Su et al. 2021 (RoPE); Peng et al. 2023 (YaRN); Ding et al. 2024 (LongRoPE); Llama 3.1 release for `llama3`.
    """
    inverse = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if scaling is None or scaling.kind == "dynamic":
        return inverse, 1.0
    if scaling.kind == "linear":
        return inverse / scaling.factor, 1.0
    if scaling.kind == "longrope":
        grown = math.sqrt(1 + math.log(scaling.factor) / math.log(scaling.original_length))
        grown = grown if scaling.attention_factor is None else scaling.attention_factor
        return inverse / np.asarray(scaling.short_factor, np.float64), grown
    if scaling.kind == "llama3":
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        turns = scaling.original_length * inverse / (2 * math.pi)  # original length over wavelength
        keep = np.clip((turns - low) / (high - low), 0, 1)
        return (1 - keep) * inverse / scaling.factor + keep * inverse, 1.0

    # The pair of dimensions that turns so often over the original length.
    original, log_theta = scaling.original_length, math.log(theta)
    dimension = lambda turns: head_dim * math.log(original / (2 * math.pi * turns)) / (2 * log_theta)
    low_pair = max(math.floor(dimension(scaling.beta_fast)), 0)
    high_pair = min(math.ceil(dimension(scaling.beta_slow)), head_dim - 1)
    ramp = np.clip((np.arange(head_dim // 2) - low_pair) / max(high_pair - low_pair, 1e-3), 0, 1)
    factor = scaling.attention_factor
    factor = 0.1 * math.log(scaling.factor) + 1 if factor is None else factor
    return inverse / scaling.factor * ramp + inverse * (1 - ramp), factor


def rotary(
    positions: Int[Array, "B T"],
    lengths: Int[Array, "B _"],
    theta: float,
    head_dim: int,
    scaling: RopeScaling | None,
    max_length: int,
) -> tuple[Float[Array, "B T R"], Float[Array, "B T R"]]:
    """Cos and sin of every position's angles, float32; R = K / 2 pairs of the K dimensions that are rotated.

    Under `dynamic` the base grows with the length L of a token's own segment once that passes `max_length`:
    `theta (factor L / max_length - (factor - 1))^(K / (K - 2))`. transformers takes the longest row of the call for
    all; here packing and padding change nothing. Keys already in a cache keep the angles they were written with.
    Under `longrope` the long factors are those of segments of more than `original_length` tokens, too.
    """
    inverse, factor = frequencies(theta, head_dim, scaling)
    rates = jnp.asarray(inverse, jnp.float32)
    if scaling is not None and scaling.kind == "dynamic":
        length = jnp.maximum(lengths, max_length).astype(jnp.float32)[..., None]
        stretch = scaling.factor * length / max_length - (scaling.factor - 1)
        pairs = jnp.arange(0, head_dim, 2, dtype=jnp.float32)
        rates = rates * stretch ** (-pairs / (head_dim - 2))
    if scaling is not None and scaling.kind == "longrope":
        ratio = np.asarray(scaling.short_factor) / np.asarray(scaling.long_factor)
        rates = jnp.where(
            lengths[..., None] > scaling.original_length, jnp.asarray(inverse * ratio, jnp.float32), rates
        )
    angles = positions[..., None].astype(jnp.float32) * rates
    return jnp.cos(angles) * factor, jnp.sin(angles) * factor


def rotate(
    x: Float[Array, "B T H K"], cos: Float[Array, "B T R"], sin: Float[Array, "B T R"]
) -> Float[Array, "B T H K"]:
    """Turn each pair (i, i + R) of the first 2 R head dimensions by its angle: the half-split layout of the hub."""
    cos, sin = cos[:, :, None].astype(x.dtype), sin[:, :, None].astype(x.dtype)
    pairs = cos.shape[-1]
    first, second, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)
