"""Each attention kernel of this platform against attention written out on the host in float64, forward and backward."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.hardware.report import Line, judged, worst
from mtjax.hardware.scale import Scale
from mtjax.model import attention, kernels
from mtjax.model.decoder import DecoderConfig

HEADS, KV_HEADS, ROWS = 4, 2, 2
WINDOW, CAP = 100, 5.0
PLAIN = {"float32": 0.02, "bfloat16": 0.05}
"""Largest error of plain attention: by default a device may multiply float32 as TF32 or bfloat16."""
FACTOR = 3.0  # how much larger the error of a kernel may be than that of plain attention of the same type
LEAST = {"float32": 2e-5, "bfloat16": 1e-2}  # an error that is never too large: rounding of the type


def check_attention(scale: Scale, names: tuple[str, ...] | None = None) -> Iterator[Line]:
    """Packed rows with padding and grouped heads; float32 and bfloat16, windows, soft caps, head dimensions.

    The number of a line is the largest error of value and gradient, relative to the largest entry. A kernel passes
    where it is at most three times that of plain attention in the same type: what rounding does is the hardware's.

    Args:
        names: kernels to check; None takes plain attention and those that run on this platform.
    """
    platform = jax.default_backend()
    if names is None:
        names = tuple(name for name, takes in kernels.TABLE.items() if platform in takes.platforms)
    for width, windowed, capped in scale.attention:
        rows, cap = _arrays(scale.length, width), CAP if capped else None
        exact = _on_host(rows, WINDOW if windowed else None, cap)
        for dtype in kernels.BOTH:
            what = _words(width, dtype, windowed, cap)
            plain = _error("plain", rows, exact, dtype, windowed, cap)
            yield judged("attention", f"plain {what}", plain, PLAIN[dtype])
            for name in names:
                case = kernels.Case(scale.length, 1, (WINDOW,) if windowed else (), cap, width, dtype)
                here = platform in kernels.TABLE[name].platforms
                cannot = kernels.refusal(name, case) or (kernels.unavailable(name, width) if here else None)
                if cannot:
                    yield Line("attention", f"{name} {what}", "n/a", text=cannot)
                    continue
                found = _error(name, rows, exact, dtype, windowed, cap)
                bound = max(FACTOR * min(plain, PLAIN[dtype]), LEAST[dtype])
                yield judged("attention", f"{name} {what}", found, bound)


def _words(width: int, dtype: str, windowed: bool, cap: float | None) -> str:
    more = f"{', window' if windowed else ''}{', soft cap' if cap else ''}"
    return f"{dtype}, head_dim {width}{more}"


def _arrays(length: int, width: int) -> tuple[np.ndarray, ...]:
    """Queries, keys and values that bfloat16 holds exactly, and segments of unequal lengths with padding."""
    rng = np.random.default_rng(width)
    exact = lambda x: np.asarray(jnp.asarray(x, jnp.bfloat16), np.float64)
    arrays = [exact(rng.normal(size=(ROWS, length, heads, width))) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    segments = np.zeros((ROWS, length), np.int32)
    for row in segments:
        ends = [0, *np.sort(rng.choice(np.arange(1, length - 8), 3, replace=False)), length - 5]
        for number, (start, end) in enumerate(zip(ends, ends[1:], strict=False), 1):
            row[start:end] = number
    return (*arrays, segments)


def _error(name: Any, rows: tuple[Any, ...], exact: Any, dtype: Any, windowed: bool, cap: float | None) -> float:
    config = DecoderConfig(
        vocab_size=16, width=16, heads=HEADS, kv_heads=KV_HEADS, head_dim=rows[0].shape[-1], mlp_width=16, layers=1,
        dtype=dtype, attention=name, window=WINDOW if windowed else None, score_cap=cap,
    )  # fmt: skip
    query, key, value, segments = rows
    window = jnp.int32(WINDOW if windowed else 2**30)

    def total(query: Any, key: Any, value: Any, segments: Any) -> Any:
        seen = attention.packed_attention(config, query, key, value, segments, window)
        return jnp.sum(jnp.sin(seen.astype(jnp.float32)) * (segments > 0)[..., None, None]), seen

    inputs = [jnp.asarray(x, dtype) for x in (query, key, value)]
    (_, seen), gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))(
        *inputs, jnp.asarray(segments)
    )
    live = (segments > 0)[..., None, None]
    found = [np.asarray(seen, np.float64) * live, *(np.asarray(x, np.float64) for x in gradients)]
    return worst(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, exact, strict=True))


def _on_host(rows: tuple[Any, ...], window: int | None, cap: float | None) -> list[np.ndarray]:
    """Values seen, and the gradient of the sum of their sines in queries, keys and values; NumPy, float64."""
    query, key, value, segments = rows
    length, width = query.shape[1], query.shape[-1]
    together = HEADS // KV_HEADS
    distance = np.arange(length)[:, None] - np.arange(length)
    near = (distance >= 0) & (distance < (window or length))
    out: list[np.ndarray] = [np.zeros_like(x) for x in (query, query, key, value)]
    for row in range(len(query)):
        mask = near & (segments[row][:, None] == segments[row][None])
        live = (segments[row] > 0)[:, None]
        for head in range(HEADS):
            of = head // together
            q, k, v = query[row, :, head], key[row, :, of], value[row, :, of]
            raw = q @ k.T / np.sqrt(width)
            scores = raw if cap is None else cap * np.tanh(raw / cap)
            weights = np.where(mask, np.exp(scores - np.where(mask, scores, -np.inf).max(-1, keepdims=True)), 0)
            weights /= weights.sum(-1, keepdims=True)
            seen = weights @ v
            pulled = np.cos(seen) * live
            of_weights = pulled @ v.T
            of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdims=True))
            if cap is not None:
                of_scores = of_scores * (1 - np.tanh(raw / cap) ** 2)
            of_scores = of_scores / np.sqrt(width)
            out[0][row, :, head] = seen * live
            out[1][row, :, head] = of_scores @ k
            out[2][row, :, of] += of_scores.T @ q
            out[3][row, :, of] += weights.T @ pulled
    return out
