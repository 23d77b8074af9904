"""The comparison: every method from one start model on the same mined problems, each at its best learning rate."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from mtjax.experiments.arms import Arm
from mtjax.experiments.config import Comparison
from mtjax.experiments.methods import PLAIN, Method, file_name, methods_of
from mtjax.experiments.results import Injected, Measured, MinedProblems, Record, ResultsFolder, Start
from mtjax.experiments.stages import Stages
from mtjax.experiments.tables import pass_from_counts

FREE = ("methods", "rates", "seeds", "ks", "tune_k", "output")
"""Settings that may change when a run is resumed, because no arm depends on them."""


class Outcome(NamedTuple):
    """The results of the comparison.

    Attributes:
        methods: by name.
        begin: the start model.
        start: its measurement.
        mined: the solutions it found.
        injected: the step pairs made from them.
        tuning: by method and learning rate, the arm measured on validation problems.
        rates: the chosen learning rate of each method.
        arms: by method, one arm per seed, measured on test problems.
        seconds: of the stages before the arms.
    """

    methods: dict[str, Method]
    begin: Start
    start: Measured
    mined: MinedProblems
    injected: Injected
    tuning: dict[str, dict[float, Record]]
    rates: dict[str, float]
    arms: dict[str, list[Record]]
    seconds: dict[str, float]


def run(c: Comparison, say: Callable[[str], None] = print) -> Outcome:
    """Train and measure every arm that the results folder does not hold yet."""
    stages, methods = Stages(c, say), methods_of(c)
    kept = ResultsFolder.of(c, FREE)
    begin = kept.start(stages.model, f"start-{c.seed}", lambda: stages.train_start(c.seed))
    mined = kept.mined(lambda: stages.mine(begin.params, c.mine_source, c.mine_samples))
    injected = stages.inject(mined.problems, c.step_pairs)
    say(f"injected {injected.pairs} step pairs, each wrong side proved wrong")
    test, validation = c.test_source.problems().items, c.validation_source.problems().items
    start = kept.measured("start", lambda: stages.measure(begin.params, test, PLAIN, c.samples))
    say(f"start: pass@1 {start.right.mean():.3f}, greedy {start.greedy:.3f}")

    tuning: dict[str, dict[float, Record]] = {name: {} for name in methods}
    rates = {}
    for name, method in methods.items():
        for rate in c.rates:
            place = f"tuning/{file_name(name)}-{rate:g}"
            arm = Arm(place, begin.params, method, injected.problems, c.tune_seed, rate)
            make = partial(stages.run, arm, validation, c.tune_samples, full=False)
            tuning[name][rate] = kept.record(place, make)
        found = {rate: validation_pass(record, c.tune_k) for rate, record in tuning[name].items()}
        rates[name] = best_rate(found)
        said = ", ".join(f"{rate:g}: {value:.3f}" for rate, value in found.items())
        say(f"{name}: pass@{c.tune_k} on validation problems by learning rate {said}; takes {rates[name]:g}")

    arms: dict[str, list[Record]] = {name: [] for name in methods}
    for seed in c.seeds:
        for name, method in methods.items():
            place = f"arms/{file_name(name)}-{rates[name]:g}-seed{seed}"
            arm = Arm(place, begin.params, method, injected.problems, seed, rates[name])
            arms[name].append(kept.record(place, partial(stages.run, arm, test, c.samples, looks=c.looks)))
            k = max(c.ks)
            passes = [pass_from_counts(arms[name][-1].curve[c.arm_steps], c.samples, n).mean() for n in (1, k)]
            say(f"{name}, seed {seed}: pass@1 {passes[0]:.3f}, pass@{k} {passes[1]:.3f}")
    begun = {"train the start": f"start-{c.seed}/start", "mine": "mined", "measure the start": "start"}
    seconds = {stage: kept.seconds[part] for stage, part in begun.items()}
    return Outcome(methods, begin, start, mined, injected, tuning, rates, arms, seconds)


def validation_pass(record: Record, k: int) -> float:
    """pass@k of an arm on the validation problems."""
    (right,) = record.curve.values()
    return float(pass_from_counts(right, record.samples, k).mean())


def best_rate(found: Mapping[float, float]) -> float:
    """The learning rate with the highest value; the smallest of equal ones."""
    return max(sorted(found), key=lambda rate: found[rate])


def total_seconds(outcome: Outcome) -> dict[str, float]:
    """Seconds by stage; they are stored with the results, so that a resumed run reports them too."""
    tuning = [record for own in outcome.tuning.values() for record in own.values()]
    arms = [record for own in outcome.arms.values() for record in own]
    add = lambda records, key: float(np.sum([record.seconds[key] for record in records]))
    return outcome.seconds | {
        "choose learning rates: train": add(tuning, "train"),
        "choose learning rates: measure": add(tuning, "measure"),
        "arms: train": add(arms, "train"),
        "arms: measure": add(arms, "measure"),
    }
