"""Plan a run before a chip is rented.

The whole training step (or prefill, or decoding) is compiled for hardware that is not here, and what the compiler says
is read: memory, collectives, FLOPs, bounds on speed, and what should not be there. No weights and no data are loaded.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge

from mtjax import config as settings
from mtjax.errors import InputError
from mtjax.io.command_line import command, output_file, split_options
from mtjax.io.files import write_text
from mtjax.io.progress import progress
from mtjax.planning.process import check_installed, run_worker
from mtjax.planning.report import from_json, search_page, to_page
from mtjax.planning.topologies import HARDWARE, find_topology


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """Options of `python -m mtjax.plan`; the other words are overrides of the config, as for `mtjax.train`."""

    topology: str = ""  # The machine, such as v5p-64, v5e-256, h100-8 or v5p:4x4x8.
    slices: Annotated[int, Ge(1)] = 1  # TPU slices of it, joined by the data-centre network.
    level: Literal["fast", "full"] = "fast"
    """fast (a minute: memory, collectives, roofline) or full (minutes: the real peak, the compiler's bound)."""
    phase: Literal["train", "prefill", "decode"] = "train"
    """What to plan: the whole training step, prefill or decoding."""
    json: str | None = None  # Write the report to this file too.
    markdown: str | None = None  # Write the report to this file instead of the terminal.
    lint_limit: Annotated[int, Ge(0)] = 0  # Findings that are allowed before the exit code is 4.
    search: bool = False  # Rank meshes, remat and micro-batches instead.
    tries: Annotated[int, Ge(0)] = 8  # How many alternatives are compiled, for --search and for what fits.


def read_options(words: Sequence[str]) -> tuple[PlanConfig, list[str]]:
    """The command's own options, and the overrides that are left for the config; InputError for a bad value."""
    options, rest = split_options(PlanConfig, words, "python -m mtjax.plan CONFIG")
    if not options.topology:
        raise InputError(f"--topology is missing: give a machine such as v5p-64 or h100-8, of {', '.join(HARDWARE)}")
    if options.search and options.tries == 0:
        raise InputError("--tries=0 with --search: expected 1 or more meshes to compile")
    return options, rest


@command("CONFIG --topology=MACHINE [options] [overrides]", options=PlanConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code: 0, 2 bad input, 3 does not fit, 4 lint over the limit."""
    wanted, overrides = read_options(words[1:])
    as_json, markdown = output_file("--json", wanted.json), output_file("--markdown", wanted.markdown)
    settings.load(words[0], overrides)  # refuses at once what the worker would refuse
    check_installed(find_topology(wanted.topology, wanted.slices))
    request = dataclasses.asdict(wanted) | {"config": words[0], "overrides": overrides}
    with progress(f"compiling for {wanted.topology}", None):
        reports = [from_json(record) for record in run_worker(request)["reports"]]
    if as_json:
        made = [report.to_json() for report in reports]
        write_text(as_json, json.dumps(made if wanted.search else made[0], indent=1) + "\n")
    text = search_page(reports) if wanted.search else to_page(reports[0])
    if markdown:
        write_text(markdown, text)
        print(f"wrote {wanted.markdown}")
    else:
        print(text, end="")
    if not reports:
        raise InputError(f"no mesh of {wanted.topology} divides this model and batch; change --batch_size")
    return reports[0].exit_code(wanted.lint_limit)


if __name__ == "__main__":
    sys.exit(main())
