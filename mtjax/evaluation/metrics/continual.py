"""What a model that learnt tasks one after the other remembers: accuracy, transfer and forgetting."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.errors import InputError
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval


class Learnt(NamedTuple):
    """The numbers of a matrix of scores."""

    accuracy: Any  # mean over tasks at the end
    backward_transfer: Any  # how much later tasks changed earlier ones; below 0 is forgetting
    forgetting: Any  # how much worse each earlier task is at the end than it ever was before
    forward_transfer: Any  # how much better a task is before it is learnt than at the start; NaN if that is not known


def learnt(scores: Float[np.ndarray, "T J ..."], start: Float[np.ndarray, "J ..."] | None = None) -> Learnt:
    """Continual-learning numbers of `scores[t, j]`, on task j after learning tasks 0 to t.

    Formula: `ACC = mean_j R[T-1, j]`, `BWT = sum_{j < T-1} (R[T-1, j] - R[j, j]) / (T-1)`, `F = sum_{j < T-1} (max_{t <
    T-1} R[t, j] - R[T-1, j]) / (T-1)`, `FWT = sum_{j >= 1} (R[j-1, j] - b[j]) / (T-1)` with `b` the scores before any
    task. GEM's code divides BWT by T. Further axes are kept.

    >>> found = learnt(np.array([[.9, .3, .2], [.7, .8, .4], [.6, .7, .85]]), np.array([.1, .2, .15]))
    >>> [round(float(value), 6) for value in found]
    [0.716667, -0.2, 0.2, 0.175]

    Source: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017; Shi et al.,
    "Continual Learning of Large Language Models: A Comprehensive Survey", 2024 (arXiv 2404.16789).
    """
    matrix = np.asarray(scores, float)
    tasks = matrix.shape[0]
    if matrix.ndim < 2 or matrix.shape[1] != tasks or tasks < 2:
        raise InputError(f"scores of shape {matrix.shape}: expected one row for each of at least two tasks, (T, T)")
    last, own = matrix[-1, :-1], matrix[np.arange(tasks - 1), np.arange(tasks - 1)]
    ahead = matrix[np.arange(tasks - 1), np.arange(1, tasks)]
    transfer = (
        np.full(matrix.shape[2:], np.nan) if start is None else (ahead - np.asarray(start, float)[1:]).mean(axis=0)
    )
    return Learnt(
        matrix[-1].mean(axis=0), (last - own).mean(axis=0), (matrix[:-1, :-1].max(axis=0) - last).mean(axis=0), transfer
    )


@METRICS.register("continual")
@dataclasses.dataclass(frozen=True)
class Continual:
    """Accuracy, backward and forward transfer, and forgetting of a model that learnt tasks in turn.

    The tasks are the sources of the problems (`source` of a record), in the order in which they first come, which must
    be the order in which they were learnt. `stages` are evaluations of the models before this one on the same problems:
    after each task but the last, with the model before the first task in front of them if there is one.

    Returns: `continual_accuracy`, `backward_transfer`, `forgetting`, and with a start model `forward_transfer`; see
    `learnt`. Scores are greedy accuracies, and intervals are over problems.

    Source: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017; Shi et al.,
    "Continual Learning of Large Language Models: A Comprehensive Survey", 2024 (arXiv 2404.16789).
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy", "stages")
    order: ClassVar[int] = 66
    by_default: ClassVar[bool] = False

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.stages is not None
        tasks = list(dict.fromkeys(evaluation.sources))
        before = len(evaluation.stages)
        if len(tasks) < 2 or before not in (len(tasks) - 1, len(tasks)):
            raise InputError(
                f"metric 'continual' found {len(tasks)} tasks (sources of the problems: {short(tasks)}) and {before} "
                "earlier models; expected at least 2 tasks, and as many models as tasks with the start model, or one "
                "less without it: give records a `source` each, and an evaluation of each model to --stages"
            )
        right = np.concatenate([evaluation.stages, evaluation.best.right[:, 0][None]]).astype(float)
        task = np.array([tasks.index(name) for name in evaluation.sources])
        started = before == len(tasks)

        def numbers(index: np.ndarray) -> Learnt:
            table = np.full((len(right), len(tasks), len(index)), np.nan)
            for number in range(len(tasks)):
                own = task[index] == number
                count = own.sum(axis=1)
                sums = (right[:, index] * own).sum(axis=2)
                table[:, number] = np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)
            return learnt(table[1:], table[0]) if started else learnt(table)

        found: dict[str, Interval] = {}
        for place, name in enumerate(("continual_accuracy", "backward_transfer", "forgetting", "forward_transfer")):
            statistic = lambda index, place=place: np.asarray(numbers(index)[place])
            own = settings.statistic(statistic, len(task))
            found |= {name: own} if own is not None else {}
        return found


def short(names: Sequence[str]) -> str:
    """The first three names."""
    return ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
