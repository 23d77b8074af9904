"""Per-example view of a packed batch, with policy scores, reference scores and losses."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.distributed.placement import on_all, read_own_rows, split_by_rows
from mtjax.model.policy import make_policy
from mtjax.sharing import shared
from mtjax.training.reference import Reference
from mtjax.training.step import place_batch
from mtjax.types import Batch, LanguageModel, Mean, Params, Policy, TokenScores


class PackedSequence(NamedTuple):
    """One sequence of a packed batch. A preference pair is two of them, the chosen one first."""

    name: str  # of its example, such as "gsm8k-17/right/0"
    at: tuple[int, ...]  # index into the batch's arrays: (row,), or (row, side) for pairs
    column: int  # position in its row, from 0; its segment number is one more
    span: slice  # its tokens in the row
    tokens: np.ndarray  # [n]
    weights: np.ndarray  # [n]
    extras: Mapping[str, float]  # the segment's numbers by name, without "segment_", such as "polarity": 1.0

    @property
    def targets(self) -> np.ndarray:
        """Which tokens reach the loss, `[n]`: those with a weight, except the first, which nothing predicts."""
        return (self.weights != 0) & (np.arange(len(self.weights)) > 0)

    def of(self, values: Any) -> np.ndarray:
        """This sequence's part of an array `[*B, T]`."""
        return np.asarray(values)[self.at][self.span]


def unpack_batch(batch: Batch, ids: Sequence[str]) -> list[PackedSequence]:
    """The sequences of a host batch, row by row; `ids` are the example names by number (`Batches.ids`)."""
    sides = [(side,) for side in range(batch.tokens.shape[1])] if batch.tokens.ndim == 3 else [()]
    columns = {name.removeprefix("segment_"): x for name, x in batch.extras.items() if name.startswith("segment_")}
    number = np.asarray(columns.pop("id")).reshape(len(batch.tokens), len(sides), -1)[:, 0]
    found = []
    for row, column in np.argwhere(number >= 0).tolist():
        for at in ((row, *side) for side in sides):
            inside = np.flatnonzero(np.asarray(batch.segments[at]) == column + 1)
            span = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
            extras = {name: float(x[(*at, column)]) for name, x in columns.items()}
            tokens, weights = np.asarray(batch.tokens[at])[span], np.asarray(batch.weights[at])[span]
            found.append(PackedSequence(ids[number[row, column]], at, column, span, tokens, weights, extras))
    return found


class BatchScores(NamedTuple):
    """Result of one forward pass, on the host. Token arrays hold the rows of this host, losses are over all hosts."""

    policy: TokenScores  # scores of the policy, [*B, T]
    reference: np.ndarray | None  # the reference model's log-probabilities, [*B, T]; None without a reference
    losses: Mapping[str, Mean]  # by the name of the objective
    metrics: Mapping[str, Mean]  # of the first objective


class CachedPolicy:
    """A policy whose scores of one batch are computed once, however many objectives ask for them."""

    def __init__(self, policy: Policy, batch: Batch):
        self.policy, self.batch, self.known = policy, batch, policy.scores(batch)
        self.hidden, self.values = policy.hidden, getattr(policy, "values", None)

    def scores(self, batch: Batch) -> TokenScores:
        """The cached scores for any batch with the same tokens and segments, else those of the policy."""
        same = batch.tokens is self.batch.tokens and batch.segments is self.batch.segments
        return self.known if same else self.policy.scores(batch)

    def map_logits(self, fn: Any, batch: Batch, also: tuple[Any, ...] = ()) -> Any:
        """See `Policy.map_logits`."""
        return self.policy.map_logits(fn, batch, tuple(getattr(other, "policy", other) for other in also))


def score_batch(
    model: LanguageModel,
    params: Params,
    batch: Batch,
    objectives: Mapping[str, Any],
    *,
    mesh: Any = None,
    chunk: int = 128,
    reference: Reference | None = None,
) -> BatchScores:
    """Run policy and reference over a host batch once and compute the loss of each objective.

    Statistics of an objective (KTO's z0) are those of this batch. Compiled once for equal settings.
    """
    reference = reference or Reference()
    program = _scores_program(model, tuple(objectives.items()), reference.policy, mesh, chunk)
    arguments = (params, place_batch(batch, mesh), reference.params)
    with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
        found = program(*arguments)
    return BatchScores(*read_own_rows(found[:2]), *jax.device_get(found[2:]))


@shared()
def _scores_program(
    model: LanguageModel, objectives: tuple[tuple[str, Any], ...], reference: Any, mesh: Any, chunk: int
) -> Any:
    """The compiled part of `score_batch`: `(params, batch, reference_params) -> its parts`."""

    def run(params: Params, batch: Batch, reference_params: Any) -> Any:
        policy = CachedPolicy(make_policy(model, params, chunk=chunk), batch)
        fixed = None if reference is None else CachedPolicy(reference(reference_params), batch)
        losses: dict[str, Mean] = {}
        metrics: dict[str, Mean] = {}
        for name, objective in objectives:
            gather = getattr(objective, "statistics", None)
            extra = {} if gather is None else {"statistics": gather(policy, batch, reference=fixed)}
            losses[name], also = objective(policy, batch, reference=fixed, key=jax.random.key(0), **extra)
            metrics = metrics or {key: mean for key, mean in also.items() if isinstance(mean, Mean)}
        return policy.known, None if fixed is None else fixed.known.logprob, losses, metrics

    places = None
    if mesh is not None:
        places = (split_by_rows(mesh), split_by_rows(mesh), on_all(mesh), on_all(mesh))
    return jax.jit(run, out_shardings=places)
