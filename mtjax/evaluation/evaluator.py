"""Evaluate a policy by sampling: greedy accuracy, pass@k and maj@k, with intervals and all that is not known."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.grading import check_gold, grade
from mtjax.evaluation.metrics import METRICS, Evaluation, MetricSettings
from mtjax.reporting.intervals import Interval
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import Sample, sample_texts
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
    greedy: bool = True,
    seed: int = 0,
    rows: int = 256,
    prompt_length: int | None = None,
    end_ids: Sequence[int] = (),
) -> Evaluation:
    """Decode from each problem's prompt and check the answers.

    The compiled loop is kept with the model's functions: further calls with other parameters of the same `model`, the
    same settings and as many problems compile nothing. Sample s of problem i draws from `fold_in(fold_in(key(seed), i),
    s)`, so arms that are compared meet the same noise.

    Args:
        polarity: decode behind the right (True) or wrong (False) prefix of a mistake task; None as the task says.
        greedy: also take the most likely answer of each problem.
        rows: answers that are drawn side by side.
        prompt_length: tokens that prompts are filled up to; None takes the longest, rounded up.
        end_ids: tokens that end an answer, beside the tokenizer's end token.

    Raises:
        InputError: no problems, a problem without an answer to compare with, a prompt that is too long.
    """
    if not problems:
        raise InputError("there are no problems to evaluate on: check the source, its split and --limit")
    golds = check_gold(problems)
    prompts = [task.prompt(problem, polarity, tokenizer) for problem in problems]

    def decode(config: SamplingConfig) -> list[list[Sample]]:
        return sample_texts(
            model, params, tokenizer, prompts, config, seed, rows=rows, end_ids=end_ids, prompt_length=prompt_length
        )

    sampled = decode(sampling)
    texts = lambda samples: [[sample.text for sample in row] for row in samples]
    best = grade(texts(decode(greedy_of(sampling))), golds) if greedy else None
    finished = np.array([[sample.finished for sample in row] for row in sampled], bool)
    return Evaluation([problem.id for problem in problems], golds, grade(texts(sampled), golds), finished, best)


def greedy_of(sampling: SamplingConfig) -> SamplingConfig:
    """The same settings, but the most likely token every time and one answer."""
    return dataclasses.replace(sampling, temperature=0.0, top_k=0, top_p=1.0, samples=1)


def chosen_metrics(names: Sequence[str] = ()) -> list[Any]:
    """The metrics of these names in the order of tables; all registered ones without names.

    Raises:
        InputError: an unknown name, with the nearest one.
    """
    made = [(cls.order, name, cls()) for name in names or METRICS for cls in [METRICS.find(name)]]
    return [metric for _, _, metric in sorted(made, key=lambda entry: entry[:2])]


def metrics(
    evaluation: Evaluation, ks: Sequence[int] = (), *, level: float = 0.95, seed: int = 0, names: Sequence[str] = ()
) -> dict[str, Interval]:
    """The numbers of the chosen metrics (all without `names`) with bootstrap intervals over problems, by name.

    Raises InputError for a k beyond the number of samples and for an unknown metric.
    """
    settings = MetricSettings(tuple(ks), level, seed)
    out: dict[str, Interval] = {}
    for metric in chosen_metrics(names):
        out |= metric(evaluation, settings)
    return out
