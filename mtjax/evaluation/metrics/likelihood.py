"""Likelihood of the problems' own solutions: the nats of each, and their means."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.distributed.placement import read_whole
from mtjax.errors import InputError
from mtjax.evaluation.metrics.base import METRICS, Evaluation, Likelihood, MetricSettings, Need
from mtjax.objectives.base import is_target, segment_sum
from mtjax.reporting.intervals import Interval, mean_interval, ratio_interval
from mtjax.types import Batch, Params, Policy

Scorer = Callable[[Params, Batch], Any]
"""`(params, batch) -> (nats [*B S], weight [*B S])`, compiled once for each shape of batch."""


def make_scorer(policy_of: Callable[[Params], Policy]) -> Scorer:
    """A compiled function that sums the nats of each packed answer.

    Formula: column s - 1 of row b holds `-sum_t w_t log p(y_t | y_<t)` over the tokens of segment s, and `sum_t w_t`; a
    weight at a segment's first token, which nothing predicts, does not count.

    `policy_of` makes a policy of parameters, such as `lambda params: make_policy(model, params)`. Make the scorer once
    and call it with any parameters: they are arguments, so nothing compiles again.
    """

    @jax.jit
    def score(params: Params, batch: Batch) -> Any:
        weights = batch.weights * is_target(batch.segments)
        # A zero weight must drop a token even if its log-probability is infinite: 0 * inf is NaN.
        nats = jnp.where(weights != 0, -weights * policy_of(params).scores(batch).logprob, 0)
        count = batch.extras["segment_id"].shape[-1]
        return segment_sum(nats, batch.segments, count), segment_sum(weights, batch.segments, count)

    return score


def held_out_loss(score: Scorer, params: Params, batches: Iterable[Batch]) -> Likelihood:
    """Score every answer of the batches, each example once however often it comes by.

    `batches` are of one shape and hold `extras["segment_id"]` `[*B, S]`, -1 where there is no example, such as
    `(data.batch_at(n) for n in range(data.steps_per_epoch))`. Answers without target weight are left out. Raises
    InputError where no answer is left, or a batch has no ids.
    """
    seen: dict[int, tuple[float, ...]] = {}
    for batch in batches:
        if "segment_id" not in batch.extras:
            raise InputError(f"the batch has extras {sorted(batch.extras)}; held_out_loss needs 'segment_id'")
        ids = batch.extras["segment_id"]
        columns = read_whole((ids, *score(params, batch), batch.extras.get("segment_polarity", np.ones(ids.shape))))
        for example, *values in zip(*(np.asarray(column).ravel() for column in columns), strict=True):
            if example >= 0 and values[1] > 0:
                seen.setdefault(int(example), tuple(map(float, values)))
    if not seen:
        raise InputError("no held-out answer has a target token: check the source, and that answers fit in a row")
    nats, weight, polarities = np.array(list(seen.values()), np.float64).T
    return Likelihood(np.fromiter(seen, np.int64), nats, weight, polarities)


@METRICS.register("likelihood")
@dataclasses.dataclass(frozen=True)
class Nats:
    """Negative log-probability of the problems' own solutions, in nats per token and per solution.

    Formula: `sum nats / sum weight`, which training minimises (its `exp` is the perplexity), and `sum nats / number of
    solutions`, in which a long solution counts more. Intervals are over solutions.

    Returns: `nats_per_token` and `nats_per_answer` of right solutions, and `..._wrong` of wrong ones, where there are
    any.
    """

    needs: ClassVar[tuple[Need, ...]] = ("scores",)
    order: ClassVar[int] = 30

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.scores is not None
        out: dict[str, Interval] = {}
        for polarity, suffix in ((1, ""), (0, "_wrong")):
            found = evaluation.scores.only(polarity)
            if len(found.ids):
                ratio = ratio_interval(found.nats, found.weight, level=settings.level, seed=settings.seed)
                mean = mean_interval(found.nats, level=settings.level, seed=settings.seed)
                out |= {f"nats_per_token{suffix}": ratio, f"nats_per_answer{suffix}": mean}
        return out
