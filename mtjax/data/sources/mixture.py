"""Weighted mixtures of sources."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from mtjax.data.problem import OnError, Problems
from mtjax.data.sources.base import SOURCES, Source, fingerprint_of
from mtjax.data.sources.memory import InConfigOnly
from mtjax.errors import InputError
from mtjax.validation import PositiveInt, check_types


@SOURCES.register("mixture")
@dataclasses.dataclass(frozen=True)
class Mixture(Source):
    """Several sources, of which each example picks one with the given odds.

    Formula: `odds = weight * min(examples, cap) ** (1 / temperature)`, or the weight alone without a temperature. With
    temperature 1, a weight counts passes over its source; above it, small sources come more often.

    The picks are seeded quotas (`mtjax.data.order`), so they need no history. Raises InputError for no sources,
    another number of weights or epochs, and values that are not positive and finite.

    Source: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020
    (arXiv 1910.10683), section 3.5.2, which writes the cap K and the temperature T.
    """

    before: ClassVar[dict[str, Any]] = {"temperature": None, "cap": None, "epochs": ()}

    sources: InConfigOnly  # The sources.
    weights: tuple[float, ...] = ()  # The odds, one per source, in any unit; empty gives each source the same.
    temperature: float | None = None  # Odds also by the size of each source, to the power of 1 / temperature.
    cap: PositiveInt | None = None  # With a temperature: the most examples that a source counts with.
    epochs: tuple[float | None, ...] = ()
    """Most passes over each source, None for no limit; then its share goes to the others. Empty limits none."""

    def __post_init__(self) -> None:
        check_types(self)
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

        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise InputError(f"Mixture temperature {self.temperature}: expected a positive number, or None")
        if self.cap is not None and self.temperature is None:
            raise InputError(f"Mixture cap {self.cap} is for a temperature, such as 1.0, which sets odds by size")
        if self.epochs and len(self.epochs) != len(self.sources):
            raise InputError(
                f"Mixture has {len(self.sources)} sources and {len(self.epochs)} epochs; give one per source, or None"
            )
        for limit in self.epochs:
            if limit is not None and not 0 < limit < math.inf:
                raise InputError(f"Mixture epochs {limit}: expected a positive number, or None for no limit")
        if self.epochs and None not in self.epochs:
            raise InputError(
                f"Mixture epochs {self.epochs} limit every source, so the data would end; leave one with None, and end "
                "the run with steps"
            )

    @property
    def shares(self) -> tuple[float, ...]:
        """The odds as probabilities that add up to 1."""
        weights = self.weights or (1.0,) * len(self.sources)
        return tuple(weight / math.fsum(weights) for weight in weights)

    def shares_by_size(self, sizes: Sequence[int]) -> list[float]:
        """The odds as probabilities, for sources of these numbers of examples."""
        if self.temperature is None:
            return list(self.shares)
        odds = [w * min(n, self.cap or n) ** (1 / self.temperature) for w, n in zip(self.shares, sizes, strict=True)]
        return [one / math.fsum(odds) for one in odds]

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


class Part(NamedTuple):
    """One source of a mixture as it is trained."""

    share: float  # of the examples
    epochs: float  # most passes over it; infinite without a limit

    def most_rows(self, rows: int) -> float:
        """The limit in rows, at least one, of a source of so many rows."""
        return float(max(round(self.epochs * rows), 1)) if self.epochs < math.inf else math.inf


def parts_of(source: Any, sizes: Sequence[int], weight: float = 1.0) -> list[Part]:
    """The parts of a mixture (of mixtures), whose sources (in the order of `weighted_sources`) have these sizes.

    A limit of epochs of a mixture within a mixture holds for each of its sources that has none of its own.
    """
    if not isinstance(source, Mixture):
        return [Part(weight, math.inf)]
    own, start = [], 0
    for part in source.sources:
        end = start + len(weighted_sources(part))
        own.append(sizes[start:end])
        start = end
    shares = source.shares_by_size([sum(part) for part in own])
    limits = [math.inf if limit is None else limit for limit in source.epochs] or [math.inf] * len(own)
    return [
        inner._replace(epochs=min(limit, inner.epochs))
        for part, some, share, limit in zip(source.sources, own, shares, limits, strict=True)
        for inner in parts_of(part, some, weight * share)
    ]


def mixing_of(source: Any) -> list[Any]:
    """What decides how the sources of a mixture (of mixtures) are mixed beside their shares, for fingerprints."""
    if not isinstance(source, Mixture):
        return []
    own = {name: getattr(source, name) for name in source.before if getattr(source, name) != source.before[name]}
    inner = [found for number, part in enumerate(source.sources) for found in [(number, mixing_of(part))] if found[1]]
    return [*([own] if own else []), *inner]
