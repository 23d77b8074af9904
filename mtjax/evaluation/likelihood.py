"""Likelihood of held-out answers: nats per token and per answer."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mtjax.errors import InputError
from mtjax.objectives.base import is_target, segment_sum
from mtjax.reporting.intervals import Interval, mean_interval, ratio_interval
from mtjax.types import Batch, Mean, Params, Policy

Scorer = Callable[[Params, Batch], Any]
"""`(params, batch) -> (nats [*B S], weight [*B S])`, compiled once for each shape of batch."""


class Likelihood(NamedTuple):
    """How surprised a model is by answers it has not seen; one entry an answer.

    Attributes:
        ids: the examples' numbers (`segment_id`), each once, in the order met.
        nats: weighted negative log-probability of each answer, summed over its target tokens.
        weight: sum of each answer's target weights: its tokens, where weights are 1.
        polarity: 1 for right answers, 0 for wrong ones, 1 where there is no such thing.
    """

    ids: Int[np.ndarray, " A"]
    nats: Float[np.ndarray, " A"]
    weight: Float[np.ndarray, " A"]
    polarity: Float[np.ndarray, " A"]

    def only(self, polarity: float | int) -> "Likelihood":
        """The answers of one polarity: 1 right, 0 wrong; may be none."""
        keep = self.polarity == polarity
        return Likelihood(self.ids[keep], self.nats[keep], self.weight[keep], self.polarity[keep])

    @property
    def per_token(self) -> Mean:
        """`sum nats / sum weight`: what training minimises; `exp` of its value is the perplexity."""
        return Mean(jnp.float32(self.nats.sum()), jnp.float32(self.weight.sum()))

    @property
    def per_answer(self) -> Mean:
        """`sum nats / number of answers`: a long answer counts more."""
        return Mean(jnp.float32(self.nats.sum()), jnp.float32(len(self.nats)))

    def intervals(self, *, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
        """Both with bootstrap intervals over answers, as `nats_per_token` and `nats_per_answer`."""
        return {
            "nats_per_token": ratio_interval(self.nats, self.weight, level=level, seed=seed),
            "nats_per_answer": mean_interval(self.nats, level=level, seed=seed),
        }


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
        ids = np.asarray(batch.extras["segment_id"])
        polarity = np.asarray(batch.extras.get("segment_polarity", np.ones(ids.shape)))
        columns = (ids, *jax.device_get(score(params, batch)), polarity)
        for example, *values in zip(*(np.asarray(column).ravel() for column in columns), strict=True):
            if example >= 0 and values[1] > 0:
                seen.setdefault(int(example), tuple(map(float, values)))
    if not seen:
        raise InputError("no held-out answer has a target token: check the source, and that answers fit in a row")
    nats, weight, polarities = np.array(list(seen.values()), np.float64).T
    return Likelihood(np.fromiter(seen, np.int64), nats, weight, polarities)
