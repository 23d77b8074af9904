"""Run a grid cell by cell, beside other processes in the same folder, and then more seeds where they are needed."""

from collections.abc import Callable, Sequence

from mtjax.experiments.cells import CellRunner
from mtjax.experiments.config import Map
from mtjax.experiments.effects import unsettled
from mtjax.experiments.grid import Cell, Grid, check_names
from mtjax.io.progress import progress


def chosen(c: Map, grid: Grid) -> list[Cell]:
    """The cells that the settings ask for, in the order of the grid.

    Raises:
        InputError: a slice or a cell that the grid does not have.
    """
    check_names(c.slices, grid.slices, "slice")
    check_names(c.cells, grid.cells, "cell")
    asked = {cell.name for name in c.slices or grid.slices for cell in grid.cells_of(name)}
    if c.slices:  # a slice is compared with right-only training
        asked |= {grid.baseline(cell).name for name in c.slices for cell in grid.cells_of(name)}
    return [cell for name, cell in grid.cells.items() if name in asked and name in (c.cells or grid.cells)]


def run(c: Map, grid: Grid, log: Callable[[str], None] = print) -> CellRunner:
    """Train and measure the cells that the results folder does not hold and that no other process is at.

    First every cell with each of `seeds`; then, once all of these are there, the unsettled ones (`effects.unsettled`)
    with `extra_seeds`. At the end the journal is written. Without the first seeds of other processes the extra ones are
    left to the next start.

    Raises:
        InputError: names that the grid does not have; other settings than the folder's; a start model whose stop rule
            did not hold.
    """
    cells = chosen(c, grid)
    runner = CellRunner(c, grid, log)
    for start in dict.fromkeys(cell.start for cell in cells):
        runner.start_run(start)
    _pass(runner, cells, c.seeds, log)
    if not c.cells and all(_there(runner, cell, seed) for cell in cells for seed in c.seeds):
        more = [cell for cell in unsettled(grid, runner.read(cells), c.seeds, list(c.tests)) if cell in cells]
        if more and c.extra_seeds:
            log(f"{len(more)} cells get the seeds {c.extra_seeds}: a main interval of theirs includes 0")
            _pass(runner, more, c.extra_seeds, log)
    runner.write_journal()
    return runner


def _there(runner: CellRunner, cell: Cell, seed: int) -> bool:
    return runner.has(f"cells/{cell.name}-seed{seed}")


def _pass(runner: CellRunner, cells: Sequence[Cell], seeds: Sequence[int], log: Callable[[str], None]) -> None:
    """Each cell with each seed, the first seed of all cells first."""
    jobs = [(cell, seed) for seed in seeds for cell in cells]
    waiting = [job for job in jobs if not _there(runner, *job)]
    with progress("runs of the map", len(jobs), len(jobs) - len(waiting)) as advance:
        for cell, seed in waiting:
            name = f"cells/{cell.name}-seed{seed}"
            if runner.has(name):
                advance(1)
                continue
            with runner.claimed(name) as mine:
                if mine:
                    made = runner.run(cell, seed)
                    found = ", ".join(f"{test} {made.passes(test, 1).mean():.3f}" for test in runner.tests)
                    log(f"{cell.name}, seed {seed}: pass@1 {found}{' (diverged)' if made.diverged else ''}")
                    advance(1)
    if left := [job for job in jobs if not _there(runner, *job)]:
        log(f"{len(left)} runs are with other processes; the last one to end writes the complete report")
