"""Where problems come from: every source in one union, problems in memory, and weighted mixtures."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any

import tyro

from mtjax.data.arithmetic import Arithmetic
from mtjax.data.hub import Hub, content_digest
from mtjax.data.jsonl import Jsonl, nonempty, settings_digest
from mtjax.data.jsonl import collect as _collect
from mtjax.data.mined import Mined
from mtjax.data.problem import OnError, Problem, Problems, Split, problem_from_record
from mtjax.data.readers import BigBenchMistake, CotErrorSet, Gsm8k, Gsm8kSolutions, Svamp
from mtjax.data.tfds import Tfds
from mtjax.errors import InputError
from mtjax.mistakes.source import Mistakes


def _not_here(words: list[str]) -> Any:
    raise ValueError(f"{words}: problems and sources are written in a config file, not on the command line")


InConfigOnly = Annotated[
    tuple[Any, ...],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="(in a config file)",
        instance_from_str=_not_here,
        is_instance=lambda value: isinstance(value, tuple | list),
        str_from_instance=lambda value: [f"{len(value)} given in the config file"],
    ),
]
"""A tuple of anything, which the command line can keep but not write."""


@dataclasses.dataclass(frozen=True)
class InMemory:
    """Problems, or records in one of the schemas, that a config or a program already holds."""

    items: InConfigOnly = ()
    """`Problem`s or records (dicts)."""
    split: Split = "all"
    """Which part, by hash of the question."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems in order; records without an id are called `memory[0]`, `memory[1]`, ..."""

        def make(number: int) -> Problem:
            item = self.items[number]
            return item if isinstance(item, Problem) else problem_from_record(item, f"memory[{number}]")

        attempts = ((lambda number=number: make(number)) for number in range(len(self.items)))
        return nonempty(_collect(attempts, on_error, self.split), "memory", self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and content."""
        return content_digest(settings_digest(self, "items"), self.problems("skip").items)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Several sources, of which each example picks one with the given odds.

    The picks are seeded quotas (`mtjax.data.order`), so they need no history. Raises
    InputError for no sources, another number of weights, and weights that are not positive and finite.
    """

    sources: InConfigOnly
    """The sources."""
    weights: tuple[float, ...] = ()
    """The odds, one per source, in any unit; empty gives each source the same."""

    def __post_init__(self) -> None:
        """Check sources and weights at once: a mixture is written by hand."""
        if not self.sources:
            raise InputError("Mixture has no sources; give at least one")
        if self.weights and len(self.weights) != len(self.sources):
            raise InputError(
                f"Mixture has {len(self.sources)} sources and {len(self.weights)} weights; give one weight per source"
            )
        bad = [weight for weight in self.weights if not (math.isfinite(weight) and weight > 0)]
        if bad:
            raise InputError(f"Mixture weight {bad[0]}: expected a positive number; leave out a source to give it none")

    @property
    def shares(self) -> tuple[float, ...]:
        """The odds as probabilities that add up to 1."""
        weights = self.weights or (1.0,) * len(self.sources)
        return tuple(weight / math.fsum(weights) for weight in weights)

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems of all sources, one source after the other: weights do not matter here."""
        parts = [source.problems(on_error) for source in self.sources]
        items = [problem for part in parts for problem in part.items]
        return Problems(
            items, sum(part.skipped for part in parts), tuple(note for part in parts for note in part.notes)
        )

    def fingerprint(self) -> str:
        """sha256 of the shares and the sources' fingerprints."""
        digest = settings_digest(self, "sources", "weights")
        digest.update(repr(self.shares).encode())
        for source in self.sources:
            digest.update(source.fingerprint().encode())
        return digest.hexdigest()


Source = (
    Jsonl
    | InMemory
    | Hub
    | Tfds
    | Arithmetic
    | Gsm8k
    | Gsm8kSolutions
    | Svamp
    | BigBenchMistake
    | CotErrorSet
    | Mined
    | Mistakes
    | Mixture
)
"""Anything with `problems(on_error) -> Problems` and `fingerprint() -> str`; a tyro union of dataclasses."""

SOURCES: Mapping[str, type] = {
    "jsonl": Jsonl,
    "memory": InMemory,
    "hub": Hub,
    "tfds": Tfds,
    "arithmetic": Arithmetic,
    "gsm8k": Gsm8k,
    "gsm8k_solutions": Gsm8kSolutions,
    "svamp": Svamp,
    "bigbench_mistake": BigBenchMistake,
    "cot_error_set": CotErrorSet,
    "mined": Mined,
    "mistakes": Mistakes,
    "mixture": Mixture,
}
"""The sources by name."""


def weighted_sources(source: Source, weight: float = 1.0) -> list[tuple[Source, float]]:
    """The sources of a mixture (of mixtures) with their shares of examples."""
    if not isinstance(source, Mixture):
        return [(source, weight)]
    parts = zip(source.sources, source.shares, strict=True)
    return [pair for part, share in parts for pair in weighted_sources(part, weight * share)]
