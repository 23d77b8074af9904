"""A policy of a few lines, for testing objectives without a network, and batches to go with it."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.types import Batch, Routing, TokenScores

VOCAB = 11


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BigramPolicy:
    """Predicts a token from the one before it with a table `logits[previous, next]`; the simplest honest policy."""

    table: Any

    def _logits(self, batch):
        return jax.nn.log_softmax(self.table[self._before(batch)])

    def _before(self, batch):
        return jnp.concatenate([batch.tokens[..., :1], batch.tokens[..., :-1]], -1)

    def _live(self, batch):
        same = jnp.concatenate(
            [jnp.zeros_like(batch.segments[..., :1], bool), batch.segments[..., 1:] == batch.segments[..., :-1]], -1
        )
        return same & (batch.segments > 0)

    def scores(self, batch):
        logits, live = self._logits(batch), self._live(batch)
        logprob = jnp.take_along_axis(logits, batch.tokens[..., None], -1)[..., 0]
        entropy = jax.lax.stop_gradient(-jnp.sum(jnp.exp(logits) * logits, -1))
        top = jax.lax.stop_gradient(jnp.max(logits, -1))
        return TokenScores(*(jnp.where(live, x, 0.0) for x in (logprob, entropy, top)))

    def map_logits(self, fn, batch, also=()):
        flat = [p.table[self._before(batch)].reshape(-1, VOCAB) for p in (self, *also)]  # logits, not log-probabilities
        shape = batch.tokens.shape
        own = {name: x.reshape(-1) for name, x in batch.extras.items() if x.shape == shape and "segment_" not in name}
        out = fn(tuple(flat) if also else flat[0], batch.tokens.reshape(-1), own)
        live = self._live(batch)
        return jax.tree.map(lambda x: jnp.where(live, x.reshape(batch.tokens.shape), 0), out)

    def hidden(self, batch):
        return self.table[batch.tokens]

    def values(self, batch):
        """A value head that looks at the token alone."""
        return jnp.tanh(self.table[batch.tokens][..., 0])

    def routing(self, batch):
        """A router of five experts in two layers, which looks at the token alone."""
        logits = jnp.stack([self.table[batch.tokens][..., start : start + 5] for start in (0, 5)])
        chosen = jax.lax.top_k(logits, 2)[1]
        return Routing(logits, chosen, chosen != 3)

    def expert_weights(self, batch):
        """Four experts on one map in two layers."""
        logits = jnp.stack([self.table[batch.tokens][..., start : start + 4] for start in (0, 4)])
        return {"layers.mlp.down": jax.nn.softmax(logits)}


def random_table(seed=0):
    """Logits of a random bigram policy."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=(VOCAB, VOCAB)), jnp.float32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FixedPolicy:
    """Says what it is told: the log-probability of every token is an array, so a gradient shows each token's share."""

    logprob: Any

    def scores(self, batch):
        return TokenScores(self.logprob, jnp.zeros_like(self.logprob), jnp.zeros_like(self.logprob))

    def map_logits(self, fn, batch, also=()):
        raise NotImplementedError("it has log-probabilities alone")

    def hidden(self, batch):
        raise NotImplementedError("it has log-probabilities alone")


class Forbidding:
    """A policy that, where `forbids`, gives tokens without weight the probability 0."""

    def __init__(self, policy, forbids):
        self.policy, self.forbids = policy, forbids

    def scores(self, batch):
        scores = self.policy.scores(batch)
        return scores._replace(logprob=jnp.where(self.forbids & (batch.weights == 0), -jnp.inf, scores.logprob))

    def map_logits(self, fn, batch, also=()):
        return self.policy.map_logits(fn, batch, tuple(getattr(one, "policy", one) for one in also))

    def hidden(self, batch):
        return self.policy.hidden(batch)

    def values(self, batch):
        return self.policy.values(batch)

    def routing(self, batch):
        return self.policy.routing(batch)

    def expert_weights(self, batch):
        return self.policy.expert_weights(batch)


def random_segments(rng, rows, length, max_segments):
    """Up to `max_segments` packed segments a row, and some padding."""
    segments = np.zeros((rows, length), np.int32)
    for row in segments:
        cuts = np.sort(rng.choice(np.arange(2, length), size=max_segments, replace=False))
        for number, (start, stop) in enumerate(zip([0, *cuts[:-1]], cuts, strict=True), start=1):
            row[start:stop] = number
    return segments


def random_batch(rows=4, length=12, max_segments=3, seed=0, pair=False, group=0):
    """Rows of three packed segments and some padding, with ragged float weights, and all extras that objectives read.

    The sides of pairs, and of groups of `group`, fill up apart, as packing has it; one candidate is missing.
    """
    rng = np.random.default_rng(seed)
    segments = random_segments(rng, rows, length, max_segments)
    if pair or group:
        more = [random_segments(rng, rows, length, max_segments) for _ in range(1 if pair else group - 1)]
        segments = np.stack([segments, *more], axis=1)
    if group:
        segments[0, -1][segments[0, -1] == 3] = 0
    weights = rng.choice([0.0, 0.5, 1.0, 2.0], size=segments.shape) * (segments > 0)
    tokens = rng.integers(0, VOCAB, size=segments.shape)
    columns = (*segments.shape[:-1], max_segments)
    sides = lambda x: np.broadcast_to(x[:, None] if pair or group else x, columns)  # equal on all sides
    polarity = np.broadcast_to([[1], [0]], columns) if pair else rng.integers(0, 2, size=columns)
    per_example = {
        "segment_polarity": polarity,
        "segment_kind": sides(rng.integers(0, 2, size=(rows, max_segments))),
        "segment_right_token": np.full(columns, 3.0),
        "segment_wrong_token": np.full(columns, 7.0),
        "segment_source": np.asarray(polarity + np.arange(rows).reshape(-1, *[1] * (polarity.ndim - 1)) > 1),
        "segment_success_rate": sides(rng.choice([0.0, 0.02, 0.2, 1.0], size=(rows, max_segments))),
    }
    valued = jnp.asarray(rng.integers(0, 2, size=segments.shape) * (segments > 0), jnp.float32)
    ids, drawn = sides(np.arange(rows * max_segments).reshape(rows, max_segments)), {}
    if group:
        per_example |= {"segment_reward": polarity, "segment_finished": rng.integers(0, 2, size=columns)}
        per_example["segment_advantage"] = rng.normal(size=columns)
        drawn = {"sampled_logprob": jnp.asarray(rng.normal(-2.4, 0.3, size=segments.shape), jnp.float32)}
    return Batch(
        tokens=jnp.asarray(tokens, jnp.int32),
        weights=jnp.asarray(weights, jnp.float32),
        segments=jnp.asarray(segments),
        extras={
            "segment_id": jnp.asarray(ids, jnp.int32),
            "step_ids": jnp.asarray(np.sort(rng.integers(0, 3, size=segments.shape), -1) * (segments > 0), jnp.int32),
            "sampled_logprob": jnp.asarray(-rng.exponential(size=segments.shape), jnp.float32),
            "value_target": valued * jnp.asarray(rng.uniform(-1, 1, size=segments.shape), jnp.float32),
            "value_weight": valued,
        }
        | drawn
        | {name: jnp.asarray(x, jnp.float32) for name, x in per_example.items()},
    )


def batch_for(objective, **kwargs):
    """A random batch of the kind that an objective takes."""
    sides = getattr(objective, "sides", 3) if objective.task in ("group", "triplet") else 0
    return random_batch(pair=objective.task == "pair", group=sides, **kwargs)


def rows_of(batch, index):
    """The batch with only the rows of `index` (in that order)."""
    return jax.tree.map(lambda x: x[index], batch)


def batch_of(*rows, **extras):
    """A batch of given log-probabilities, one example (or pair) a row, and the policy that has them.

    A row is a list of log-probabilities, or a tuple of two lists for a pair. In front of each stands a token of weight
    0, which nothing predicts and whose log-probability would be noticed; behind it padding. `extras` are
    `segment_...` columns, one number a row, the same on both sides. Four rows at least, the last ones empty, of six
    tokens at least: most tests share shapes, and so compilations.
    """
    pair = isinstance(rows[0], tuple)
    sides = [side for row in rows for side in (row if pair else (row,))]
    number, length = max(4, len(rows)), max(6, 2 + max(map(len, sides)))
    shape = (number, 2, length) if pair else (number, length)

    def array(first, values, padding):
        out = np.full((number * (1 + pair), length), padding, np.float32)
        for place, side in enumerate(sides):
            out[place, : len(side) + 1] = [first, *(side if values is None else [values] * len(side))]
        return out.reshape(shape)

    def column(values, padding):
        values = np.concatenate([np.float32(values), np.full(number - len(values), padding, np.float32)])
        return jnp.asarray(np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), (*shape[:-1], 1)))

    columns = {"kind": [0] * len(rows), **extras} if pair else extras
    made = {f"segment_{name}": column(values, 0) for name, values in columns.items()}
    made["segment_id"] = column(np.arange(len(rows)), -1)
    if pair:
        made["segment_polarity"] = jnp.broadcast_to(jnp.array([[1.0], [0.0]]), (number, 2, 1))
    tokens, segments = jnp.zeros(shape, jnp.int32), jnp.asarray(array(1, 1, 0), jnp.int32)
    return Batch(tokens, jnp.asarray(array(0, 1, 0)), segments, made), FixedPolicy(jnp.asarray(array(-77, None, -88)))


class Outcome(NamedTuple):
    """What an objective makes of a batch; the gradient is that of the loss's total for what the policy is made of."""

    loss: Any
    metrics: Any
    gradient: Any


def outcome(objective, policy, batch, reference=None):
    """What an objective makes of a batch, compiled in one piece (which is quicker than piece by piece)."""
    return jax.device_get(_outcome(objective, policy, reference, batch))


@functools.partial(jax.jit, static_argnums=0)
def _outcome(objective, policy, reference, batch):
    def total(policy):
        loss, metrics = objective(policy, batch, reference=reference)
        return loss.total, (loss, metrics)

    gradient, (loss, metrics) = jax.grad(total, has_aux=True)(policy)
    return Outcome(loss, metrics, gradient)
