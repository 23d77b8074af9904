"""Direct preference optimisation and its kin: sigmoid (with cDPO), robust, IPO, hinge, length-normalised, gamma."""

import dataclasses
import math
from typing import Annotated, Literal, get_args

import jax
from annotated_types import Gt, Lt
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError, suggest
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Policy

Kind = Literal["sigmoid", "robust", "ipo", "hinge"]  # which function of the margin is the loss, see `dpo_loss`
Beta = Annotated[base.Number, Gt(0), Lt(math.inf), "0.1 is usual, 5 with length_normalised"]


def _check(kind: str, label_smoothing: base.Number) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"unknown kind of dpo '{kind}'; {suggest(kind, get_args(Kind))}")
    if not 0 <= label_smoothing < 0.5:
        raise InputError(
            f"label_smoothing={label_smoothing}: expected 0 <= it < 0.5, the share of pairs that are the wrong way "
            "round; swap chosen and rejected if it is more than half"
        )
    if label_smoothing and kind in ("ipo", "hinge"):
        raise InputError(f"label_smoothing={label_smoothing} does nothing for kind='{kind}'; use 'sigmoid' or 'robust'")


def dpo_loss(
    chosen_logratio: ArrayLike,
    rejected_logratio: ArrayLike,
    *,
    beta: ArrayLike,
    label_smoothing: base.Number = 0.0,
    kind: str = "sigmoid",
) -> Float[Array, "..."]:
    r"""The loss of pairs, elementwise; needs nothing else of mtjax.

    Formula, with the margin `h = chosen_logratio - rejected_logratio` and e = `label_smoothing`:

    - sigmoid: `-(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)`; e > 0 is conservative DPO (cDPO).
    - robust: `(-(1 - e) log sigmoid(beta h) + e log sigmoid(-beta h)) / (1 - 2 e)`: unbiased if a share e of pairs is
      the wrong way round; unbounded below.
    - ipo: `(h - 1 / (2 beta))^2`; beta is the paper's tau. Log-ratios are sums over a text in the paper, and means per
      token in TRL and HALOs (`ipo_trl`).
    - hinge: `max(0, 1 - beta h)`.

    >>> round(float(dpo_loss(-1.0, -2.0, beta=0.4)), 4)  # -log sigmoid(0.4)
    0.513

    Args:
        chosen_logratio, rejected_logratio: `log pi(y) - log pi_ref(y)` in nats of either text, any shape.
        beta: strength of the implicit KL penalty, > 0.

    Returns float32. Raises InputError for an unknown kind, a label smoothing outside [0, 0.5) or with ipo or hinge.

    Source: Rafailov et al. 2023, eq. 7 (arXiv 2305.18290); cDPO: Mitchell's note of 2023; robust: Chowdhury et al. 2024
    (arXiv 2403.00409); ipo: Azar et al. 2023, eq. 17 (arXiv 2310.12036); hinge: Zhao et al. 2023 with log-ratios
    (arXiv 2305.10425).
    """
    _check(kind, label_smoothing)
    beta = wide(beta)
    margin = wide(chosen_logratio) - wide(rejected_logratio)
    if kind == "ipo":
        return (margin - 1 / (2 * beta)) ** 2
    if kind == "hinge":
        return jax.nn.relu(1 - beta * margin)
    as_given, turned = -jax.nn.log_sigmoid(beta * margin), -jax.nn.log_sigmoid(-beta * margin)
    if not label_smoothing:
        return as_given
    if kind == "robust":
        return ((1 - label_smoothing) * as_given - label_smoothing * turned) / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * as_given + label_smoothing * turned


@base.OBJECTIVES.register("dpo")
@dataclasses.dataclass(frozen=True)
class Dpo(base.Settings):
    """Direct preference optimisation: raise the chosen text over the rejected one, relative to a reference.

    Formula: the mean of `dpo_loss` over pairs with `logratio = log pi(y | x) - gamma log pi_ref(y | x)`, sums over the
    weighted targets of each text; with `length_normalised`, divided by the text's own length first, as in Tülu 3:
    `-log sigmoid(beta / |y_c| logratio_c - beta / |y_r| logratio_r)`.

    Want it when you have pairs and a reference, and care for which of two texts is likelier. It pushes the rejected
    text down more than the chosen one up; watch `logprob_chosen`.

    Shapes: `tokens` `(B, 2, T)`, chosen and rejected; pair k is segment k of both rows. The mean counts pairs. A pair
    of which one side has no target is left out. The shared context has weight 0, and its scores get gradient 0.

    Metrics: see `mtjax.objectives.sequences.pair_metrics`; the reward is `beta logratio`.

    Source: see `dpo_loss`; gamma: Chen et al. 2024 (arXiv 2405.19534); length-normalised: Lambert et al. 2024, eq. 6
    (arXiv 2411.15124), whose settings are `dpo_tulu3()`.
    """

    task = "pair"
    needs_reference = True

    beta: Beta = 0.1  # Strength of the implicit KL penalty. 0.1 suits sums; Tülu 3 has 5, for means per token.
    kind: Kind = "sigmoid"
    """Which function of the margin: sigmoid, robust, ipo (beta is its tau) or hinge. ipo takes sums over each text, as
    in the paper; TRL and HALOs take means per token, which is ipo with `length_normalised` (preset `ipo_trl`)."""
    label_smoothing: base.Number = 0.0
    """Share of pairs believed to be the wrong way round: cDPO with sigmoid; robust corrects for it."""
    length_normalised: bool = False  # Divide each log-ratio by its text's own length. Needs a much larger beta.
    gamma: NonNegative = 1.0  # How much of the reference is subtracted: 1 is DPO, 0 does without it.

    def __post_init__(self) -> None:
        _check(self.kind, self.label_smoothing)
        super().__post_init__()

    @property
    def note(self) -> str:
        """Which of the two readings of IPO this is."""
        if self.kind != "ipo":
            return ""
        if self.length_normalised:
            return "ipo with means per token, as in TRL and HALOs (ipo_trl); the paper's has sums over each text"
        return (
            "ipo with sums over each text, as in the paper; TRL and HALOs take means per token, which is another loss: "
            "--objective.length_normalised=True (ipo_trl in Python)"
        )

    @property
    def at_reference(self) -> float | None:
        """The loss where policy and reference agree: log 2 (sigmoid, robust), 1 / (4 beta^2) (ipo), 1 (hinge).

        None with another gamma than 1, where it depends on the texts.
        """
        if self.gamma != 1:
            return None
        return {"ipo": 1 / (4 * self.beta**2), "hinge": 1.0}.get(self.kind, math.log(2))

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        ours = sequences.pair_scores(policy, batch, "dpo")
        theirs = sequences.reference_pairs(reference, batch, "dpo")
        chosen = ours.chosen.logprob - self.gamma * theirs.chosen.logprob
        rejected = ours.rejected.logprob - self.gamma * theirs.rejected.logprob
        if self.length_normalised:
            chosen, rejected = chosen / ours.chosen.length, rejected / ours.rejected.length
        loss = dpo_loss(chosen, rejected, beta=self.beta, label_smoothing=self.label_smoothing, kind=self.kind)
        metrics = sequences.pair_metrics(ours, self.beta * chosen, self.beta * rejected)
        return sequences.mean_of(loss, ours.live), metrics


def ipo_trl(beta: base.Number = 0.1) -> Dpo:
    """IPO as TRL and HALOs compute it: `(h - 1 / (2 beta))^2` of the means per token of each text's log-ratio.

    The paper's, `Dpo(kind="ipo")`, takes sums: a margin of nats per text, so that long texts reach it sooner.
    """
    return Dpo(beta=beta, kind="ipo", length_normalised=True)


def dpo_tulu3() -> Dpo:
    """The length-normalised DPO of Tülu 3 (arXiv 2411.15124): beta 5 on mean log-ratios."""
    return Dpo(beta=5.0, length_normalised=True)
