"""Solutions ranked by a verifier of steps: a run of `objective:process_reward`."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mtjax.config import Config
from mtjax.data.batches import make_batches, unlimited
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks.process_reward import ProcessRewardTask
from mtjax.errors import InputError
from mtjax.inspection.batch_view import unpack_batch
from mtjax.model.policy import make_policy
from mtjax.objectives.process_reward import log_odds_of_steps
from mtjax.reporting.intervals import Interval, mean_interval
from mtjax.runs.loading import load_any
from mtjax.sharing import shared
from mtjax.types import Batch, LanguageModel

By = Literal["least", "product", "last"]


class Ranked(NamedTuple):
    """One solution of a problem, as the verifier sees it."""

    problem: str  # the id of its problem
    text: str
    right: bool  # whether the data say that it is right
    steps: tuple[float, ...]  # the probability that each step is right
    score: float  # of the solution; NaN where it has no step


def solution_score(log_odds: Float[np.ndarray, " n"], by: By) -> float:
    """The least of the probabilities `sigmoid(log_odds)` of the steps, their product, or that of the last step.

    >>> [round(solution_score(np.log([4.0, 1.0, 9.0]), by), 2) for by in ("least", "product", "last")]
    [0.5, 0.36, 0.9]
    """
    log_p = -np.logaddexp(0.0, -np.asarray(log_odds, np.float64))
    if not len(log_p):
        return float("nan")
    return float(np.exp({"least": log_p.min(), "product": log_p.sum(), "last": log_p[-1]}[by]))


@shared()
def _program(model: LanguageModel, chunk: int) -> Any:
    return jax.jit(lambda params, batch: log_odds_of_steps(make_policy(model, params, chunk=chunk), batch))


def rank_solutions(name: str, config: Config, by: By) -> list[Ranked]:
    """Every right and wrong solution of a config's data under the verifier called `name`, in one process.

    Solutions are shown as in the verifier's training, by its own task and tokenizer. InputError where the run was not
    trained with the task `process_reward`, and where no problem has a solution.
    """
    loaded = load_any(name)
    if not isinstance(loaded.task, ProcessRewardTask):
        trained = "no run" if loaded.task is None else f"a run with the task {loaded.task.name!r}"
        raise InputError(
            f"{name} is {trained}, and steps are ranked by a run of objective:process_reward with "
            "data.task:process_reward; train one, or leave --by out"
        )
    problems = config.data.source.problems(config.data.on_error).items
    known = {
        f"{problem.id}/{kind}/{number}": (problem, text, kind == "right")
        for problem in problems
        for kind, texts in (("right", problem.right), ("wrong", problem.wrong))
        for number, text in enumerate(dict.fromkeys(texts))
    }
    if not known:
        raise InputError(f"none of the {len(problems)} problems of data.source has a solution to rank")
    # Each solution as a problem of its own whose steps are all taken as right: every mark is a target then.
    alone = [_alone(name, problem, text) for name, (problem, text, _) in known.items()]
    data = dataclasses.replace(
        unlimited(config.data), source=InMemory(tuple(alone)), selections=(), tokenizer=None,
        task=dataclasses.replace(loaded.task, last_only=False),
    )  # fmt: skip
    batches = make_batches(data, loaded.tokenizer, batch_size=config.batch_size, seed=0, repeat=False)
    program, found = _program(loaded.model, config.chunk), dict[str, Any]()
    for step in range(batches.steps_per_epoch):
        batch: Batch = batches.batch_at(step)
        odds = np.asarray(program(loaded.params, jax.tree.map(jnp.asarray, batch)))
        for part in unpack_batch(batch, batches.ids):
            found.setdefault(part.name.rsplit("/right/", 1)[0], part.of(odds)[part.targets].astype(np.float64))
    ranked = []
    for key, (problem, text, right) in known.items():
        own = found.get(key, np.zeros(0))
        steps = tuple((1 / (1 + np.exp(-own))).tolist())
        ranked.append(Ranked(problem.id, text, right, steps, solution_score(own, by)))
    return ranked


def _alone(name: str, problem: Problem, text: str) -> Problem:
    return dataclasses.replace(problem, id=name, right=(text,), wrong=(), pairs=(), candidates=())


class BestOfN(NamedTuple):
    """How often the best solution by the verifier is right, over the problems that have a right and a wrong one."""

    problems: int
    best: Interval  # share of problems whose best solution is right
    any_one: Interval  # the same of a solution taken at random


def best_of_n(ranked: Sequence[Ranked]) -> BestOfN | None:
    """Over the problems with right and wrong solutions; of equal scores the share that is right counts. None without.

    >>> one = [Ranked("p", "a", True, (0.9,), 0.9), Ranked("p", "b", False, (0.2,), 0.2)]
    >>> best_of_n(one).best.mean, best_of_n(one).any_one.mean
    (1.0, 0.5)
    """
    by_problem: dict[str, list[Ranked]] = {}
    for one in ranked:
        by_problem.setdefault(one.problem, []).append(one)
    best, chance = [], []
    for members in by_problem.values():
        rights = [one.right for one in members]
        if any(rights) and not all(rights):
            top = np.nanmax([-1.0 if np.isnan(one.score) else one.score for one in members])
            first = [one.right for one in members if one.score == top] or rights
            best.append(float(np.mean(first)))
            chance.append(float(np.mean(rights)))
    return BestOfN(len(best), mean_interval(best), mean_interval(chance)) if best else None
