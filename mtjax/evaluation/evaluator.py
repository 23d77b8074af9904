"""Evaluate a policy by sampling: greedy accuracy, pass@k and maj@k, with intervals and all that is not known."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.coverage import coverage_table
from mtjax.evaluation.grading import Graded, check_gold, grade
from mtjax.reporting.intervals import Interval, mean_interval
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import Sample, sample_texts
from mtjax.types import LanguageModel, Params


class Evaluation(NamedTuple):
    """What one policy does on N problems behind one prompt.

    Attributes:
        ids: names of the problems.
        golds: their answers.
        sampled: n samples of each, checked.
        finished: whether a sample ended by itself before `max_new_tokens`.
        greedy: one greedy answer of each (n = 1); None where it was not asked for.
    """

    ids: list[str]
    golds: list[str]
    sampled: Graded
    finished: Bool[np.ndarray, "N n"]
    greedy: Graded | None = None

    @property
    def per_problem(self) -> Float[np.ndarray, " N"]:
        """Share of right samples of each problem, its pass@1: what a paired comparison of two arms takes."""
        return self.sampled.right.mean(axis=1)


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


def metrics(
    evaluation: Evaluation, ks: Sequence[int] = (), *, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Every number with its bootstrap interval over problems, by name.

    `greedy` (accuracy), `pass@k` and `maj@k` for each k, and the shares of samples that are `unknown`,
    `without_answer` and `cut` (no end before `max_new_tokens`). An unknown sample counts as not right, so pass@k is a
    lower bound; `pass@1_if_unknown_right`, there when a sample is unknown, is the upper bound of pass@1.

    Raises InputError for a k beyond the number of samples.
    """
    interval = lambda values: mean_interval(np.asarray(values, float), level=level, seed=seed)
    sampled = evaluation.sampled
    out = {} if evaluation.greedy is None else {"greedy": interval(evaluation.greedy.right[:, 0])}
    for row in coverage_table(sampled.votes, sampled.right, ks, level=level, seed=seed):
        out |= {f"pass@{row.k}": row.pass_at_k, f"maj@{row.k}": row.maj_at_k}
    if sampled.unknown.any():
        out["pass@1_if_unknown_right"] = interval((sampled.right | sampled.unknown).mean(axis=1))
    out["unknown"] = interval(sampled.unknown.mean(axis=1))
    out["without_answer"] = interval(sampled.without_answer.mean(axis=1))
    out["cut"] = interval((~evaluation.finished).mean(axis=1))
    return out
