"""Problems that a config or a program already holds, as a source."""

import dataclasses
from functools import partial
from typing import Annotated, Any

import tyro

from mtjax.data.formats import Reader
from mtjax.data.problem import OnError, Problem, Problems, Split
from mtjax.data.sources.base import SOURCES, Source, collect, fingerprint_of, problem_digests, readable
from mtjax.errors import InputError
from mtjax.io.hashing import digest


def _not_here(words: list[str]) -> Any:
    raise ValueError(f"{words}: problems and sources are written in a config file, not on the command line")


_IN_CONFIG_ONLY = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="(in a config file)",
    instance_from_str=_not_here,
    is_instance=lambda value: isinstance(value, tuple | list),
    str_from_instance=lambda value: [f"{len(value)} given in the config file"],
)
InConfigOnly = Annotated[tuple[Any, ...], _IN_CONFIG_ONLY]  # A tuple that the command line can keep but not write.


@SOURCES.register("memory")
@dataclasses.dataclass(frozen=True)
class InMemory(Source):
    """Problems, or records in any format of docs/data.md, that a config or a program already holds."""

    items: InConfigOnly = ()  # `Problem`s or records (dicts).
    split: Split = "all"  # Which part, by hash of the question.
    not_kept: Annotated[str, tyro.conf.Suppress] = ""
    """In the snapshot of a run, which does not hold the items: how many there were, and their fingerprint."""

    def as_kept(self) -> "InMemory":
        """What the snapshot of a run has in place of this source: number and fingerprint of the items."""
        if not self.items:
            return self
        content = digest(*problem_digests(InMemory(self.items).problems("skip").items))
        return InMemory((), self.split, f"{len(self.items)} items, content {content}")

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems in order; records without an id are called `memory[0]`, `memory[1]`, ..."""
        if self.not_kept and not self.items:
            raise InputError(
                f"the data of this run were in memory ({self.not_kept}), and its snapshot does not hold them: start it "
                "from the program that has them, or name a source, such as data.source:jsonl --data.source.path=FILE"
            )
        reader = Reader()
        found = collect(partial(self._problem, reader), enumerate(self.items), "memory", on_error, self.split)
        return found._replace(notes=(*found.notes, *reader.notes()))

    def _problem(self, reader: Reader, number: int, item: Any) -> Problem:
        where = f"memory[{number}]"
        return item if isinstance(item, Problem) else reader.read(item, where, where)

    def fingerprint(self) -> str:
        content = problem_digests(readable(partial(self._problem, Reader()), enumerate(self.items), self.split))
        return fingerprint_of(self, "items", "not_kept", content=content)
