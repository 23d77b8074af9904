"""Evaluate a policy: draw what the metrics need, grade it, and compute them."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.graders import AnswerGrader, Grader, gold_answer
from mtjax.evaluation.grading import Graded, check_gold, grade
from mtjax.evaluation.metrics import METRICS, Evaluation, MetricSettings
from mtjax.evaluation.verifying import Verifier
from mtjax.reporting.intervals import Interval
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoding import asked
from mtjax.sampling.texts import sample_texts
from mtjax.types import LanguageModel, Params


def evaluate_policy(
    model: LanguageModel,
    params: Params,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    task: Task,
    sampling: SamplingConfig,
    *,
    polarity: bool | None = None,
    needs: Collection[str] = ("samples", "greedy"),
    grader: Grader | None = None,
    verifier: Verifier | None = None,
    seed: int = 0,
    rows: int = 256,
) -> Evaluation:
    """Decode from each problem's prompt and grade the answers.

    The compiled loop is kept with the model's functions: further calls with other parameters of the same `model`, the
    same settings and as many problems compile nothing. Sample s of problem i draws from `fold_in(fold_in(key(seed), i),
    s)`, so models that are compared meet the same noise.

    Args:
        polarity: decode after the right (True) or wrong (False) prefix of a mistake task; None as the task says.
        needs: what to draw: "samples", and "greedy" for the most likely answer of each problem.
        grader: how answers are judged; None compares final answers.
        verifier: gives each sample a value, for aggregations that need one.
        rows: answers drawn side by side.

    Raises:
        InputError: no problems, a problem without a gold answer that the grader needs, a prompt that is too long.
    """
    if not problems:
        raise InputError("there are no problems to evaluate on: check the source, its split and --limit")
    judge: Grader = AnswerGrader() if grader is None else grader
    golds = check_gold(problems) if judge.needs_gold else list(map(gold_answer, problems))
    prompts = [asked(task, problem, polarity, tokenizer, sampling) for problem in problems]

    def graded(config: SamplingConfig) -> Graded:
        drawn = sample_texts(model, params, tokenizer, prompts, config, seed, rows=rows)
        if verifier is not None and config is sampling:
            drawn = verifier(problems, prompts, drawn)
        return grade(drawn, problems, judge)

    return Evaluation(
        [problem.id for problem in problems],
        golds,
        graded(sampling) if "samples" in needs else None,
        graded(greedy_of(sampling)) if "greedy" in needs else None,
    )


def greedy_of(sampling: SamplingConfig) -> SamplingConfig:
    """The same settings, but the most likely token every time and one answer."""
    return dataclasses.replace(sampling, temperature=0.0, top_k=0, top_p=1.0, samples=1)


def chosen_metrics(names: Sequence[str] | None = None) -> dict[str, Any]:
    """The metrics of these names in the order of tables; without names those that are computed by default.

    Raises:
        InputError: an unknown name, with the nearest one.
    """
    if names is None:
        names = [name for name, cls in METRICS.items() if getattr(cls, "by_default", True)]
    return {name: METRICS.find(name)() for name in sorted(names, key=lambda name: (METRICS.find(name).order, name))}


def metrics(
    evaluation: Evaluation,
    ks: Sequence[int] = (),
    *,
    level: float = 0.95,
    seed: int = 0,
    names: Sequence[str] | None = None,
    aggregation: str = "majority",
) -> dict[str, Interval]:
    """The numbers of the chosen metrics with bootstrap intervals over problems, by name.

    A metric gives nothing if the evaluation lacks what it needs. Raises InputError for a k beyond the number of samples
    and for an unknown metric or aggregation.
    """
    settings = MetricSettings(tuple(ks), level, seed, aggregation)
    found = [metric(evaluation, settings) for metric in chosen_metrics(names).values() if evaluation.has(metric.needs)]
    return {name: interval for numbers in found for name, interval in numbers.items()}
