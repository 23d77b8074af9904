"""Whether a model's uncertainty tells wrong answers from right ones: twelve measures of it."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float

from mtjax.evaluation.grading import Graded
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval
from mtjax.reporting.ranking import auroc, spearman

Distance = Callable[[Hashable | None, Hashable | None], float]
"""How far two answers are apart, 0 to 1."""


def differ(one: Hashable | None, other: Hashable | None) -> float:
    """1 where two answers differ, 0 where they are equal; no answer equals nothing.

    >>> differ("7", "7"), differ("7", "8"), differ(None, None)
    (0.0, 1.0, 1.0)
    """
    return float(one is None or one != other)


def words_apart(one: Hashable | None, other: Hashable | None) -> float:
    """1 less the F1 of the words that two texts share, for free text without a final answer.

    >>> round(words_apart("the old man", "the young man"), 4), words_apart("a", "b")
    (0.3333, 1.0)
    """
    first, second = (set(str(text or "").lower().split()) for text in (one, other))
    return 1 - 2 * len(first & second) / (len(first) + len(second)) if first or second else 1.0


def variation_ratio(answers: Sequence[Hashable | None], distance: Distance = differ) -> float:
    """Mean distance of two different samples, over all pairs; NaN for fewer than two.

    >>> round(variation_ratio(["7", "7", "8"]), 4)
    0.6667
    """
    pairs = [distance(a, b) for n, a in enumerate(answers) for b in answers[n + 1 :]]
    return float(np.mean(pairs)) if pairs else float("nan")


def variation_from_original(
    answers: Sequence[Hashable | None], original: Hashable | None, distance: Distance = differ
) -> float:
    """Mean distance of the samples from the greedy answer.

    >>> variation_from_original(["7", "7", "8", "9"], "7")
    0.5
    """
    return float(np.mean([distance(answer, original) for answer in answers]))


def single_inference(
    logprobs: Sequence[float], entropies: Float[np.ndarray, " T"]
) -> tuple[float, float, float, float]:
    """The greatest and the mean `-log p` of an answer's tokens, and the greatest and the mean entropy, in nats."""
    nll = -np.asarray(logprobs, float)
    return float(nll.max()), float(nll.mean()), float(entropies.max()), float(entropies.mean())


def ranked(
    measures: Mapping[str, Sequence[float]], right: Bool[np.ndarray, " N"], settings: MetricSettings
) -> dict[str, Interval]:
    """AUROC of each measure for wrong answers, and its rank correlation with being wrong; {} if all are alike."""
    out: dict[str, Interval] = {}
    for name, values in measures.items():
        for suffix, of in (("auroc", auroc), ("spearman", spearman)):
            found = settings.statistic(partial(_of_rows, of, np.asarray(values, float), ~right), len(right))
            out |= {f"{name}_{suffix}": found} if found is not None else {}
    return out


def _of_rows(of: Callable[..., np.ndarray], first: np.ndarray, second: np.ndarray, index: np.ndarray) -> np.ndarray:
    return of(first[index], second[index])


ALIKE = (
    "all greedy answers are right, or none is, so nothing tells them apart: evaluate on more problems, or on ones of "
    "which the model solves some"
)


@dataclasses.dataclass(frozen=True)
class _Uncertainty:
    """What the measures share: how far answers are apart."""

    by_default: ClassVar[bool] = False
    asks: ClassVar[str] = ALIKE
    least_samples: ClassVar[int] = 2

    distance: Literal["answer", "words"] = "answer"
    """How far two samples are apart: by their final answers, equal or not, or by the words of their texts."""

    def variation(self, drawn: Graded, original: Graded, name: str) -> dict[str, list[float]]:
        """Variation ratio among the samples, and from the greedy answers, of each problem."""
        apart, part = (differ, "votes") if self.distance == "answer" else (words_apart, "texts")
        rows, first = getattr(drawn, part), getattr(original, part)
        return {
            f"{name}vr": [variation_ratio(row, apart) for row in rows],
            f"{name}vro": [variation_from_original(row, one[0], apart) for row, one in zip(rows, first, strict=True)],
        }


@METRICS.register("uncertainty")
@dataclasses.dataclass(frozen=True)
class Uncertainty(_Uncertainty):
    """Whether wrong greedy answers are the uncertain ones, by four measures of one answer and two of its samples.

    Formula: `max_nll` and `mean_nll` of the tokens of the greedy answer, `max_entropy` and `mean_entropy` of their
    predictions; `vr`, the mean distance of two samples, and `vro`, that of the samples from the greedy answer. Of each,
    `..._auroc` is the chance that a wrong answer is more uncertain than a right one (0.5: it says nothing), and
    `..._spearman` its rank correlation with being wrong.

    Source: Huang et al., "Look Before You Leap: An Exploratory Study of Uncertainty Measurement for Large Language
    Models", 2023 (arXiv 2307.10236); the definitions are recalled, not checked against its code.
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy", "entropies", "samples")
    order: ClassVar[int] = 60

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.entropies is not None
        best = evaluation.best
        pairs = zip(best.samples, evaluation.entropies, strict=True)
        single = [single_inference(row[0].token_logprobs, entropy) for row, entropy in pairs]
        names = ("max_nll", "mean_nll", "max_entropy", "mean_entropy")
        measures = dict(zip(names, np.array(single).T.tolist(), strict=True))
        measures |= self.variation(evaluation.sampled, best, "")
        return ranked(measures, best.right[:, 0], settings)


@METRICS.register("perturbation")
@dataclasses.dataclass(frozen=True)
class Perturbation(_Uncertainty):
    """As `uncertainty`, by samples that leave the greedy answer at one of its tokens.

    The token is the one of the `highest` entropy, of the `lowest`, or of the largest `change` of entropy from the token
    before; `vr` and `vro` of each are the other six of the paper's twelve measures. Costs three times the samples.

    Source: Huang et al., 2023 (arXiv 2307.10236); the choice of the token is recalled.
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy", "perturbed")
    order: ClassVar[int] = 61

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.perturbed is not None
        measures: dict[str, list[float]] = {}
        for name, drawn in evaluation.perturbed.items():
            measures |= self.variation(drawn, evaluation.best, f"{name}_")
        return ranked(measures, evaluation.best.right[:, 0], settings)
