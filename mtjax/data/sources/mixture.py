"""Weighted mixtures of sources."""

import dataclasses
import math
from typing import Any

from mtjax.data.problem import OnError, Problems
from mtjax.data.sources.base import SOURCES, Source, fingerprint_of
from mtjax.data.sources.memory import InConfigOnly
from mtjax.errors import InputError


@SOURCES.register("mixture")
@dataclasses.dataclass(frozen=True)
class Mixture(Source):
    """Several sources, of which each example picks one with the given odds.

    The picks are seeded quotas (`mtjax.data.packing`), so they need no history. Raises InputError for no sources,
    another number of weights, and weights that are not positive and finite.
    """

    sources: InConfigOnly  # The sources.
    weights: tuple[float, ...] = ()  # The odds, one per source, in any unit; empty gives each source the same.

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("Mixture has no sources; give at least one")
        if self.weights and len(self.weights) != len(self.sources):
            raise InputError(
                f"Mixture has {len(self.sources)} sources and {len(self.weights)} weights; give one weight per source"
            )
        for weight in self.weights:
            if not 0 < weight < math.inf:
                raise InputError(
                    f"Mixture weight {weight}: expected a positive number; leave out a source to give it none"
                )

    @property
    def shares(self) -> tuple[float, ...]:
        """The odds as probabilities that add up to 1."""
        weights = self.weights or (1.0,) * len(self.sources)
        return tuple(weight / math.fsum(weights) for weight in weights)

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems of all sources, one source after the other: weights do not matter here."""
        parts = [source.problems(on_error) for source in self.sources]
        items = [problem for part in parts for problem in part.items]
        notes = tuple(note for part in parts for note in part.notes)
        return Problems(items, sum(part.skipped for part in parts), notes)

    def fingerprint(self) -> str:
        parts = [repr(self.shares), *(source.fingerprint() for source in self.sources)]
        return fingerprint_of(self, "sources", "weights", content=map(str.encode, parts))


def weighted_sources(source: Any, weight: float = 1.0) -> list[tuple[Any, float]]:
    """The sources of a mixture (of mixtures) with their shares of examples."""
    if not isinstance(source, Mixture):
        return [(source, weight)]
    parts = zip(source.sources, source.shares, strict=True)
    return [pair for part, share in parts for pair in weighted_sources(part, weight * share)]
