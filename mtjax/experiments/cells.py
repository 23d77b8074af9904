"""Run the cells of a grid with the product's own stages; each is kept when it is complete."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from mtjax.config import Config
from mtjax.data.problem import Problem
from mtjax.errors import InputError, NonFiniteLoss
from mtjax.evaluation.coverage import pass_at_k
from mtjax.experiments.arms import arm_config, cost_of, start_config
from mtjax.experiments.config import Map
from mtjax.experiments.experiment import PLAIN, Method
from mtjax.experiments.grid import IN, OUT, Cell, Grid
from mtjax.experiments.results import MinedProblems, ResultsFolder, Start
from mtjax.experiments.runner import best_rate
from mtjax.experiments.stages import Stages
from mtjax.io.files import write_text
from mtjax.io.lock import BusyError, locked
from mtjax.model.merging.base import Given, mixed
from mtjax.sampling.decoders.contrastive import Contrastive
from mtjax.types import Params

JOURNAL = "cells.jsonl"
"""Every complete run, one JSON line each, in the order of the grid; written anew by each process that ends."""
FREE = ("seeds", "extra_seeds", "ks", "output", "slices", "cells", "page", "level")
"""Settings on which no run depends."""

Made = TypeVar("Made")


@dataclasses.dataclass
class CellRun:
    """One cell trained with one seed, and what was measured."""

    cell: str  # its name
    method: str
    levels: dict[str, Any]  # of each factor
    seed: int
    rate: float | None  # learning rate
    samples: int  # per problem
    counts: dict[str, list[int]]  # right samples of each problem, by measurement: TEST, TEST@DECODING or TEST@PLACE
    cost: dict[str, float]  # see `arms.cost_of`
    seconds: dict[str, float]  # of training and of measuring
    diverged: str = ""  # why training stopped, if it did; all solutions then count as wrong

    def passes(self, key: str, k: int) -> Float[np.ndarray, " N"]:
        """pass@k of each problem of a measurement; `out of domain` is that of all other test sets together."""
        if key.partition("@")[0] == OUT:
            tests = [name for name in self.counts if "@" not in name and name != IN]
            return np.concatenate([self.passes(key.replace(OUT, test), k) for test in tests])
        return np.asarray(pass_at_k(self.samples, self.counts[key], k))


class CellRunner:
    """The runs of one grid in one results folder.

    Raises:
        InputError: the folder holds results of other settings; a weaker model that is not weaker than its start; a line
            between adapters.
    """

    def __init__(self, c: Map, grid: Grid, log: Callable[[str], None] = print):
        self.c, self.grid, self._log = c, grid, log
        if c.weak_at > (low := grid.starts[grid.weaker_of].target[0]):
            raise InputError(
                f"weak_at={c.weak_at}: expected at most {low}, where the start '{grid.weaker_of}' may stop; lower it"
            )
        if c.model.adapter is not None and any("line" in own.measures for own in grid.slices.values()):
            raise InputError("the measure 'line' mixes weights, which a mean of two adapters does not; leave it out")
        described = {f"start {name}": repr(start) for name, start in grid.starts.items()}
        for name, cell in grid.cells.items():
            method = grid.methods[cell.method].make(cell)
            pairs = grid.methods[cell.method].step_pairs
            described[name] = f"{method.objective_name}, {method.task!r}, {pairs} step pairs"
        self.kept = ResultsFolder(c, FREE, described)
        self.folder = pathlib.Path(c.output)
        self._starts: dict[str, Start] = {}

    @cached_property
    def stages(self) -> Stages:
        """The stages; made when the first cell is missing."""
        return Stages(self.c, self._log)

    @cached_property
    def tests(self) -> dict[str, Sequence[Problem]]:
        """The test problems by the name of their set."""
        return {name: source.problems().items for name, source in self.c.tests.items()}

    def has(self, name: str) -> bool:
        """Whether a part is complete."""
        return (self.folder / f"{name}.json").exists()

    @contextlib.contextmanager
    def claimed(self, name: str) -> Iterator[bool]:
        """Whether this process may make a part; False while another one is at it."""
        work = self.folder / "work" / name
        work.mkdir(parents=True, exist_ok=True)  # before the lock, which deletes a folder that it made
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(work))
            except BusyError:
                yield False
                return
            yield True

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What `make` reads or makes; other processes wait until the one that makes it is done."""
        while not self.has(name):
            with self.claimed(name) as mine:
                if mine:
                    return make()
            time.sleep(1)
        return make()

    def start(self, name: str) -> Start:
        """A start model, with the checkpoint that is the weaker model."""
        if name not in self._starts:
            spec, c = self.grid.starts[name], self.c
            early = name == self.grid.weaker_of
            config = start_config(c, c.seed)
            config = dataclasses.replace(
                config,
                data=dataclasses.replace(config.data, source=spec.source),
                run_dir=f"{c.output}/work/start-{name}/run",
            )
            train = lambda: self.stages.train_start(
                c.seed, c.weak_at if early else None, config=config, target=spec.target
            )
            make = partial(self.kept.start, f"start-{name}", self.stages.model, train, early=early)
            self._starts[name] = self.once(f"start-{name}/start", make)
        return self._starts[name]

    def mined(self, start: str, weaker: bool = False) -> MinedProblems:
        """The distinct solutions of a start model, or of the weaker one."""
        name, begin = f"mined-{start}{'-weaker' if weaker else ''}", self.start(start)
        params = begin.early if weaker else begin.params
        mine = lambda: self.stages.mine(params, self.c.mine_source, self.c.mine_samples, name=f"work/{name}/found")
        return self.once(name, lambda: self.kept.part(name, MinedProblems, mine))

    def problems(self, cell: Cell) -> list[Problem]:
        """The problems that a cell trains on, with their solutions; mining leaves out what cannot be written again."""
        found = self.mined(cell.start).problems[: cell.problems]
        if cell.mistakes == "weaker":
            others = {problem.id: problem.wrong for problem in self.mined(cell.start, weaker=True).problems}
            found = [dataclasses.replace(problem, wrong=others.get(problem.id, ())) for problem in found]
        elif cell.mistakes == "injected":
            made = self.stages.wrong_by_rule(found, self.c.mine_samples)
            found = [dataclasses.replace(problem, wrong=tuple(made.get(problem.id, ()))) for problem in found]
        if cell.solutions == "one":
            found = [
                dataclasses.replace(problem, right=problem.right[:1], wrong=problem.wrong[:1]) for problem in found
            ]
        return found

    def config(self, cell: Cell, seed: int, rate: float | None, place: str) -> tuple[Config, Method]:
        """The training run of a cell, its length included."""
        method = self.grid.methods[cell.method].make(cell)
        problems = self.problems(cell)
        if pairs := self.grid.methods[cell.method].step_pairs:
            problems = self.stages.inject(problems, pairs).problems
        config = arm_config(self.c, place, method, problems, seed, rate, self.c.arm_steps)
        if cell.matched:
            like = self.grid.cell(cell.matched, share=cell.share, **{name: cell.levels[name] for name in
                                                                   ("problems", "solutions", "start")})  # fmt: skip
            theirs, _ = self.config(like, seed, rate, place)
            goal = cost_of(theirs, self.stages.tokenizer)["right_tokens"]
            steps = int(cost_of(config, self.stages.tokenizer, goal)["updates"])
            config = dataclasses.replace(config, steps=steps)
        return dataclasses.replace(config, run_dir=f"{self.c.output}/work/{place}/run"), method

    def rate(self, cell: Cell) -> float:
        """The learning rate of a cell's method from its start, chosen on validation problems at the base levels."""
        if len(self.c.rates) == 1:
            return self.c.rates[0]
        base = self.grid.cell(cell.method, start=cell.start)
        name = f"rates/{base.name}"

        def make() -> dict[float, float]:
            found, on = {}, self.c.validation_source.problems().items
            for rate in self.c.rates:
                config, method = self.config(base, self.c.tune_seed, rate, name)
                params, why = self._train(config, base)
                prefix, samples = method.polarities[0], self.c.tune_samples
                right = np.zeros(1) if why else self.stages.right(params, on, method.task, samples, prefix)
                found[rate] = float(right.mean())
            self._log(f"{base.name}: pass@1 by learning rate {found}; takes {best_rate(found):g}")
            return found

        found = self.once(name, lambda: self.kept.part(name, dict[float, float], make))
        return best_rate(found)

    def _train(self, config: Config, cell: Cell) -> tuple[Params, str]:
        """The parameters at the end of a training run, and why it stopped early, if it did; its files are deleted."""
        start = self.start(cell.start).params
        try:
            return self.stages.train(config, start).state.params, ""
        except NonFiniteLoss as error:
            return start, str(error)
        finally:
            shutil.rmtree(config.run_dir, ignore_errors=True)

    def run(self, cell: Cell, seed: int) -> CellRun:
        """One run: read, or trained and measured."""
        return self.kept.part(f"cells/{cell.name}-seed{seed}", CellRun, partial(self._make, cell, seed))

    def _make(self, cell: Cell, seed: int) -> CellRun:
        rate = self.rate(cell)
        config, method = self.config(cell, seed, rate, f"cells/{cell.name}-seed{seed}")
        begun = time.perf_counter()
        params, why = self._train(config, cell)
        trained = time.perf_counter()
        counts = {key: ([0] * len(right) if why else right.sum(axis=1).tolist())
                  for key, right in self._measured(cell, method, params)}  # fmt: skip
        seconds = {"train": trained - begun, "measure": time.perf_counter() - trained}
        cost = {name: float(value) for name, value in cost_of(config, self.stages.tokenizer).items()}
        return CellRun(cell.name, cell.method, cell.levels, seed, rate, self.c.samples, counts, cost, seconds, why)

    def _measured(self, cell: Cell, method: Method, params: Params) -> Iterable[tuple[str, np.ndarray]]:
        """Each measurement with the right samples `[N, n]`."""
        asks, c = self.grid.measures(cell), self.c
        draw = partial(self.stages.right, samples=c.samples)
        own = partial(draw, task=method.task, polarity=method.polarities[0])
        for test, problems in self.tests.items():
            yield test, own(params, problems)
            if "decodings" in asks and len(method.polarities) > 1:
                yield f"{test}@none", draw(params, problems, task=PLAIN)
                yield f"{test}@contrast", own(params, problems, decoder=Contrastive(weight=c.contrast_weight))
        for place in c.line if "line" in asks else ():
            ends = [Given("start", lambda: self.start(cell.start).params), Given("end", lambda: params)]
            between = mixed(ends, (1 - place, place))
            for test, problems in self.tests.items():
                yield f"{test}@{place:g}", own(between, problems)

    def start_run(self, name: str) -> CellRun:
        """A start model as a run of no steps."""

        def make() -> CellRun:
            params = self.start(name).params
            right = {test: self.stages.right(params, on, PLAIN, self.c.samples) for test, on in self.tests.items()}
            counts = {test: each.sum(axis=1).tolist() for test, each in right.items()}
            levels = {"start": name}
            return CellRun(f"start,{name}", "start", levels, self.c.seed, None, self.c.samples, counts, {}, {})

        return self.once(f"cells/start,{name}", lambda: self.kept.part(f"cells/start,{name}", CellRun, make))

    def read(self, cells: Iterable[Cell]) -> dict[str, dict[int, CellRun]]:
        """The complete runs of some cells and of all starts, by name and seed."""
        found: dict[str, dict[int, CellRun]] = {}
        for cell in cells:
            for seed in (*self.c.seeds, *self.c.extra_seeds):
                if self.has(f"cells/{cell.name}-seed{seed}"):
                    found.setdefault(cell.name, {})[seed] = self.run(cell, seed)
        for name in self.grid.starts:
            if self.has(f"cells/start,{name}"):
                found[f"start,{name}"] = {self.c.seed: self.start_run(name)}
        return found

    def write_journal(self) -> pathlib.Path:
        """Write `JOURNAL` from the parts that are there."""
        runs = [run for own in self.read(self.grid.cells.values()).values() for run in own.values()]
        write_text(self.folder / JOURNAL, "".join(json.dumps({"schema": 1} | vars(run)) + "\n" for run in runs))
        return self.folder / JOURNAL


def read_journal(file: pathlib.Path) -> dict[str, dict[int, CellRun]]:
    """The runs of a journal, by the cell's name and the seed.

    Raises:
        InputError: the file is missing, or a line is not a run.
    """
    if not file.is_file():
        raise InputError(f"there is no {file}; run the cells first, with python -m mtjax.recipe configs/map.py")
    found: dict[str, dict[int, CellRun]] = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            kept = json.loads(line)
            run = CellRun(**{name: value for name, value in kept.items() if name != "schema"})
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{file}:{number} is not a run of the map ({error!r:.80}); write the journal again"
            ) from error
        found.setdefault(run.cell, {})[run.seed] = run
    return found
