"""The demo: a small model makes mistakes, goes on from them in four ways at equal cost, and is measured."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mtjax.data.problem import Problem
from mtjax.data.tasks import CompletionTask
from mtjax.experiments.arm import Arm
from mtjax.experiments.config import Demo, Overfit
from mtjax.experiments.coverage import Curves, arms_of, told
from mtjax.experiments.lab import Lab, Measured
from mtjax.experiments.start import MISTAKE, PLAIN, Mined, Start, mine, train_start
from mtjax.experiments.training import Method, train
from mtjax.objectives.mistake_tuning import MistakeTuning


def with_right(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a right solution."""
    return [problem for problem in problems if problem.right]


# At weight 1 mistake tuning is nll, so one objective, and one compiled step, serves every arm.
IMITATE = MistakeTuning(1.0)
RIGHT_ONLY, NO_PREFIX, TUNING = "right only", "right and wrong, no prefix", "mistake tuning"
EQUAL_RIGHT = "right only, equal right tokens"

ARMS: dict[str, Method] = {
    RIGHT_ONLY: Method(PLAIN, IMITATE, with_right),
    NO_PREFIX: Method(CompletionTask(polarities="both"), IMITATE, list),
    TUNING: Method(MISTAKE, IMITATE, list, (True, False)),
    EQUAL_RIGHT: Method(PLAIN, IMITATE, with_right),
}
"""The first three see equal forward positions, the last as many right target tokens as mistake tuning."""


class ArmRun(NamedTuple):
    """One arm with one seed.

    Attributes:
        measured: behind the arm's own prompt (for mistake tuning, the correct prefix).
        behind_wrong: behind the incorrect prefix; None for arms without prefixes.
        losses: training loss of each step, nats per token.
        positions: forward positions, padding included.
        right_tokens: target tokens of right solutions.
    """

    measured: Measured
    behind_wrong: Measured | None
    losses: list[float]
    positions: int
    right_tokens: float


class Outcome(NamedTuple):
    """Everything the report is made of."""

    begin: Start
    start: Measured
    mined: Mined
    arms: dict[str, list[ArmRun]]
    overfit: Curves
    seconds: dict[str, float]


def run(c: Demo, say: Callable[[str], None] = print) -> Outcome:
    """Run every stage; InputError when the stop rule is not met within its budget."""
    clock, seconds = time.perf_counter(), {}
    lab = Lab(c, say)

    def lap(stage: str) -> None:
        nonlocal clock
        seconds[stage], clock = time.perf_counter() - clock, time.perf_counter()

    begin = train_start(lab, c.seed, c.overfit.start_at)
    lap("train the start model")
    mined = mine(lab, begin.params, c.mine_source.problems().items, c.mine_samples)
    lap("mine")
    test = c.test_source.problems().items
    start = lab.measure(begin.params, test, PLAIN, c.samples)
    say(f"start: pass@1 {start.right.mean():.3f}, greedy {start.greedy:.3f}")
    lap("measure the start")
    arms: dict[str, list[ArmRun]] = {name: [] for name in ARMS}
    for seed in c.seeds:
        goal: float | None = None
        for name, method in ARMS.items():
            limit = goal if name == EQUAL_RIGHT else None
            done = train(lab, begin.params, method, mined.problems, seed=seed, right_tokens=limit)
            goal = done.right_tokens if name == TUNING else goal
            behind = [lab.measure(done.params, test, method.task, c.samples, own) for own in method.polarities]
            second = behind[1] if behind[1:] else None
            arms[name].append(ArmRun(behind[0], second, done.losses, done.positions, done.right_tokens))
            say(f"{name}, seed {seed}: pass@1 {behind[0].right.mean():.3f}, greedy {behind[0].greedy:.3f}")
    lap("train and measure the arms")
    overfit = overfit_once(lab, c.overfit, begin, c.seeds[0])
    lap("coverage on a small training set")
    return Outcome(begin, start, mined, arms, overfit, seconds)


def overfit_once(lab: Lab, o: Overfit, begin: Start, seed: int) -> Curves:
    """Cross-entropy and DCO from the early start on a small training set with exact solutions."""
    assert begin.early is not None
    test, problems = o.test_source.problems().items, o.source.problems().items
    start = lab.rights(begin.early, test, PLAIN, o.samples).sum(axis=1).tolist()
    records = {}
    for name, method in arms_of(o.n, IMITATE).items():
        arm = Arm(lab, begin.early, method, problems, seed, steps=o.steps)
        records[name] = [arm.record(test, o.samples, looks=o.looks, full=False)]
        lab.say(f"small training set, {name}: {told(records[name][0], o.ks)}")
    return Curves([start], records, o.samples, o.n)
