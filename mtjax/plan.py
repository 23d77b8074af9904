"""Plan a run before a chip is rented: `python -m mtjax.plan CONFIG --topology v5p-64 [options] [overrides]`.

The whole training step (or prefill, or decoding) is compiled for hardware that is not here, and what the compiler says
is read: memory, collectives, FLOPs, bounds on speed, and what should not be there. No weights and no data are loaded.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Literal, get_args

from mtjax import config as settings
from mtjax.errors import ExitCode, InputError, entry_point, suggest
from mtjax.io.command_line import output_file
from mtjax.io.files import write_text
from mtjax.planning.process import check_installed, run_worker
from mtjax.planning.report import from_json, search_page, to_page
from mtjax.planning.topologies import HARDWARE, find_topology

OPTIONS = {
    "--topology": f"the machine, such as v5p-64, v5e-256, h100-8 or v5p:4x4x8; of {', '.join(HARDWARE)}",
    "--slices": "TPU slices of it, joined by the data-centre network (1)",
    "--level": "fast (a minute: memory, collectives, roofline) or full (minutes: the real peak, the compiler's bound)",
    "--phase": "train (the whole step), prefill or decode",
    "--json": "write the report to this file too",
    "--markdown": "write the report to this file instead of the terminal",
    "--lint_limit": "findings that are allowed before the exit code is 4 (0)",
    "--search": "rank meshes, remat and micro-batches instead",
    "--tries": "how many alternatives are compiled, for --search and for what fits (8)",
}


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """Settings of the command; see `OPTIONS`."""

    topology: str
    slices: int = 1
    level: Literal["fast", "full"] = "fast"
    phase: Literal["train", "prefill", "decode"] = "train"
    json: str | None = None
    markdown: str | None = None
    lint_limit: int = 0
    search: bool = False
    tries: int = 8


def read_words(words: Sequence[str]) -> tuple[PlanConfig, list[str]]:
    """The command's own options, and the overrides that are left for the config; InputError for a bad value."""
    own: dict[str, str] = {}
    rest = []
    words = list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name not in OPTIONS:
            rest.append(word)
        elif name == "--search":
            own["search"] = value or "True"
        elif equals or words:
            own[name.removeprefix("--")] = value if equals else words.pop(0)
        else:
            raise InputError(f"{name} needs a value: {OPTIONS[name]}")
    if "topology" not in own:
        raise InputError(f"--topology is missing: {OPTIONS['--topology']}")
    made: dict[str, str | int | bool] = dict(own)
    for name in ("slices", "lint_limit", "tries"):
        if name in own:
            if not own[name].isdigit():
                raise InputError(f"--{name}={own[name]}: expected a whole number; {OPTIONS[f'--{name}']}")
            made[name] = int(own[name])
    hints = {field.name: get_args(field.type) for field in dataclasses.fields(PlanConfig)}
    for name in ("level", "phase"):
        if name in own and own[name] not in hints[name]:
            raise InputError(f"--{name}={own[name]}: {suggest(own[name], hints[name])}")
    if own.get("search", "True") not in ("True", "False"):
        raise InputError(f"--search={own['search']}: expected nothing, True or False")
    made["search"] = own.get("search") == "True"
    if made["search"] and made.get("tries") == 0:
        raise InputError("--tries=0 with --search: expected 1 or more meshes to compile")
    return PlanConfig(**made), rest  # type: ignore[arg-type]


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0, 2 bad input, 3 does not fit, 4 lint over the limit."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m mtjax.plan CONFIG [options] [overrides]\n\n{(__doc__ or '').split(chr(10), 2)[2]}")
        print("\n".join(f"  {name:<13} {said}" for name, said in OPTIONS.items()))
        print("\nOther words are overrides of the config, as for `python -m mtjax.train CONFIG --help`.")
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    wanted, overrides = read_words(argv[1:])
    as_json, markdown = output_file("--json", wanted.json), output_file("--markdown", wanted.markdown)
    settings.load(argv[0], overrides)  # refuses at once what the worker would refuse
    check_installed(find_topology(wanted.topology, wanted.slices))
    request = dataclasses.asdict(wanted) | {"config": argv[0], "overrides": overrides}
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
