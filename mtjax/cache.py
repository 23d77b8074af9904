"""List or clean the cache of tokenised data (docs/data_at_scale.md).

list shows each folder of the cache with its size and when it was used last. clean deletes those that were not used for
longest, and what killed first passes left. A run that is at work goes on with what it has open.
"""

import dataclasses
import sys
import time
from typing import Annotated

from annotated_types import Ge

from mtjax.data.cache import AUTO, DataCache, Kept
from mtjax.errors import ExitCode, InputError, suggest
from mtjax.io.command_line import command, split_options
from mtjax.validation import check_types

DAY = 86_400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """Options of `python -m mtjax.cache`."""

    folder: str = AUTO  # The cache: `data.cache_dir` of the runs; auto is ~/.cache/mtjax/data.
    gb: Annotated[float, Ge(0)] | None = None  # clean: most gigabytes that stay.
    unused_days: Annotated[float, Ge(0)] | None = None  # clean: delete what was not used for so many days.
    all: bool = False  # clean: delete everything.

    def __post_init__(self) -> None:
        check_types(self)


@command("list|clean [--folder=FOLDER] [--gb=N] [--unused_days=N] [--all]", options=CacheConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    if words[0] not in ("list", "clean"):
        raise InputError(f"{words[0]!r} is not understood: {suggest(words[0], ['list', 'clean'])}")
    options, rest = split_options(CacheConfig, words[1:], f"python -m mtjax.cache {words[0]}")
    if rest:
        raise InputError(f"{rest[0]!r} is not understood; python -m mtjax.cache --help lists the options")
    given = [name for name in ("gb", "unused_days") if getattr(options, name) is not None] + ["all"] * options.all
    if words[0] == "list" and given:
        raise InputError(f"--{given[0]} is for clean; python -m mtjax.cache clean --{given[0]} deletes")
    if words[0] == "clean" and not given:
        raise InputError("clean needs --gb=N, --unused_days=N or --all: what is to stay")
    cache = DataCache(options.folder)
    if options.folder != AUTO and not cache.folder.is_dir():
        raise InputError(f"--folder={options.folder!r} is not a folder; give the data.cache_dir of the runs")
    if words[0] == "list":
        for one in cache.kept():
            print(described(one))
        print(f"{_size(cache.total())} in {cache.folder}")
        return ExitCode.DONE
    unused = float("inf") if options.unused_days is None else options.unused_days * DAY
    cache.limit = 0.0 if options.all else float("inf") if options.gb is None else options.gb * 1e9
    deleted = cache.prune(unused=unused, left=True)
    for one in deleted:
        print(f"deleted  {described(one)}")
    print(f"{len(deleted)} folders deleted; {_size(cache.total())} are left in {cache.folder}")
    return ExitCode.DONE


def described(one: Kept) -> str:
    """One folder as a line."""
    days = (time.time() - one.used) / DAY
    used = "today" if days < 1 else f"{days:.0f} days ago"
    return f"{one.folder.name}  {_size(one.bytes):>8}  used {used}{f'  {one.examples:,} examples' * (one.examples > 0)}"


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
