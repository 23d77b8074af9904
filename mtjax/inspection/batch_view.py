"""One batch, looked at from outside: its examples one by one, and what policy, reference and objective say of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.distributed.placement import on_all, read_own_rows, split_by_rows
from mtjax.model.policy import make_policy
from mtjax.training.reference import Reference
from mtjax.training.step import place_batch
from mtjax.types import Batch, LanguageModel, Mean, Params, Policy, TokenScores


class Piece(NamedTuple):
    """One sequence of a packed batch; a pair is two of them, the chosen one first.

    Attributes:
        name: of the example, such as "gsm8k-17/right/0".
        at: index of its row in the batch's arrays: `(row,)`, or `(row, side)` of pairs.
        column: its place in the row, from 0: segment `column + 1`.
        span: its tokens in the row.
        tokens, weights: of the sequence, `[n]`.
        extras: its numbers by name, without "segment_", such as "polarity": 1.0.
    """

    name: str
    at: tuple[int, ...]
    column: int
    span: slice
    tokens: np.ndarray
    weights: np.ndarray
    extras: Mapping[str, float]

    @property
    def targets(self) -> np.ndarray:
        """Which tokens reach the loss, `[n]`: those with a weight, but for the first, which nothing predicts."""
        return (self.weights != 0) & (np.arange(len(self.weights)) > 0)

    def of(self, values: Any) -> np.ndarray:
        """This sequence's part of an array `[*B, T]`."""
        return np.asarray(values)[self.at][self.span]


def pieces(batch: Batch, ids: Sequence[str]) -> list[Piece]:
    """The sequences of a host batch, row by row; `ids` are the names by example number (`Batches.ids`)."""
    sides = batch.tokens.shape[1] if batch.tokens.ndim == 3 else 0
    columns = {name.removeprefix("segment_"): x for name, x in batch.extras.items() if name.startswith("segment_")}
    number = np.asarray(batch.extras["segment_id"]).reshape(len(batch.tokens), max(sides, 1), -1)[:, 0]
    found = []
    for row, column in np.argwhere(number >= 0).tolist():
        for side in range(sides) or (None,):
            at = (row,) if side is None else (row, side)
            inside = np.flatnonzero(np.asarray(batch.segments[at]) == column + 1)
            span = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
            extras = {name: float(x[(*at, column)]) for name, x in columns.items() if name != "id"}
            tokens, weights = np.asarray(batch.tokens[at])[span], np.asarray(batch.weights[at])[span]
            found.append(Piece(ids[number[row, column]], at, column, span, tokens, weights, extras))
    return found


class Look(NamedTuple):
    """What one forward pass found, on the host: of this host's rows where it is of tokens, of all where it is a loss.

    Attributes:
        scores: the policy's, `[*B, T]`.
        reference: the reference's log-probability of each token, `[*B, T]`; None where there is no reference.
        losses: the loss under each objective asked for, as sum and count.
        metrics: those of the first objective.
    """

    scores: TokenScores
    reference: np.ndarray | None
    losses: Mapping[str, Mean]
    metrics: Mapping[str, Mean]


class Scored:
    """A policy whose scores of one batch are computed once, however often they are asked for."""

    def __init__(self, policy: Policy, batch: Batch):
        self.policy, self.batch, self.known = policy, batch, policy.scores(batch)

    def scores(self, batch: Batch) -> TokenScores:
        """The known scores, which depend on tokens and segments alone; of another batch, the policy's."""
        same = batch.tokens is self.batch.tokens and batch.segments is self.batch.segments
        return self.known if same else self.policy.scores(batch)

    def map_logits(self, fn: Any, batch: Batch, also: tuple[Any, ...] = ()) -> Any:
        """As the policy's own."""
        return self.policy.map_logits(fn, batch, tuple(getattr(other, "policy", other) for other in also))

    def hidden(self, batch: Batch) -> Any:
        """As the policy's own."""
        return self.policy.hidden(batch)


def look(
    model: LanguageModel,
    params: Params,
    batch: Batch,
    objectives: Mapping[str, Any],
    *,
    mesh: Any = None,
    chunk: int = 128,
    reference: Reference | None = None,
) -> Look:
    """Run policy and reference over a host batch once, and ask each objective for its loss.

    Statistics of an objective (KTO's z0) are those of this batch. Compiles once per call.
    """
    against = reference or Reference()

    def see(params: Params, batch: Batch, other: Any) -> Any:
        policy = Scored(make_policy(model, params, chunk=chunk), batch)
        fixed = None if against.policy is None else Scored(against.policy(other), batch)
        losses: dict[str, Mean] = {}
        metrics: dict[str, Mean] = {}
        for name, objective in objectives.items():
            gather = getattr(objective, "statistics", None)
            extra = {} if gather is None else {"statistics": gather(policy, batch, reference=fixed)}
            losses[name], also = objective(policy, batch, reference=fixed, key=jax.random.key(0), **extra)
            metrics = metrics or dict(also)
        return policy.known, None if fixed is None else fixed.known.logprob, losses, metrics

    placed = place_batch(batch, mesh)
    if mesh is None:
        return Look(*jax.device_get(jax.jit(see)(params, placed, against.params)))
    rows, whole = split_by_rows(mesh), on_all(mesh)
    with jax.set_mesh(mesh):
        found = jax.jit(see, out_shardings=(rows, rows, whole, whole))(params, placed, against.params)
    return Look(*read_own_rows(found[:2]), *jax.device_get(found[2:]))
