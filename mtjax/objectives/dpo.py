"""Direct preference optimisation and its kin: thirteen kinds of loss, divergences, weights, and a likelihood term."""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Le, Lt
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, pair_losses, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Sums
from mtjax.objectives.numerics import wide
from mtjax.objectives.pair_losses import Divergence, Kind, Options
from mtjax.types import Batch, Mean, Policy

Beta = Annotated[base.Number, Gt(0), Lt(math.inf), "0.1 is usual, 5 with length_normalised"]
Share = Annotated[base.Number, Ge(0), Le(1)]


def dpo_loss(
    chosen_logratio: ArrayLike,
    rejected_logratio: ArrayLike,
    *,
    beta: ArrayLike,
    label_smoothing: base.Number = 0.0,
    kind: str = "sigmoid",
    shift: base.Number = 0.0,
    win_rate: base.Number = 1.0,
    tau: base.Number = 0.05,
) -> Float[Array, "..."]:
    r"""The loss of pairs, elementwise; needs nothing else of mtjax.

    Formula, with log-ratios `h_w, h_l` of chosen and rejected text, their margin `h = h_w - h_l`, rewards
    `r = beta h`, and e = `label_smoothing`:

    - sigmoid: `-(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)`; e > 0 is conservative DPO (cDPO).
    - robust: `(-(1 - e) log sigmoid(beta h) + e log sigmoid(-beta h)) / (1 - 2 e)`: unbiased if a share e of pairs is
      the wrong way round; unbounded below.
    - ipo: `(h - 1 / (2 beta))^2`; beta is the paper's tau. Log-ratios are sums over a text in the paper, and means per
      token in TRL and HALOs (`ipo_trl`).
    - hinge: `max(0, 1 - beta h)`.
    - exo: `s(x) (log s(x) - log(1 - e)) + s(-x) (log s(-x) - log e)`, s the sigmoid and x = beta h: the reverse KL from
      the policy's choice to (1 - e, e). Pairs far on the wrong side stop learning.
    - nca: `-log s(r_w) - log s(-r_w) / 2 - log s(-r_l) / 2`; the chosen text is pulled up to a finite reward.
    - bco: `-log s(r_w - shift) - log s(shift - r_l)`: two classifications. TRL has shift 0 here.
    - sppo_hard: `(h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2`, TRL's; sppo, the authors' code:
      `((h_w - (P - 1/2) / beta)^2 + (h_l - (1/2 - P) / beta)^2) / 2` with the chosen text's `win_rate` P.
    - apo_zero: `1 - s(r_w) + s(r_l)`, for chosen texts better than the policy's own; apo_down, for worse ones:
      `s(r_w) + 1 - s(beta h)`.
    - discopop: `(1 - l) (-log s(x)) + l exp(-x)`, `l = s(x / tau)`. At tau 0.05 it has the **wrong slope** for x
      between -0.119 and 0.072, the reference included: it is the discovered formula, and not to be recommended.
    - cal_dpo: `-log s(h) + ((h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2) / 2`, the authors' code: no beta in the
      sigmoid. The paper has the squares without the half.

    >>> round(float(dpo_loss(-1.0, -2.0, beta=0.4)), 4)  # -log sigmoid(0.4)
    0.513

    Args:
        chosen_logratio, rejected_logratio: `log pi(y) - log pi_ref(y)` in nats of either text, any shape.
        beta: strength of the implicit KL penalty, > 0.

    Returns float32. Raises InputError for an unknown kind, and for a setting out of bounds or of no use for the kind.

    Source: Rafailov et al. 2023, eq. 7 (arXiv 2305.18290); cDPO: Mitchell's note of 2023; robust: Chowdhury et al. 2024
    (arXiv 2403.00409); ipo: Azar et al. 2023, eq. 17 (arXiv 2310.12036); hinge: Zhao et al. 2023 with log-ratios
    (arXiv 2305.10425); exo: Ji et al. 2024, eq. 16 (arXiv 2402.00856); nca: Chen et al. 2024 (arXiv 2402.05369); bco:
    Jung et al. 2024 (arXiv 2404.04656); sppo: Wu et al. 2024 (arXiv 2405.00675); apo: D'Oosterlinck et al. 2024, eq. 7
    and 8 (arXiv 2408.06266); discopop: Lu et al. 2024, eq. 5 (arXiv 2406.08414); cal_dpo: Xiao et al. 2024 (arXiv
    2412.14516).
    """
    of = Options(label_smoothing, shift, win_rate, tau)
    pair_losses.check(kind, of)
    return pair_losses.KINDS[kind](wide(chosen_logratio), wide(rejected_logratio), wide(beta), of)


@base.OBJECTIVES.register("dpo")
@dataclasses.dataclass(frozen=True)
class Dpo(base.Settings):
    """Direct preference optimisation: raise the chosen text over the rejected one, relative to a reference.

    Formula: the mean over pairs of `W (kind_weight dpo_loss(h_w, h_l) + second_weight dpo_loss'(h_w, h_l)) +
    nll_weight NLL_w`, where `h = log pi(y | x) - gamma log pi_ref(y | x)`, sums over the weighted targets of each text.
    The defaults are DPO; the other settings give its kin:

    - `length_normalised` divides h by the text's own length first, as in Tülu 3.
    - `divergence` takes `pair_losses.score(h)` in place of h (f-DPO).
    - `weight` multiplies a pair by how likely its texts are under the policy (WPO): `W = w(y_w) w(y_l)`, `w(y) =
      exp(mean_t (log pi(y_t) - log sum_v pi(v)^2))` (aligned), or without the last term (plain), at most `weight_max`.
    - `tail_weight` < 1 counts targets beyond the length of the shorter text less (LD-DPO).
    - `chosen_penalty` subtracts `chosen_penalty max(0, -h_w)` from the margin (DPOP): a chosen text must not fall.
    - `nll_weight` adds the chosen text's cross-entropy: its mean per token, pair by pair (`nll_unit="pair"`), or so
      that the term is the mean over all chosen tokens of the batch ("token"), as in TRL (RPO, MPO).

    Want it when you have pairs and a reference, and care for which of two texts is likelier. It pushes the rejected
    text down more than the chosen one up; watch `logprob_chosen`.

    Shapes: `tokens` `(B, 2, T)`, chosen and rejected; pair k is segment k of both rows. The mean counts pairs. A pair
    of which one side has no target is left out. The shared context has weight 0, and its scores get gradient 0.

    Metrics: see `mtjax.objectives.sequences.pair_metrics`; the reward is `beta h`. With the settings above also
    `nll_chosen` and `pair_weight`.

    Source: see `dpo_loss`; gamma: Chen et al. 2024 (arXiv 2405.19534); length-normalised: Lambert et al. 2024, eq. 6
    (arXiv 2411.15124), whose settings are `dpo_tulu3()`; divergences: Wang et al. 2023 (arXiv 2309.16240); weights:
    Zhou et al. 2024, WPO (arXiv 2406.11827); tail: Liu et al. 2024, LD-DPO (arXiv 2409.06411); penalty: Pal et al.
    2024, Smaug (arXiv 2402.13228); cross-entropy: Pang et al. 2024 (arXiv 2404.19733), Liu et al. 2024 (arXiv
    2405.16436).
    """

    task = "pair"
    needs_reference = True

    beta: Beta = 0.1  # Strength of the implicit KL penalty. 0.1 suits sums; Tülu 3 has 5, for means per token.
    kind: Kind = "sigmoid"
    """Which loss: sigmoid, robust, ipo (beta is its tau), hinge, exo, nca, bco, sppo_hard, sppo, apo_zero, apo_down,
    discopop or cal_dpo. ipo takes sums over each text, as in the paper; TRL and HALOs take means per token, which is
    ipo with `length_normalised` (preset `ipo_trl`)."""
    label_smoothing: base.Number = 0.0
    """Share of pairs believed to be the wrong way round: cDPO with sigmoid; robust corrects for it. EXO's epsilon."""
    length_normalised: bool = False  # Divide each log-ratio by its text's own length. Needs a much larger beta.
    gamma: NonNegative = 1.0  # How much of the reference is subtracted: 1 is DPO, 0 does without it.
    shift: base.Number = 0.0  # bco: subtracted from the rewards.
    win_rate: Share = 1.0  # sppo: rate at which the chosen text wins; the rejected one has the rest.
    tau: Positive = 0.05  # discopop: temperature of its switch.
    kind_weight: NonNegative = 1.0  # Factor on the loss of `kind`.
    second_kind: Kind = "bco"  # A second loss on the same pairs, as in MPO; not used at second_weight 0.
    second_weight: NonNegative = 0.0  # Factor on the loss of `second_kind`.
    nll_weight: NonNegative = 0.0  # Factor on the cross-entropy of the chosen text.
    nll_unit: Literal["pair", "token"] = "pair"  # Mean per token of each pair, or over all chosen tokens of the batch.
    divergence: Divergence = "reverse_kl"  # Which divergence holds the policy: reverse_kl, forward_kl, js or alpha.
    alpha: Positive = 0.5  # Of the divergence alpha, as in the paper; 1 minus TRL's coefficient.
    weight: Literal["none", "aligned", "plain"] = "none"  # Weight of a pair by its texts' likelihood (WPO).
    weight_max: Annotated[base.Number, Gt(0)] = math.inf  # Largest weight of a pair; 1 in TRL before 0.13.
    tail_weight: Share = 1.0  # Weight of targets beyond the shorter text's length (LD-DPO's alpha); 1 is DPO.
    tail_on: Literal["both", "policy"] = "both"  # Whether the reference's targets are weighted so, too.
    chosen_penalty: NonNegative = 0.0  # DPOP's lambda; the paper has 50 and less.

    def __post_init__(self) -> None:
        pair_losses.check(self.kind, self._options)
        if self.second_weight:
            pair_losses.check(self.second_kind, Options())
        if self.chosen_penalty and self.kind not in pair_losses.MARGIN_ONLY:
            kinds = ", ".join(pair_losses.MARGIN_ONLY)
            raise InputError(f"chosen_penalty changes the margin, which kind='{self.kind}' has not; use {kinds}")
        super().__post_init__()

    @property
    def _options(self) -> Options:
        return Options(self.label_smoothing, self.shift, self.win_rate, self.tau)

    @property
    def note(self) -> str:
        """Which of the two readings of IPO this is, and that discopop starts downhill on the wrong side."""
        if self.kind == "discopop":
            return "discopop lowers every margin near the reference (wrong slope between -0.119 and 0.072 at tau 0.05)"
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
        """The loss where policy and reference agree: log 2 (sigmoid, robust), 1 / (4 beta^2) (ipo), 1 (hinge), ...

        None where it depends on the texts: another gamma, divergence, weights, the cross-entropy, a tail of the policy.
        """
        tail = self.tail_weight != 1 and self.tail_on == "policy"
        plain = self.gamma == 1 and self.divergence == "reverse_kl" and self.weight == "none"
        if not plain or self.nll_weight or tail:
            return None
        found = self.kind_weight * pair_losses.at_reference(self.kind, self.beta, self._options)
        if self.second_weight:
            found += self.second_weight * pair_losses.at_reference(self.second_kind, self.beta, Options())
        return found

    @property
    def statistics(self) -> Callable[..., dict[str, Mean]]:
        """The batch's numbers of pairs and of chosen targets, where the cross-entropy is a mean over the latter."""
        if not self.nll_weight or self.nll_unit == "pair":
            raise AttributeError("statistics")  # no pass over the entire batch without need
        return lambda policy, batch, *, reference=None: sequences.pair_counts(batch)

    def _texts(self, batch: Batch, scores: sequences.TokenScores, cut: bool) -> sequences.Pairs:
        """Pairs under a policy's scores, with the tail of the longer text weighted where `cut`."""
        if self.tail_weight == 1 or not cut:
            return sequences.as_pairs(sequences.sequence_scores(scores, batch))
        whole = sequences.as_pairs(sequences.sequence_scores(scores, batch))
        kept = batch._replace(weights=sequences.tail_weights(batch, self.tail_weight))
        return whole.with_logprobs(sequences.as_pairs(sequences.sequence_scores(scores, kept)))

    def _pair_weight(self, policy: Policy, batch: Batch, scores: sequences.TokenScores) -> Float[Array, "B S"]:
        """WPO's weight of each pair, without gradient."""
        logprob = scores.logprob
        if self.weight == "aligned":
            logprob = logprob - policy.map_logits(lambda logits, *_: pair_losses.log_collision(logits), batch)
        mean = sequences.as_pairs(sequences.sequence_scores(scores._replace(logprob=logprob), batch))
        weight = jnp.exp(jnp.minimum(mean.chosen.mean_logprob + mean.rejected.mean_logprob, pair_losses.LARGEST))
        return jax.lax.stop_gradient(jnp.minimum(weight, self.weight_max))

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the batch counts as the entire one."""
        sequences.check_pairs(batch, "dpo")
        scores = policy.scores(batch)
        ours = self._texts(batch, scores, True)
        theirs = self._texts(batch, sequences.scores_of(reference, batch, "dpo"), self.tail_on == "both")
        chosen = ours.chosen.logprob - self.gamma * theirs.chosen.logprob
        rejected = ours.rejected.logprob - self.gamma * theirs.rejected.logprob
        if self.length_normalised:
            chosen, rejected = chosen / ours.chosen.length, rejected / ours.rejected.length
        metrics = sequences.pair_metrics(ours, self.beta * chosen, self.beta * rejected)
        if self.divergence != "reverse_kl":
            chosen, rejected = (pair_losses.score(h, self.divergence, self.alpha) for h in (chosen, rejected))
        if self.chosen_penalty:
            rejected = rejected + self.chosen_penalty * jax.nn.relu(-chosen)
        loss = self.kind_weight * dpo_loss(chosen, rejected, beta=self.beta, kind=self.kind, **self._options._asdict())
        if self.second_weight:
            loss = loss + self.second_weight * dpo_loss(chosen, rejected, beta=self.beta, kind=self.second_kind)
        if self.weight != "none":
            weight = self._pair_weight(policy, batch, scores)
            loss, metrics["pair_weight"] = weight * loss, sequences.mean_of(weight, ours.live)
        if self.nll_weight:
            whole = ours if self.tail_weight == 1 else sequences.as_pairs(sequences.sequence_scores(scores, batch))
            counts = sequences.pair_counts(batch) if statistics is None else statistics
            nll = sequences.chosen_nll(whole, self.nll_unit, counts if self.nll_unit == "token" else None)
            loss, metrics["nll_chosen"] = loss + self.nll_weight * nll, sequences.mean_of(nll, ours.live)
        return sequences.mean_of(loss, ours.live), metrics


def ipo_trl(beta: base.Number = 0.1) -> Dpo:
    """IPO as TRL and HALOs compute it: `(h - 1 / (2 beta))^2` of the means per token of each text's log-ratio.

    The paper's, `Dpo(kind="ipo")`, takes sums: a margin of nats per text, so that long texts reach it sooner.
    """
    return Dpo(beta=beta, kind="ipo", length_normalised=True)


def dpo_tulu3() -> Dpo:
    """The length-normalised DPO of Tülu 3 (arXiv 2411.15124): beta 5 on mean log-ratios."""
    return Dpo(beta=5.0, length_normalised=True)


def rpo() -> Dpo:
    """Regularised preference optimisation (arXiv 2405.16436): sigmoid + 0.005 cross-entropy per token, beta 0.01."""
    return Dpo(beta=0.01, nll_weight=0.005, nll_unit="token")


def iterative_rpo() -> Dpo:
    """Iterative reasoning preference optimisation (arXiv 2404.19733): sigmoid + the chosen text's mean NLL."""
    return Dpo(nll_weight=1.0)


def mpo() -> Dpo:
    """Mixed preference optimisation (arXiv 2411.10442): 0.8 sigmoid + 0.2 bco + 1.0 cross-entropy per token."""
    return Dpo(kind_weight=0.8, second_kind="bco", second_weight=0.2, nll_weight=1.0, nll_unit="token")


def wpo() -> Dpo:
    """Weighted preference optimisation (arXiv 2406.11827) as in TRL: aligned weights, which may exceed 1; beta 0.01."""
    return Dpo(beta=0.01, weight="aligned")


def dpop(penalty: base.Number = 50.0) -> Dpo:
    """DPO-positive (Smaug, arXiv 2402.13228): the chosen text's fall below the reference counts `penalty` times."""
    return Dpo(beta=0.3, chosen_penalty=penalty)
