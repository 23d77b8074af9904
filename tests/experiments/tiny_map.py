"""The map at a toy size, and a journal made up by hand."""

import numpy as np

from mtjax.experiments.cells import CellRun
from mtjax.experiments.grid import IN


def run(grid, name, seed, counts, samples=4, **changes):
    """A run of a cell with these counts of right samples by test."""
    cell = grid.cells[name]
    cost = dict.fromkeys(("updates", "positions", "reference_positions", "right_tokens"), 1.0)
    seconds = {"train": 1.0, "measure": 1.0}
    made = CellRun(name, cell.method, cell.levels, seed, 1e-3, samples, counts, cost, seconds)
    return made.__class__(**(vars(made) | changes))


def start(name, counts, samples=4):
    """The run of a start model."""
    return CellRun(f"start,{name}", "start", {"start": name}, 0, None, samples, counts, {}, {})


def drawn(rate, seed, tests, n=40, samples=4):
    """Right samples of n problems of each test with this probability."""
    rng = np.random.default_rng(seed)
    return {test: rng.binomial(samples, rate if test == IN else rate / 2, n).tolist() for test in tests}
