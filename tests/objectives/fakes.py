"""A policy of a few lines, for testing objectives without a network, and batches to go with it."""

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.types import Batch, TokenScores

VOCAB = 11


class BigramPolicy:
    """Predicts a token from the one before it with a table `logits[previous, next]`; the simplest honest policy."""

    def __init__(self, table):
        self.table = table

    def _logits(self, batch):
        before = jnp.concatenate([batch.tokens[..., :1], batch.tokens[..., :-1]], -1)
        return jax.nn.log_softmax(self.table[before])

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
        flat = [p._logits(batch).reshape(-1, VOCAB) for p in (self, *also)]
        out = fn(tuple(flat) if also else flat[0], batch.tokens.reshape(-1), {})
        live = self._live(batch)
        return jax.tree.map(lambda x: jnp.where(live, x.reshape(batch.tokens.shape), 0), out)

    def hidden(self, batch):
        return self.table[batch.tokens]


def random_table(seed=0):
    """Logits of a random bigram policy."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=(VOCAB, VOCAB)), jnp.float32)


def random_batch(rows=4, length=12, max_segments=3, seed=0, pair=False):
    """Rows of up to three packed segments and some padding, with ragged float weights and polarities."""
    rng = np.random.default_rng(seed)
    shape = (rows, 2, length) if pair else (rows, length)
    segments = np.zeros((rows, length), np.int32)
    for row in segments:
        cuts = np.sort(rng.choice(np.arange(2, length), size=max_segments, replace=False))
        for number, (start, stop) in enumerate(zip([0, *cuts[:-1]], cuts, strict=True), start=1):
            row[start:stop] = number
    if pair:
        segments = np.repeat(segments[:, None], 2, 1)
    weights = rng.choice([0.0, 0.5, 1.0, 2.0], size=shape).astype(np.float32) * (segments > 0)
    columns = (*shape[:-1], max_segments)
    return Batch(
        tokens=jnp.asarray(rng.integers(0, VOCAB, size=shape), jnp.int32),
        weights=jnp.asarray(weights, jnp.float32),
        segments=jnp.asarray(segments),
        extras={
            "segment_id": jnp.asarray(np.arange(np.prod(columns)).reshape(columns), jnp.int32),
            "segment_polarity": jnp.asarray(rng.integers(0, 2, size=columns), jnp.float32),
        },
    )


def rows_of(batch, index):
    """The batch with only the rows of `index` (in that order)."""
    return jax.tree.map(lambda x: x[index], batch)
