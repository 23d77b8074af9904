"""Losses of policy gradients as pure functions of log-probabilities: every surrogate, and estimates of the KL."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.numerics import wide
from mtjax.objectives.reductions import OverText

Surrogate = Literal[
    "reinforce", "ppo", "gspo", "cispo", "cispo_band", "gmpo", "sapo", "vespo", "topr", "topr_token",
]  # fmt: skip
Estimator = Literal["k1", "k2", "k3", "k3_plus"]
CLIPS: dict[str, tuple[float, float]] = {"ppo": (0.2, 0.28), "gspo": (3e-4, 4e-4), "gmpo": (0.4, 0.4)}
"""How far a surrogate lets a ratio fall and rise (`gmpo`: its logarithm) where the settings do not say."""
LARGEST = 20.0  # Log-ratios are held within +-20, as in TRL, verl and Tunix.
Tokens = Float[Array, "*B T"]
VESPO = ((2.0, 3.0), (3.0, 2.0))
"""k and lambda of vespo where the advantage is at least 0, and where it is below, as in TRL."""


class Bounds(NamedTuple):
    """What some surrogates need beside the ratio."""

    low: base.Number = 0.2  # ppo, gspo, cispo_band: a ratio is clipped at 1 - low; gmpo: its logarithm at -low
    high: base.Number = 0.28  # and at 1 + high; gmpo: its logarithm at high
    cap: base.Number | None = None  # cispo: largest weight, 5 where None; ppo: largest ratio before clipping (delta)
    dual: base.Number | None = None  # ppo, gspo: most that a text of negative advantage counts, 3 in verl
    tau_right: base.Number = 1.0  # sapo: temperature where the advantage is positive
    tau_wrong: base.Number = 1.05  # sapo: and where it is not


def _held(logratio: Tokens) -> Tokens:
    return jnp.clip(logratio, -LARGEST, LARGEST)


def _clipped(ratio: Tokens, advantage: Tokens, of: Bounds) -> Tokens:
    free = ratio if of.cap is None else jnp.minimum(ratio, of.cap)
    loss = jnp.maximum(-advantage * free, -advantage * jnp.clip(ratio, 1 - of.low, 1 + of.high))
    return loss if of.dual is None else jnp.where(advantage < 0, jnp.minimum(loss, -advantage * of.dual), loss)


def _as_token(mean: Tokens, own: Tokens) -> Tokens:
    """`mean`, with the slope of each token's own number, so that the mean over the text has that of `mean`."""
    return stop_gradient(mean) + own - stop_gradient(own)


def surrogate_losses(
    kind: Surrogate,
    logprob: Tokens,
    old: Tokens,
    advantage: Tokens,
    *,
    mean: OverText,
    total: OverText,
    bounds: Bounds = Bounds(),  # noqa: B008  (immutable)
) -> Tokens:
    """The loss of each token, with d = log pi - log pi_old, ratio = exp(d) and A the advantage of its text:

    - reinforce: `-A log pi`.
    - ppo: `max(-A ratio, -A clip(ratio, 1 - low, 1 + high))`; with `dual` at most `-A dual` where A < 0.
    - gspo: the same with the text's ratio `exp(mean d)`, whose slope each token has by its own d.
    - cispo: `-sg[min(ratio, cap)] A log pi`; cispo_band: `-sg[clip(ratio, 1 - low, 1 + high)] A log pi`.
    - gmpo: `-A exp(mean of c)` with `c = min(d, high)` where A > 0 and `max(d, -low)` elsewhere.
    - sapo: `-A sigmoid(tau (ratio - 1)) 4 / tau`.
    - vespo: `-sg[phi] A log pi`, `phi = w^k exp(lambda (1 - w))` with the text's ratio `w = exp(sum d)`, which is
      largest at `k / lambda` and falls to 0 on both sides.
    - topr: `-A log pi` where A > 0, else `-sg[min(exp(sum d), 1)] A log pi`; topr_token: with each token's own ratio.

    Where pi = pi_old, all have the slope -A on log pi. `old` has no gradient. But for topr, log-ratios are held within
    +-20, beyond which slopes are 0. For gspo and gmpo the reduction `sequence_mean` gives the papers' loss of texts.

    Args:
        logprob: of each token under the policy, 0 where it is no target.
        old: under the policy that drew the texts, likewise.
        advantage: of the token's text.
        mean: over the targets of each text, given back to its tokens.
        total: the sum likewise.
    """
    logprob, old, advantage = wide(logprob), stop_gradient(wide(old)), wide(advantage)
    d = logprob - old
    if kind == "reinforce":
        return -advantage * logprob
    if kind == "ppo":
        return _clipped(jnp.exp(_held(d)), advantage, bounds)
    if kind == "gspo":
        return _clipped(jnp.exp(_as_token(_held(mean(d)), d)), advantage, bounds)
    if kind == "gmpo":
        own = jnp.where(advantage > 0, jnp.minimum(d, bounds.high), jnp.maximum(d, -bounds.low))
        return -advantage * jnp.exp(_as_token(_held(mean(own)), own))
    if kind == "sapo":
        tau = jnp.where(advantage > 0, bounds.tau_right, bounds.tau_wrong)
        return -advantage * jax.nn.sigmoid(tau * (jnp.exp(_held(d)) - 1)) * 4 / tau
    if kind == "vespo":
        w, raised = _held(total(_held(d))), advantage >= 0
        k, scale = (jnp.where(raised, right, wrong) for right, wrong in zip(*VESPO, strict=True))
        return -stop_gradient(jnp.exp(k * w - scale * jnp.expm1(w))) * advantage * logprob
    if kind in ("topr", "topr_token"):
        tapered = jnp.exp(jnp.minimum(total(d) if kind == "topr" else d, 0.0))
        return -stop_gradient(jnp.where(advantage > 0, 1.0, tapered)) * advantage * logprob
    ratio = stop_gradient(jnp.exp(_held(d)))
    if kind == "cispo":
        weight = jnp.minimum(ratio, 5.0 if bounds.cap is None else bounds.cap)
    else:
        weight = jnp.clip(ratio, 1 - bounds.low, 1 + bounds.high)
    return -weight * advantage * logprob


def kl_estimate(kind: Estimator, logprob: Tokens, reference: Tokens) -> Tokens:
    """An estimate of KL(pi || q) at a token that pi drew, with `d = log q - log pi`.

    - k1: `-d`, unbiased in value; as a loss its gradient is 0 on average, which regularises nothing.
    - k2: `d^2 / 2`, biased in value, with the right gradient on average: the one to take in a loss.
    - k3: `exp(d) - d - 1`, unbiased in value; its gradient is on average that of KL(q || pi).
    - k3_plus: the value of k3 with the gradient of k2.

    Above d = 20, `exp` goes on as its tangent, so that values are finite in float32 and the slope stays.

    Source: Schulman, "Approximating KL Divergence", 2020; the gradients by enumeration (tests), k3_plus from verl.
    """
    d = stop_gradient(wide(reference)) - wide(logprob)
    if kind == "k1":
        return -d
    low, edge = jnp.minimum(d, LARGEST), jnp.expm1(LARGEST)
    k2, k3 = d**2 / 2, jnp.where(d < LARGEST, jnp.expm1(low) - low, edge - LARGEST + edge * (d - LARGEST))
    if kind == "k2":
        return k2
    return k3 if kind == "k3" else k2 + stop_gradient(k3 - k2)
