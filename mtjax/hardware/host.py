"""The decoder and four losses again, in NumPy and float64 on the host: what a device's results are compared with.

Written out from the formulas in the docstrings of `model.decoder`, `objectives.nll`, `dpo`, `rise` and `dco`, and
sharing no code with them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

Tree = Mapping[str, Any]


def token_logprobs(params: Tree, config: Any, tokens: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """`[B, T]`: log-probability of each token given those before it in its segment; 0 at the first and at padding."""
    rows, length = tokens.shape
    index = np.arange(length)
    starts = np.ones((rows, length), bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    positions = index - np.maximum.accumulate(np.where(starts, index, 0), 1)
    angle = positions[..., None] * config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    mask = (index[:, None] >= index) & (segments[:, :, None] == segments[:, None, :])
    x = params["embed"]["embedding"][tokens]
    for layer in range(config.layers):
        own = _at(params["layers"], layer)
        x = x + _attention(own["attention"], _norm(x, own["attention_norm"], config), angle, mask, config)
        inner, mlp = _norm(x, own["mlp_norm"], config), own["mlp"]
        gate = inner @ mlp["gate"]["kernel"]
        x = x + (gate / (1 + np.exp(-gate)) * (inner @ mlp["up"]["kernel"])) @ mlp["down"]["kernel"]
    x = _norm(x, params["final_norm"], config)
    logits = x @ (params["embed"]["embedding"].T if config.tied else params["head"]["kernel"])
    logprobs = logits - _logsumexp(logits)
    found = np.zeros((rows, length))
    found[:, 1:] = np.take_along_axis(logprobs[:, :-1], tokens[:, 1:, None], -1)[..., 0]
    return np.where(starts | (segments == 0), 0, found)


def _attention(own: Tree, x: np.ndarray, angle: np.ndarray, mask: np.ndarray, config: Any) -> np.ndarray:
    query, key, value = (np.einsum("btd,dhk->bhtk", x, own[name]["kernel"]) for name in ("query", "key", "value"))
    query, key = _rotate(query, angle), _rotate(key, angle)
    key, value = (np.repeat(each, config.heads // config.kv_heads, axis=1) for each in (key, value))
    scores = np.where(mask[:, None], query @ key.swapaxes(-1, -2) / np.sqrt(config.head_dim), -np.inf)
    weights = np.exp(scores - _logsumexp(scores))
    return np.einsum("bhtk,hkd->btd", weights @ value, own["out"]["kernel"])


def _rotate(x: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotary embedding: the first and the second half of a head are the parts of complex numbers."""
    left, right = np.split(x, 2, -1)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], -1)


def _norm(x: np.ndarray, own: Tree, config: Any) -> np.ndarray:
    return own["scale"] * x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_eps)


def _logsumexp(x: np.ndarray) -> np.ndarray:
    most = x.max(-1, keepdims=True)
    return most + np.log(np.exp(x - most).sum(-1, keepdims=True))


def _at(tree: Tree, layer: int) -> Any:
    return {name: _at(leaf, layer) if isinstance(leaf, Mapping) else leaf[layer] for name, leaf in tree.items()}


def text_logprobs(logprobs: np.ndarray, weights: np.ndarray, segments: np.ndarray, count: int) -> np.ndarray:
    """`[B, S]`: the sum over the targets of each packed text."""
    live = np.where(weights != 0, logprobs, 0)
    return np.stack([np.where(segments == number, live, 0).sum(-1) for number in range(1, count + 1)], -1)


def nll(logprobs: np.ndarray, weights: np.ndarray, starts: np.ndarray) -> float:
    """`-sum_t w_t logprob_t / sum_t w_t` over tokens that are predicted from another of their text."""
    weights = np.where(starts, 0, weights)
    return float(-(weights * logprobs).sum() / weights.sum())


def dpo(chosen: np.ndarray, rejected: np.ndarray, beta: float) -> np.ndarray:
    """`-log sigmoid(beta (chosen - rejected))` of log-ratios to the reference, for each pair."""
    return np.logaddexp(0, -beta * (chosen - rejected))


def rise(
    chosen: np.ndarray, rejected: np.ndarray, chosen_logprob: np.ndarray, step: np.ndarray, *, beta: float,
    nll_weight: float, margin: float,
) -> np.ndarray:  # fmt: skip
    """DPO, and on step pairs `nll_weight` times the chosen text's cross-entropy where it lost probability."""
    return dpo(chosen, rejected, beta) + nll_weight * step * (chosen < -margin) * -chosen_logprob


def dco(logprob: np.ndarray, n: float) -> np.ndarray:
    """`-log(1 - (1 - p)^n)` of the log-probability of each text."""
    return -np.log(-np.expm1(n * np.log1p(-np.exp(logprob))))
