"""Make a learning-rate schedule from the gradient norms of a finished run.

RUN is a run folder; its metrics.jsonl has the norms. Writes a file for `optim.schedule:refined
--optim.schedule.file=FILE`. The next run may have another number of steps, but needs the same batch size.
"""

import dataclasses
import json
import math
import pathlib
import sys
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Lt

from mtjax import config as settings
from mtjax.errors import ExitCode, InputError
from mtjax.io.command_line import command, split_options
from mtjax.io.files import write_text
from mtjax.optim.refinement import refine
from mtjax.training.alarms import read_log

FEWEST = 20  # steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """Options of the command."""

    output: str = "schedule.json"  # File to write.
    norm: Literal["auto", "l1", "l2"] = "auto"
    """Which norms: L1 for optimizers that divide by a second moment, L2 for gradient descent; auto asks the run."""
    smoothing: Annotated[float, Ge(0), Lt(1)] = 0.1  # Share of the run that a window of the median spans.
    points: Annotated[int, Ge(2)] = 200  # Number of rates in the file.


@command("RUN [--output=schedule.json]", options=RefineConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, folders = split_options(RefineConfig, words, "python -m mtjax.refine RUN")
    if len(folders) != 1 or folders[0].startswith("-"):
        raise InputError(f"got {folders}: expected one run folder, such as runs/first")
    run = pathlib.Path(folders[0]).expanduser()
    config = settings.read_run(run)
    by_gradient = type(config.optim.optimizer).__name__ == "Sgd"
    norm = options.norm if options.norm != "auto" else ("l2" if by_gradient else "l1")
    norms = norms_of(run, "grad_norm" if norm == "l2" else "grad_norm_l1")
    rates = refine(norms, 2 if norm == "l2" else 1, options.smoothing, options.points)
    found = {"rates": [round(float(rate), 6) for rate in rates], "run": str(run), "norm": norm}
    write_text(pathlib.Path(options.output).expanduser(), json.dumps(found) + "\n")
    peak = int(np.argmax(rates)) / (len(rates) - 1)
    print(
        f"{options.output}: {len(rates)} rates from the {norm.upper()} norms of {len(norms):,} steps; the largest is "
        f"at {peak:.0%} of the run. Train with optim.schedule:refined --optim.schedule.file={options.output}"
    )
    return ExitCode.DONE


def norms_of(run: pathlib.Path, name: str) -> np.ndarray:
    """The norms of a run, oldest first; InputError where they are too few or were not logged."""
    lines = [line for line in read_log(run) if "loss" in line]
    norms = [line[name] for line in lines if isinstance(line.get(name), float | int)]
    norms = [norm for norm in norms if math.isfinite(norm) and norm > 0]
    if len(norms) < FEWEST:
        older = f" ({len(lines)} lines lack '{name}', new in this version)" if len(lines) >= FEWEST else ""
        raise InputError(
            f"{run / 'metrics.jsonl'} has {len(norms)} gradient norms{older}; expected at least {FEWEST}, from a run "
            "with --log_every=1"
        )
    return np.asarray(norms)


if __name__ == "__main__":
    sys.exit(main())
