"""A grid of settings times seeds: the runs of a sweep, started N at a time and kept when they end."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import tyro

from mtjax import config as settings
from mtjax.distributed.signals import signals
from mtjax.errors import ExitCode, InputError
from mtjax.experiments.curves import read_runs, results
from mtjax.io.hashing import digest
from mtjax.io.journal import Journal
from mtjax.io.progress import progress, say, track
from mtjax.reporting.intervals import Interval
from mtjax.validation import PositiveInt

FILE = "runs.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Options of `python -m mtjax.sweep`; the other words are overrides of the config, as for `mtjax.train`."""

    grid: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A setting with its values, NAME=VALUE,VALUE; several give every combination. Choices work too:
    `--grid objective=nll,mistake_tuning`."""
    seeds: PositiveInt = 1  # Runs of each combination; they have the config's seed and the next ones.
    parallel: PositiveInt = 1  # Runs at a time. They share devices and cores.
    output: str = "runs/sweep"  # Folder of the sweep, with a run folder for each run.
    overwrite: bool = False  # Forget the sweep that is in the folder, and start anew.


class Planned(NamedTuple):
    """One run of a sweep."""

    name: str  # of its folder
    words: list[str]  # what it adds to `python -m mtjax.train CONFIG`
    content: str  # digest of its settings


def plan(file: str, overrides: Sequence[str], options: SweepConfig) -> list[Planned]:
    """The runs of a sweep in order; every combination of settings is read, so that none is refused later.

    Raises:
        InputError: a grid that is not NAME=VALUES, a name or value that training refuses.
    """
    grid = []
    for word in options.grid:
        name, _, values = word.lstrip("-").partition("=")
        if not name or not all(values.split(",")):
            raise InputError(f"--grid {word}: expected a setting and its values, such as optim.learning_rate=1e-3,5e-3")
        grid.append([(name, value) for value in values.split(",")])
    first = settings.load(file, overrides).seed if options.seeds > 1 else 0
    seeds = [[("seed", str(first + number))] for number in range(options.seeds)] if options.seeds > 1 else [[]]
    found = list[Planned]()
    combinations = list(itertools.product(itertools.product(*grid), seeds))
    for chosen, seed in track(combinations, "reading settings"):
        given = [*chosen, *seed]
        name = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in given) or "run"
        name = re.sub(r"[^\w.,=+-]+", "-", name)
        words = [*overrides, *(f"--{key}={value}" for key, value in given)]
        flat = settings.flatten(settings.load(file, [*words, "--run_dir=run", "--no_overwrite"]))
        if name in [other.name for other in found]:
            raise InputError(f"two runs of the grid are called {name}: give each setting and value once")
        words += [f"--run_dir={pathlib.Path(options.output).expanduser() / name}"]
        found.append(Planned(name, words, digest(sorted(flat.items()))))
    return found


def run(file: str, overrides: Sequence[str], options: SweepConfig) -> ExitCode | int:
    """Train what the folder does not hold yet; the exit code is that of the first run that failed.

    A run that was stopped goes on from its checkpoint. One that fails does not stop the others, and is tried again at
    the next start.

    Raises:
        InputError: a bad grid, or a folder with another sweep.
    """
    runs = plan(file, overrides, options)
    folder = pathlib.Path(options.output).expanduser()
    depends = {"grid": list(options.grid), "seeds": options.seeds, "overrides": list(overrides)}
    depends["settings"] = {one.name: one.content for one in runs}
    journal = Journal(folder, FILE, len(runs), depends, {"config": file}, overwrite=options.overwrite)
    with contextlib.closing(journal), signals() as stopped:
        if len(journal):
            say(f"{len(journal)} of {len(runs)} runs are there already")
        failed, waiting = ExitCode.DONE, [(number, runs[number]) for number in journal.missing()]
        going: dict[int, tuple[Any, float]] = {}
        told: list[None] = []  # of SIGTERM, one for each process
        with progress("runs", len(runs), len(journal)) as advance:
            while (waiting and not stopped()) or going:
                while waiting and len(going) < options.parallel and not stopped():
                    number, one = waiting.pop(0)
                    going[number] = _start(file, one, folder / one.name, options), time.monotonic()
                for number, (process, began) in list(going.items()):
                    if process.poll() is None:
                        continue
                    del going[number]
                    if process.returncode == ExitCode.DONE:
                        journal.append([(number, _record(number, runs[number], folder, time.monotonic() - began))])
                        advance(1, runs[number].name)
                        say(f"{len(journal)} of {len(runs)} runs: {runs[number].name}")
                    elif not stopped():
                        failed = failed or process.returncode
                        print(_failure(folder / runs[number].name, process.returncode), flush=True)
                if stopped() and not told:
                    told = [process.send_signal(signal.SIGTERM) for process, _ in going.values()]
                time.sleep(0.1 if going else 0)
        if stopped():
            say(f"stopped with {len(journal)} of {len(runs)} runs; the same command goes on from there")
            return ExitCode.INTERRUPTED if stopped() == signal.SIGINT else ExitCode.STOPPED
        if not journal.missing():
            journal.finish()
    return failed


def _start(file: str, one: Planned, folder: pathlib.Path, options: SweepConfig) -> Any:
    """The process of a run, which writes what it says into a log in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    again = ["--overwrite"] if options.overwrite else []
    words = [sys.executable, "-m", "mtjax.train", file, *one.words, *again]
    with (folder.parent / f"{one.name}.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(os.environ))


def _record(number: int, one: Planned, folder: pathlib.Path, seconds: float) -> dict[str, Any]:
    """A finished run as the journal keeps it."""
    (log,) = read_runs([str(folder / one.name)])
    numbers = {name: cell.mean if isinstance(cell, Interval) else cell for name, cell in results(log).items()}
    about = {"run": one.name, "words": one.words, "seconds": round(seconds, 1), "results": numbers}
    return {"schema": 1, "number": number, **about}


def _failure(folder: pathlib.Path, code: int) -> str:
    log = folder.parent / f"{folder.name}.log"
    last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    return f"failed: {folder.name} ended with code {code}: {last} (all of it is in {log}); the others go on"
