"""The demo: a small model makes mistakes, is trained on them in four ways at equal cost, and is measured."""

import time
from collections.abc import Callable
from typing import NamedTuple

from mtjax.data.tasks import CompletionTask
from mtjax.experiments.arms import Arm
from mtjax.experiments.config import Demo, Overfit
from mtjax.experiments.coverage import Curves, arms_of, curve_text
from mtjax.experiments.methods import MISTAKE, PLAIN, Method, file_name, with_right
from mtjax.experiments.results import Measured, MinedProblems, Record, Start
from mtjax.experiments.stages import Stages
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nll import Nll

RIGHT_ONLY, NO_PREFIX, TUNING = "right only", "right and wrong, no prefix", "mistake tuning"
EQUAL_RIGHT = "right only, equal right tokens"

ARMS: dict[str, Method] = {
    RIGHT_ONLY: Method(PLAIN, Nll(), with_right),
    NO_PREFIX: Method(CompletionTask(polarities="both"), Nll(), list),
    TUNING: Method(MISTAKE, MistakeTuning(1.0), list, (True, False)),
    EQUAL_RIGHT: Method(PLAIN, Nll(), with_right),
}
"""The first three train on equal forward positions, the last on as many right target tokens as mistake tuning."""


class Outcome(NamedTuple):
    """The results of the demo."""

    begin: Start
    start: Measured
    mined: MinedProblems
    arms: dict[str, list[Record]]
    overfit: Curves
    seconds: dict[str, float]


def run(c: Demo, say: Callable[[str], None] = print) -> Outcome:
    """Run every stage; InputError if the stop rule is not met within its budget."""
    clock, seconds = time.perf_counter(), {}
    stages = Stages(c, say)

    def lap(stage: str) -> None:
        nonlocal clock
        seconds[stage], clock = time.perf_counter() - clock, time.perf_counter()

    begin = stages.train_start(c.seed, c.overfit.start_at)
    lap("train the start model")
    mined = stages.mine(begin.params, c.mine_source, c.mine_samples)
    lap("mine")
    test = c.test_source.problems().items
    start = stages.measure(begin.params, test, PLAIN, c.samples)
    say(f"start: pass@1 {start.right.mean():.3f}, greedy {start.greedy:.3f}")
    lap("measure the start")
    arms: dict[str, list[Record]] = {name: [] for name in ARMS}
    for seed in c.seeds:
        for name, method in ARMS.items():
            goal = arms[TUNING][-1].cost["right_tokens"] if name == EQUAL_RIGHT else None
            where = f"{file_name(name)}-seed{seed}"
            arm = Arm(where, begin.params, method, mined.problems, seed, right_tokens=goal)
            arms[name].append(record := stages.run(arm, test, c.samples))
            say(f"{name}, seed {seed}: pass@1 {record.end.right.mean():.3f}, greedy {record.end.greedy:.3f}")
    lap("train and measure the arms")
    overfit = overfit_once(stages, c.overfit, begin, c.seeds[0])
    lap("coverage on a small training set")
    return Outcome(begin, start, mined, arms, overfit, seconds)


def overfit_once(stages: Stages, o: Overfit, begin: Start, seed: int) -> Curves:
    """Cross-entropy and DCO from the early start on a small training set with exact solutions."""
    assert begin.early is not None
    test, problems = o.test_source.problems().items, o.source.problems().items
    start = stages.right(begin.early, test, PLAIN, o.samples).sum(axis=1).tolist()
    records = {}
    for name, method in arms_of(o.n).items():
        arm = Arm(f"small-{file_name(name)}", begin.early, method, problems, seed, steps=o.steps)
        records[name] = [stages.run(arm, test, o.samples, looks=o.looks, full=False)]
        stages.log(f"small training set, {name}: {curve_text(records[name][0], o.ks)}")
    return Curves([start], records, o.samples, o.n)
