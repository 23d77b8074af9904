"""Effects of a grid: paired differences over problems, adjusted for their number, and the rule for "helps"."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.experiments.cells import CellRun
from mtjax.experiments.grid import BASELINE, IN, OUT, Cell, Grid
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval
from mtjax.reporting.multiplicity import benjamini_hochberg, holm, paired_p

Runs = Mapping[str, Mapping[int, CellRun]]
"""Runs by the cell's name and the seed."""

FEW = 2000  # resamples of intervals that are not of the main family


class Contrast(NamedTuple):
    """A difference to estimate: pass@k of one measurement minus that of another."""

    cell: str  # name of the cell
    against: str  # name of what it is compared with
    says: str  # what that is: equal positions, equal right tokens, start, other decoding, end of the line
    test: str  # measurement of the cell, as `CellRun.passes` calls it
    other: str  # measurement of what it is compared with
    k: int
    main: bool  # of the family whose error is controlled by Holm's method


class Effect(NamedTuple):
    """An estimated difference."""

    contrast: Contrast
    interval: Interval  # over problems, of the mean over seeds
    seeds: tuple[float, ...]  # the difference of each seed
    p: float  # of `paired_p`
    adjusted: float  # Holm's in the main family, Benjamini and Hochberg's in the other

    def verdict(self, level: float) -> str:
        """The rule: `helps` or `hurts` where the adjusted p is at most `level` and all seeds have the sign."""
        if self.adjusted <= level and all(value > 0 for value in self.seeds):
            return "helps"
        return "hurts" if self.adjusted <= level and all(value < 0 for value in self.seeds) else "unclear"


def contrasts(grid: Grid, tests: Sequence[str], most: int, line: Sequence[float] = ()) -> Iterator[Contrast]:
    """Every comparison of the design, whether its runs are there or not.

    The main family has pass@1 as trained and out of domain of every cell but right-only ones, against right-only
    training at equal forward positions, and at equal right tokens where the grid has that cell. The other has each test
    set, pass@`most`, the change against the start, the decodings and the line between start and end.
    """
    known = grid.cells
    for cell in known.values():
        base, matched, start = grid.baseline(cell).name, grid.matched(cell), f"start,{cell.start}"
        asks = grid.measures(cell)
        if cell.method != BASELINE:
            yield from (Contrast(cell.name, base, "equal positions", test, test, 1, True) for test in (IN, OUT))
            if matched is not None and matched.name in known:
                for test in (IN, OUT):
                    yield Contrast(cell.name, matched.name, "equal right tokens", test, test, 1, True)
            for test in tests:
                if test != IN:
                    yield Contrast(cell.name, base, "equal positions", test, test, 1, False)
            yield Contrast(cell.name, base, "equal positions", IN, IN, most, False)
        yield from (Contrast(cell.name, start, "the start", test, test, k, False) for test in tests for k in (1, most))
        if "decodings" in asks and grid.methods[cell.method].make(cell).polarities[1:]:
            for how in ("none", "contrast"):
                yield Contrast(cell.name, cell.name, "behind the right prefix", f"{IN}@{how}", IN, 1, False)
                yield Contrast(cell.name, base, "equal positions", f"{IN}@{how}", IN, 1, False)
        if "line" in asks:
            for place in line:
                for test, k in ((IN, 1), (IN, most), (OUT, 1)):
                    yield Contrast(cell.name, cell.name, "the end of the line", _at(test, place), test, k, False)


def _at(test: str, place: float) -> str:
    return f"{test}@{place:g}"


def differences(runs: Runs, contrast: Contrast) -> Float[np.ndarray, "S N"] | None:
    """Per seed and problem, over the seeds that both have; a start has one for all. None where a run is missing."""
    ours, theirs = runs.get(contrast.cell, {}), runs.get(contrast.against, {})
    single = contrast.against.startswith("start,") and len(theirs) == 1
    seeds = [seed for seed in ours if single or seed in theirs]
    if not seeds:
        return None
    other = lambda seed: next(iter(theirs.values())) if single else theirs[seed]
    return np.stack([
        ours[seed].passes(contrast.test, contrast.k) - other(seed).passes(contrast.other, contrast.k) for seed in seeds
    ])  # fmt: skip


def effects(runs: Runs, asked: Sequence[Contrast]) -> list[Effect]:
    """The effects whose runs are there; p-values are adjusted within the main family, and within the other one."""
    found = [(one, d) for one in asked if (d := differences(runs, one)) is not None]
    p = np.array([paired_p(d.mean(axis=0)) for _, d in found])
    main = np.array([one.main for one, _ in found], bool)
    adjusted = np.ones(len(found))
    adjusted[main], adjusted[~main] = holm(p[main]), benjamini_hochberg(p[~main])
    return [
        Effect(
            one, mean_interval(d, resamples=10_000 if one.main else FEW), tuple(map(float, d.mean(axis=1))), float(q),
            float(own),
        )
        for (one, d), q, own in zip(found, p, adjusted, strict=True)
    ]  # fmt: skip


def unsettled(grid: Grid, runs: Runs, seeds: Sequence[int], tests: Sequence[str]) -> list[Cell]:
    """The cells to run with more seeds: those with a main interval that includes 0, and what they are compared with.

    Only the first `seeds` count, so that the choice does not depend on what was run since; cells without all of them
    are left out.
    """
    first = {name: {seed: run for seed, run in own.items() if seed in seeds} for name, own in runs.items()}
    wanted: dict[str, None] = {}
    for one in contrasts(grid, tests, 1):
        if not one.main or any(len(first.get(name, {})) < len(seeds) for name in (one.cell, one.against)):
            continue
        interval = mean_interval(differences(first, one))  # type: ignore[arg-type]
        if interval.low <= 0 <= interval.high:
            wanted |= dict.fromkeys((one.cell, one.against))
    return [cell for name, cell in grid.cells.items() if name in wanted]


class Main(NamedTuple):
    """The mean effect of a method at one level of a factor, over the cells of a slice that have it."""

    method: str
    factor: str
    level: str
    cells: int
    intervals: Mapping[str, Interval]  # by test set: as trained, out of domain


def main_effects(grid: Grid, runs: Runs, name: str) -> list[Main]:
    """pass@1 less that of right-only training at equal positions, by method and level of each factor of a slice."""
    cells = [cell for cell in grid.cells_of(name) if cell.method != BASELINE]
    found = []
    for factor in grid.slices[name].levels or ("start",):
        groups: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            groups.setdefault((cell.method, str(cell.levels[factor])), []).append(cell)
        for (method, level), own in groups.items():
            by_test: dict[str, Interval] = {}
            for test in (IN, OUT):
                each = [differences(runs, Contrast(cell.name, grid.baseline(cell).name, "", test, test, 1, True))
                        for cell in own]  # fmt: skip
                there = [d.mean(axis=0) for d in each if d is not None]
                if there:
                    zeros = np.zeros_like(there[0])
                    by_test[test] = difference_interval(np.stack(there), zeros, resamples=FEW)
            if by_test:
                found.append(Main(method, factor, level, len(there), by_test))
    return found
