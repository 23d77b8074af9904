"""Whether a model sees that a response is wrong."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.detection import arranged, constants
from mtjax.evaluation.graders.choice import letter_of
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.evaluation.metrics.choices import item_of, shares_of
from mtjax.reporting.intervals import Interval
from mtjax.reporting.ranking import auroc

WAY_OUT = "take data.source:error_detection, which asks about the right and wrong solutions of a file"


def check(problems: Sequence[Problem]) -> None:
    """InputError for a problem that does not ask whether a response has an error."""
    for one in problems:
        if one.source.rpartition("#")[2] not in ("A", "B") or one.answer not in ("A", "B"):
            raise InputError(f"problem {one.id} does not ask whether a response has an error; {WAY_OUT}")


def labels_of(evaluation: Evaluation) -> tuple[list[tuple[str, str]], list[str], dict[str, bool]]:
    """Of each prompt the response and the way of asking, and the letter of "error"; of each response if it is wrong."""
    ids = [(item_of(id), id.rpartition("#")[2]) for id in evaluation.ids]
    letters = [source.rpartition("#")[2] for source in evaluation.sources]
    rows = zip(ids, evaluation.golds, letters, strict=True)
    return ids, letters, {item: gold == letter for (item, _), gold, letter in rows}


def kinds_of(evaluation: Evaluation) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Of each response its task and its categories of errors: `TASK/CATEGORY+CATEGORY#LETTER` of `Problem.source`."""
    found = {}
    for id, source in zip(evaluation.ids, evaluation.sources, strict=True):
        task, _, categories = source.rpartition("#")[0].partition("/")
        found[item_of(id)] = (task, tuple(filter(None, categories.split("+"))))
    return found


@METRICS.register("error_detection")
@dataclasses.dataclass(frozen=True)
class ErrorDetection:
    """Precision, recall and F1 of the class "error" in the model's replies, as ReaLMistake reports them.

    The model is asked of each response whether it has an error, in up to four ways (two wordings, two orders of the
    options), and its greedy reply is read for the letter. Numbers are means over the ways of asking; a reply without a
    letter counts as "no error". F1 alone says little where most responses are wrong: look at the constants beside it.

    Returns: `detection_accuracy`, `error_precision`, `error_recall`, `error_f1`; `unparsed`, the share of replies
    without a letter; `error_rate`; the constants `f1_always_error` and `f1_random`; and for several tasks
    `error_f1/TASK`, for categories of errors `error_recall/CATEGORY`.

    Source: Kamoi et al., "Evaluating LLMs at Detecting Errors in LLM Responses", COLM 2024 (arXiv 2404.03602);
    `psunlpgroup/ReaLMistake`. The wordings are ours.
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy",)
    order: ClassVar[int] = 72
    by_default: ClassVar[bool] = False

    check = staticmethod(check)

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        ids, letters, wrong = labels_of(evaluation)
        replies = [letter_of(row[0] or "") for row in evaluation.best.answers]
        parsed = np.array([reply in ("A", "B") for reply in replies])
        said = [reply == letter for reply, letter in zip(replies, letters, strict=True)]
        detector, level, seed = arranged(ids, said, wrong), settings.level, settings.seed
        out = detector.intervals(level, seed) | {"unparsed": settings.interval(~parsed)}
        out["error_rate"] = rate = settings.interval(detector.wrong)
        for name in constants(rate.mean):
            mean, low, high = (constants(value)[name] for value in (rate.mean, rate.low, rate.high))
            out[name] = Interval(mean, low, high, level)
        kinds = list(kinds_of(evaluation).values())
        tasks = sorted({task for task, _ in kinds})
        for task in tasks if len(tasks) > 1 else ():
            part = detector.only(np.array([own == task for own, _ in kinds]))
            out[f"error_f1/{task}"] = part.intervals(level, seed)["error_f1"]
        for category in sorted({one for _, own in kinds for one in own}):
            part = detector.only(np.array([category in own for _, own in kinds]) & detector.wrong)
            if len(part.wrong):
                out[f"error_recall/{category}"] = part.intervals(level, seed)["error_recall"]
        return out


@METRICS.register("error_probability")
@dataclasses.dataclass(frozen=True)
class ErrorProbability:
    """Whether the probability that the model gives to "error" is higher for wrong responses.

    Formula: `P(letter of "error")` against the other letter, right after the prompt, averaged over the ways of asking a
    response, so that a liking for one letter cancels.

    Returns: `error_auroc`, the chance that a wrong response gets more than a right one; `error_probability_right` and
    `error_probability_wrong`, the means; and `error_f1_at_half`, F1 of flagging above 0.5.
    """

    needs: ClassVar[tuple[Need, ...]] = ("choices",)
    order: ClassVar[int] = 73
    by_default: ClassVar[bool] = False
    asks: ClassVar[str] = "the responses are all right, or all wrong: take a file with both"

    check = staticmethod(check)

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.choices is not None
        ids, letters, wrong = labels_of(evaluation)
        found: dict[str, list[float]] = {name: [] for name in wrong}
        for (item, _), letter, choice in zip(ids, letters, evaluation.choices, strict=True):
            found[item].append(float(shares_of(choice.log_probs)["AB".index(letter)]))
        score, truth = np.array([np.mean(own) for own in found.values()]), np.array(list(wrong.values()))
        rank = settings.statistic(lambda index: auroc(score[index], truth[index]), len(truth))
        if rank is None:
            return {}
        flags = arranged([(item, "") for item in wrong], (score > 0.5).tolist(), wrong)
        return {
            "error_auroc": rank,
            "error_probability_right": settings.interval(score[~truth]),
            "error_probability_wrong": settings.interval(score[truth]),
            "error_f1_at_half": flags.intervals(settings.level, settings.seed)["error_f1"],
        }
