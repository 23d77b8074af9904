"""Write the records of a file in another format.

IN is a file, a folder or a pattern in any format of docs/data.md; mistake records and mined solutions are read too. OUT
is a .jsonl or .json file, .gz or not, or a .csv or .parquet file. What the other format has no place for is counted;
texts are left out only with --lossy.
"""

import dataclasses
import pathlib
import sys
from typing import Literal

from mtjax.data.conversion import convert, target
from mtjax.data.sources.detection import source_of
from mtjax.errors import ExitCode, InputError
from mtjax.io.command_line import command, output_file, split_options
from mtjax.validation import check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Options of `python -m mtjax.convert`."""

    to: str  # Format to write: one of `python -m mtjax.list format`, or trl, openai, prm.
    format: str = "auto"  # Format of the records that are read; auto recognises each by its keys.
    source: str = "auto"  # Source that reads IN, such as gsm8k, for published files that have no format of their own.
    columns: tuple[str, ...] = ()  # Keys to read, each `key` or `theirs=ours`; empty reads the records as they are.
    on_error: Literal["raise", "skip"] = "raise"  # A record that cannot be read: stop with its place, or count it.
    lossy: bool = False  # Leave out texts that the format has no place for; their number is reported.
    overwrite: bool = False  # Replace OUT, if it is there.

    def __post_init__(self) -> None:
        check_types(self)


@command("IN OUT --to=FORMAT [options]", options=ConvertConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    files = [word for word in words[:2] if not word.startswith("-")]
    if len(files) < 2:
        raise InputError(f"got {' '.join(words)}; expected two files: python -m mtjax.convert IN OUT --to=FORMAT")
    options, rest = split_options(ConvertConfig, words[2:], "python -m mtjax.convert IN OUT")
    if rest:
        raise InputError(f"{rest[0]!r} is not understood; python -m mtjax.convert --help lists the options")
    target(options.to)
    out = output_file("OUT", files[1]) or pathlib.Path(files[1])
    if out.exists() and not options.overwrite:
        raise InputError(f"'{out}' exists; choose another name, or pass --overwrite to replace it")
    source = source_of(files[0], options.source, format=options.format, columns=options.columns)
    try:
        found = source.problems(options.on_error)
    except InputError as error:  # the readers call the settings by their names in a training config
        raise InputError(str(error).replace("--data.source.", "--").replace("data.on_error", "--on_error")) from error
    for note in found.notes:
        print(f"note: {note}")
    done = convert(found.items, str(out), options.to, lossy=options.lossy)
    print(f"{done.records:,} records of {done.problems:,} problems in {out}")
    if done.lost:
        listed = ", ".join(f"{name} ({count:,})" for name, count in sorted(done.lost.items()))
        print(f"note: no place in this format for: {listed}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
