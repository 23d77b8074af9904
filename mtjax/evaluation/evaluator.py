"""Evaluate a policy: draw what the metrics need, grade it, and compute them."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.data.sureness import sureness_text, without_sureness
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.graders import AnswerGrader, Grader, gold_answer
from mtjax.evaluation.graders.choice import right_option
from mtjax.evaluation.grading import Graded, check_gold, grade
from mtjax.evaluation.metrics import METRICS, Choice, Evaluation, MetricSettings
from mtjax.evaluation.perturbation import perturbed
from mtjax.evaluation.token_scores import Scorer, token_scores
from mtjax.evaluation.verifying import Verifier
from mtjax.reporting.intervals import Interval
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoding import asked
from mtjax.sampling.sampler import Contrasted
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
    second_grader: Grader | None = None,
    seed: int = 0,
    rows: int = 256,
) -> Evaluation:
    """Decode from each problem's prompt and grade the answers.

    The compiled loop is kept with the model's functions: further calls with other parameters of the same `model`, the
    same settings and as many problems compile nothing. Sample s of problem i draws from `fold_in(fold_in(key(seed), i),
    s)`, so models that are compared meet the same noise.

    Args:
        polarity: decode after the right (True) or wrong (False) prefix of a mistake task; None as the task says.
        needs: what to draw: "samples", "greedy" for the most likely answer of each problem, and others of `DRAWN`.
        grader: how answers are judged; None compares final answers.
        verifier: gives each sample a value, for aggregations that need one.
        second_grader: another, imperfect judge of the samples, for the need "accepted".
        rows: answers drawn side by side.

    Raises:
        InputError: no problems, a problem without a gold answer that the grader needs, a prompt that is too long.
    """
    if not problems:
        raise InputError("there are no problems to evaluate on: check the source, its split and --limit")
    judge: Grader = AnswerGrader() if grader is None else grader
    needs = {*needs, "entropies"} if "perturbed" in needs else needs
    golds = check_gold(problems) if judge.needs_gold else list(map(gold_answer, problems))
    prompts = [asked(task, problem, polarity, tokenizer, sampling) for problem in problems]

    def graded(config: SamplingConfig) -> Graded:
        drawn = sample_texts(model, params, tokenizer, prompts, config, seed, rows=rows)
        if verifier is not None and config is sampling:
            drawn = verifier(problems, prompts, drawn)
        return grade(drawn, problems, judge)

    wanted = set(needs)
    wanted |= {"greedy"} if wanted & {"entropies", "perturbed", "sureness"} else set()
    scored = sorted(wanted & {"entropies", "choices", "sureness"})
    if scored and any(isinstance(prompt, Contrasted) for prompt in prompts):
        raise InputError(
            f"a metric needs {scored[0]!r}, which a decoder of two prompts does not have; leave out decoder:contrastive"
        )
    if "sureness" in wanted:  # before anything is drawn: not every tokenizer can write it
        tokenizer.encode(sureness_text("", True))
    wanted |= {"samples"} if "accepted" in wanted else set()
    found = Evaluation(
        [problem.id for problem in problems],
        golds,
        graded(sampling) if "samples" in wanted else None,
        graded(greedy_of(sampling)) if "greedy" in wanted else None,
        sources=[problem.source for problem in problems],
    )
    scorer = Scorer(model, params, tokenizer, min(rows, 16))
    texts = [one for one in prompts if isinstance(one, str)]
    more: dict[str, Any] = {}
    if "entropies" in wanted:
        ids = [encode_prompt(tokenizer, prompt) for prompt in texts]
        answers: list[Any] = [row[0] for row in found.best.samples]
        pairs = [(before, one.tokens) for before, one in zip(ids, answers, strict=True)]
        more["entropies"] = [one.entropy for one in token_scores(model, params, pairs, scorer.rows)]
        if "perturbed" in wanted:
            drawn = perturbed(model, params, tokenizer, ids, answers, more["entropies"], sampling, seed, rows)
            more["perturbed"] = {name: grade(samples, problems, judge) for name, samples in drawn.items()}
    if "choices" in wanted:
        log_probs = scorer.options(texts, [len(problem.options) for problem in problems])
        more["choices"] = [
            Choice(own, right_option(problem) or 0, tuple(problem.options))
            for own, problem in zip(log_probs, problems, strict=True)
        ]
    if "prior" in wanted:
        more["prior"] = scorer.prior([gold or "" for gold in golds])
    if "sureness" in wanted:
        more["sureness"] = scorer.sureness(texts, [without_sureness(row[0]) for row in found.best.texts])
    if "accepted" in wanted and second_grader is not None:
        more["accepted"] = grade(found.sampled.samples, problems, second_grader).right
    return found._replace(**more)


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
