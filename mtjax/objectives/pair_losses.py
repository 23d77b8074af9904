"""Losses of preference pairs as pure functions: every kind of loss, every divergence, and weights of pairs."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, relu, sigmoid
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError, suggest
from mtjax.objectives import base
from mtjax.objectives.numerics import wide

Kind = Literal[
    "sigmoid", "robust", "ipo", "hinge", "exo", "nca", "bco", "sppo_hard", "sppo", "apo_zero", "apo_down", "discopop",
    "cal_dpo",
]  # fmt: skip
Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]
MARGIN_ONLY = ("sigmoid", "robust", "ipo", "hinge", "exo", "discopop")  # Kinds that see `h_w - h_l` alone.
LARGEST = 80.0  # Exponents are held here, where `exp` is still finite in float32.
Values = Float[Array, "..."]


class Options(NamedTuple):
    """What some kinds need beside beta."""

    label_smoothing: base.Number = 0.0  # cDPO's share, robust's flip rate, EXO's epsilon
    shift: base.Number = 0.0  # bco: what is subtracted from the rewards
    win_rate: base.Number = 1.0  # sppo: estimated rate at which the chosen text wins; the rejected one has 1 - it
    tau: base.Number = 0.05  # discopop: temperature of its switch


def _held(exponent: Values) -> Values:
    """At most `LARGEST`, with its slope kept."""
    return exponent - jax.lax.stop_gradient(relu(exponent - LARGEST))


def _sigmoid(h_w: Values, h_l: Values, beta: Values, of: Options) -> Values:
    x, e = beta * (h_w - h_l), of.label_smoothing
    return -(1 - e) * log_sigmoid(x) - e * log_sigmoid(-x) if e else -log_sigmoid(x)


def _robust(h_w: Values, h_l: Values, beta: Values, of: Options) -> Values:
    x, e = beta * (h_w - h_l), of.label_smoothing
    return (-(1 - e) * log_sigmoid(x) + e * log_sigmoid(-x)) / (1 - 2 * e) if e else -log_sigmoid(x)


def _exo(h_w: Values, h_l: Values, beta: Values, of: Options) -> Values:
    x, e = beta * (h_w - h_l), of.label_smoothing
    return sigmoid(x) * (log_sigmoid(x) - math.log1p(-e)) + sigmoid(-x) * (log_sigmoid(-x) - math.log(e))


def _nca(h_w: Values, h_l: Values, beta: Values, of: Options) -> Values:
    return -log_sigmoid(beta * h_w) - (log_sigmoid(-beta * h_w) + log_sigmoid(-beta * h_l)) / 2


def _bco(h_w: Values, h_l: Values, beta: Values, of: Options) -> Values:
    return -log_sigmoid(beta * h_w - of.shift) - log_sigmoid(of.shift - beta * h_l)


def _squares(h_w: Values, h_l: Values, beta: Values, win: base.Number) -> Values:
    return (h_w - (win - 0.5) / beta) ** 2 + (h_l - (0.5 - win) / beta) ** 2


def _discopop(h_w: Values, h_l: Values, beta: Values, of: Options) -> Values:
    # As written in the paper, exp(-x) overflows where lambda is 0: the product is taken in the exponent.
    x = beta * (h_w - h_l)
    return jnp.exp(_held(log_sigmoid(x / of.tau) - x)) - jnp.exp(log_sigmoid(-x / of.tau)) * log_sigmoid(x)


KINDS: dict[str, Callable[[Values, Values, Values, Options], Values]] = {
    "sigmoid": _sigmoid,
    "robust": _robust,
    "ipo": lambda h_w, h_l, beta, of: (h_w - h_l - 1 / (2 * beta)) ** 2,
    "hinge": lambda h_w, h_l, beta, of: relu(1 - beta * (h_w - h_l)),
    "exo": _exo,
    "nca": _nca,
    "bco": _bco,
    "sppo_hard": lambda h_w, h_l, beta, of: _squares(h_w, h_l, beta, 1.0),
    "sppo": lambda h_w, h_l, beta, of: _squares(h_w, h_l, beta, of.win_rate) / 2,
    "apo_zero": lambda h_w, h_l, beta, of: sigmoid(-beta * h_w) + sigmoid(beta * h_l),
    "apo_down": lambda h_w, h_l, beta, of: sigmoid(beta * h_w) + sigmoid(-beta * (h_w - h_l)),
    "discopop": _discopop,
    "cal_dpo": lambda h_w, h_l, beta, of: -log_sigmoid(h_w - h_l) + _squares(h_w, h_l, beta, 1.0) / 2,
}
"""Each kind as `(chosen log-ratio, rejected log-ratio, beta, options) -> loss`; see `mtjax.objectives.dpo.dpo_loss`."""


def at_reference(kind: str, beta: base.Number, of: Options) -> float:
    """The loss of a kind where both log-ratios are 0."""
    e, square = of.label_smoothing, 1 / (2 * beta) ** 2
    special = {
        "ipo": square,
        "hinge": 1.0,
        "nca": 2 * math.log(2),
        "bco": math.log1p(math.exp(of.shift)) + math.log1p(math.exp(-of.shift)) if abs(of.shift) < LARGEST else None,
        "sppo_hard": 2 * square,
        "sppo": ((of.win_rate - 0.5) / beta) ** 2,
        "apo_zero": 1.0,
        "apo_down": 1.0,
        "discopop": (1 + math.log(2)) / 2,
        "cal_dpo": math.log(2) + square,
        "exo": -math.log(2) - math.log(e * (1 - e)) / 2 if e else None,
    }
    found = special.get(kind, math.log(2))
    return math.inf if found is None else found


def check(kind: str, of: Options) -> None:
    """InputError for an unknown kind, and for a setting out of its bounds or without use for the kind."""
    if kind not in get_args(Kind):
        raise InputError(f"unknown kind of dpo '{kind}'; {suggest(kind, get_args(Kind))}")
    e = of.label_smoothing
    if not 0 <= e < 0.5:
        raise InputError(
            f"label_smoothing={e}: expected 0 <= it < 0.5, the share of pairs that are the wrong way "
            "round; swap chosen and rejected if it is more than half"
        )
    if kind == "exo" and not e:
        raise InputError("kind='exo' needs label_smoothing > 0, which its target contains; 1e-3 is the paper's")
    if e and kind not in ("sigmoid", "robust", "exo"):
        raise InputError(f"label_smoothing={e} does nothing for kind='{kind}'; use 'sigmoid' or 'robust'")
    for name, default, owner in (("shift", 0.0, "bco"), ("win_rate", 1.0, "sppo"), ("tau", 0.05, "discopop")):
        if getattr(of, name) != default and kind != owner:
            raise InputError(f"{name}={getattr(of, name)} does nothing for kind='{kind}'; it belongs to '{owner}'")


def score(logratio: ArrayLike, divergence: str, alpha: base.Number) -> Values:
    """`s(h)` of a log-ratio h, which takes its place in f-DPO: the derivative of the divergence's f, up to a constant.

    - reverse_kl: h, which is DPO.
    - forward_kl: `-exp(-h)`.
    - js: `log sigmoid(h)`.
    - alpha: `(1 - exp(-alpha h)) / alpha`, the paper's alpha; TRL's coefficient c is `1 - alpha`. 0 is reverse_kl.

    Exponents are held at 80, with the slope that they have there.

    Source: Wang et al., "Beyond Reverse KL: Generalizing Direct Preference Optimization", 2023 (arXiv 2309.16240).

    >>> [round(float(score(1.0, name, 0.5)), 4) for name in ("reverse_kl", "forward_kl", "js", "alpha")]
    [1.0, -0.3679, -0.3133, 0.7869]
    """
    logratio = wide(logratio)
    if divergence == "js":
        return log_sigmoid(logratio)
    if divergence == "forward_kl":
        return -jnp.exp(_held(-logratio))
    if divergence == "alpha" and alpha:
        return -jnp.expm1(_held(-alpha * logratio)) / alpha
    return logratio


def log_collision(logits: Float[Array, "*N V"]) -> Float[Array, "*N"]:
    """`log sum_v p_v^2`: the log-probability that a token drawn from the policy has on average, without gradient."""
    logits = jax.lax.stop_gradient(logits.astype(jnp.float32))
    return jax.nn.logsumexp(2 * logits, axis=-1) - 2 * jax.nn.logsumexp(logits, axis=-1)
