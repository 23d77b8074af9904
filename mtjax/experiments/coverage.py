"""The coverage experiment: cross-entropy against DCO on a small training set, with pass@k over training."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from mtjax.experiments.arms import Arm
from mtjax.experiments.config import Coverage
from mtjax.experiments.methods import PLAIN, Method
from mtjax.experiments.results import Measured, Record, ResultsFolder, Start
from mtjax.experiments.stages import Stages
from mtjax.experiments.tables import clear, pass_from_counts, rose_or_fell
from mtjax.objectives.dco import Dco
from mtjax.objectives.nll import Nll
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval

CROSS_ENTROPY = "cross-entropy"

FREE = ("seeds", "ks", "output")
"""Settings that may change when a run is resumed, because no arm depends on them."""


def arms_of(n: int) -> dict[str, Method]:
    """Both arms by name; they differ in the loss alone."""
    return {
        CROSS_ENTROPY: Method(PLAIN, Nll(), list, says="Cross-entropy."),
        dco_name(n): Method(PLAIN, Dco(n=n), list, says=f"The loss of coverage for {n} samples."),
    }


def dco_name(n: int) -> str:
    """Name of the DCO arm."""
    return f"DCO, N = {n}"


class Curves(NamedTuple):
    """pass@k over training, for both arms and all seeds on the same held-out problems.

    Attributes:
        starts: for each seed, the number of right samples of the start model for each problem, `[N]`.
        arms: by name, one record a seed.
        samples: samples per problem.
        n: that DCO was trained for.
    """

    starts: list[list[int]]
    arms: dict[str, list[Record]]
    samples: int
    n: int

    def passes(self, name: str, step: int, k: int) -> np.ndarray:
        """pass@k of an arm after some steps, 0 for the start, `[S, N]`."""
        counts = self.starts if step == 0 else [record.curve[step] for record in self.arms[name]]
        return np.stack([pass_from_counts(own, self.samples, k) for own in counts])

    def steps(self) -> list[int]:
        """The steps that were measured, 0 first."""
        return [0, *sorted(self.arms[CROSS_ENTROPY][0].curve)]

    def at(self, name: str, step: int, k: int) -> Interval:
        """Mean over seeds and problems, with its interval over problems."""
        return mean_interval(self.passes(name, step, k))

    def change(self, name: str, k: int) -> Interval:
        """From the start to the end, on the same problems."""
        return difference_interval(self.passes(name, self.steps()[-1], k), self.passes(name, 0, k))

    def difference(self, k: int) -> Interval:
        """DCO less cross-entropy at the end, on the same problems."""
        last = self.steps()[-1]
        return difference_interval(self.passes(dco_name(self.n), last, k), self.passes(CROSS_ENTROPY, last, k))


class Outcome(NamedTuple):
    """The results: the curves, the start model of each seed with its measurement, and seconds."""

    curves: Curves
    begins: list[Start]
    starts: list[Measured]
    seconds: dict[str, float]


def run(c: Coverage, say: Callable[[str], None] = print) -> Outcome:
    """Train and measure every start model and arm that the results folder does not hold yet."""
    stages, arms = Stages(c, say), arms_of(c.n)
    kept = ResultsFolder.of(c, FREE)
    test = c.test_source.problems().items
    begins, starts = [], []
    records: dict[str, list[Record]] = {name: [] for name in arms}
    for seed in c.seeds:
        begins.append(kept.start(stages.model, f"start-{seed}", partial(stages.train_start, seed)))
        params = begins[-1].params
        starts.append(kept.measured(f"start-{seed}/test", partial(stages.measure, params, test, PLAIN, c.samples)))
        problems = dataclasses.replace(c.train_source, seed=c.train_source.seed + seed).problems().items
        say(f"seed {seed}: start at pass@1 {starts[-1].right.mean():.3f}")
        for number, (name, method) in enumerate(arms.items()):
            arm = Arm(f"{('nll', 'dco')[number]}-seed{seed}", params, method, problems, seed)
            make = partial(stages.run, arm, test, c.samples, looks=c.looks)
            records[name].append(kept.record(f"arms/{arm.name}", make))
            say(f"seed {seed}, {name}: {curve_text(records[name][-1], c.ks)}")
    curves = Curves([start.right.sum(axis=1).tolist() for start in starts], records, c.samples, c.n)
    seconds = {"train the starts": sum(kept.seconds[f"start-{seed}/start"] for seed in c.seeds)}
    for name, own in records.items():
        seconds |= {f"{name}: {key}": sum(record.seconds[key] for record in own) for key in ("train", "measure")}
    return Outcome(curves, begins, starts, seconds)


def curve_text(record: Record, ks: Sequence[int]) -> str:
    """pass@k by step, in one line."""
    pairs = lambda right: " / ".join(f"{pass_from_counts(right, record.samples, k).mean():.3f}" for k in ks)
    steps = "; ".join(f"step {step}: {pairs(right)}" for step, right in sorted(record.curve.items()))
    return f"pass@{'/'.join(map(str, ks))} {steps}"


def verdict(curves: Curves, k: int) -> str:
    """The result in sentences that follow the intervals."""
    first, last, dco = curves.change(CROSS_ENTROPY, 1), curves.change(CROSS_ENTROPY, k), dco_name(curves.n)
    own, ours, single = curves.change(dco, k), curves.difference(k), curves.difference(1)
    appeared = first.low > 0 and last.high < 0
    changes = (
        f"Under cross-entropy pass@1 {rose_or_fell(first)} ({first}) and pass@{k} {rose_or_fell(last)} ({last}): "
        f"the phenomenon {'appeared' if appeared else 'did not appear'}. "
        f"Under {dco} pass@{k} {rose_or_fell(own)} ({own}). "
    )
    side = lambda x: f"{'above' if x.low > 0 else 'below'} cross-entropy" if clear(x) else "level with cross-entropy"
    compared = f"DCO ended {side(ours)} at pass@{k} ({ours}) and {side(single)} at pass@1 ({single})."
    end = ""
    if appeared and ours.low > 0:
        end = " DCO kept a part of the coverage, not all of it." if own.high < 0 else " DCO kept the coverage."
    elif appeared:
        end = " DCO did not keep the coverage."
    return f"{changes}{compared}{end}"
