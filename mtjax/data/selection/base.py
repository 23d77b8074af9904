"""The contract of a selection, its registry, and a source with selections applied to it."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from mtjax.data.problem import OnError, Problem, Problems
from mtjax.data.sources import Source, weighted_sources
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.registry import Registry


class Selected(NamedTuple):
    """The result of a selection.

    Attributes:
        items: the problems that are kept, in the order in which they came.
        notes: one sentence for each kind of thing to report, such as how many problems were dropped and why.
    """

    items: list[Problem]
    notes: tuple[str, ...] = ()


class Selection:
    """Base class of selections: frozen dataclasses that are called with problems.

    Selecting twice gives what selecting once gives, and the same key gives the same result.
    """

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        """The problems to keep. `key` seeds whatever is drawn."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A digest (hex) of all that the result depends on, apart from the problems and the key."""
        return digest(type(self).__name__, self)


SELECTIONS = Registry("selection", requires=("__call__", "fingerprint"))
"""Every selection by name."""

KEY = 0
"""The key of selections in training data: the same for every seed, so that runs share the tokenised data."""


@dataclasses.dataclass(frozen=True)
class _SelectedSource(Source):
    source: Any
    selections: tuple[Any, ...]

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems of the source that every selection keeps, with their notes."""
        found = self.source.problems(on_error)
        items, notes = found.items, list(found.notes)
        for selection in self.selections:
            items, said = selection(items, KEY)
            notes += said
        if not items:
            raise InputError(f"data.selections leave no problem ({'; '.join(notes)}); remove a selection")
        return Problems(items, found.skipped, tuple(notes))

    def fingerprint(self) -> str:
        """Digest of the source and the selections."""
        return digest(self.source.fingerprint(), [selection.fingerprint() for selection in self.selections])


def select(source: Any, selections: Sequence[Any]) -> Any:
    """The source with selections applied in order; the source itself without any.

    Raises:
        InputError: something in `selections` is not a selection.
    """
    for selection in selections:
        if not isinstance(selection, Selection):
            raise InputError(
                f"data.selections holds {selection!r:.80}; expected selections, such as Deduplicate() "
                f"(known: {', '.join(SELECTIONS)})"
            )
    return _SelectedSource(source, tuple(selections)) if selections else source


def selected_sources(source: Any, selections: Sequence[Any]) -> list[tuple[Any, float]]:
    """The sources of a mixture with selections applied to each, and their shares of examples."""
    return [(select(part, selections), weight) for part, weight in weighted_sources(source)]
