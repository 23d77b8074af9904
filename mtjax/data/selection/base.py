"""The contract of a selection, its registry, and a source with selections applied to it."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from mtjax.data.messages import context_text
from mtjax.data.problem import OnError, Problem, Problems
from mtjax.data.sources import Source, weighted_sources
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.registry import Registry

ASKED = "turns, composed"  # How `asked` and `normalized` read: data selected by an earlier reading are made again.
KEY = 0  # The key of selections in training data: the same for every seed, so that runs share the tokenised data.


def asked(problem: Problem) -> str:
    """What a problem asks, as text: its question, the turns of a conversation before its last answer, or its own text.

    >>> asked(Problem("p", "", right=("a plain text",)))
    'a plain text'
    """
    turns = problem.messages[:-1] if problem.messages and problem.messages[-1].role == "assistant" else problem.messages
    return context_text(problem.question, turns) or "\n".join(problem.right)


class Selected(NamedTuple):
    """The result of a selection."""

    items: list[Problem]  # the problems that are kept, in the order in which they came
    notes: tuple[str, ...] = ()  # sentences to report, such as how many problems were dropped and why


class Selection:
    """Base class of selections: frozen dataclasses that are called with problems."""

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        """The problems to keep; selecting again keeps all of them. `key` seeds whatever is drawn."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A digest (hex) of all that the result depends on, apart from the problems and the key."""
        return digest(type(self).__name__, self, ASKED)

    def keep(self, items: list[Problem], problems: Sequence[Problem], why: str) -> Selected:
        """The result that keeps `items` of `problems`, with a note that says why others are dropped, if any are."""
        dropped, name = len(problems) - len(items), SELECTIONS.name_of(self)
        note = f"{name} dropped {dropped:,} of {len(problems):,} problems: {why}"
        return Selected(items, (note,) if dropped else ())


SELECTIONS = Registry("selection", requires=("__call__", "fingerprint"))  # Every selection by name.


@dataclasses.dataclass(frozen=True)
class _SelectedSource(Source):
    source: Any
    selections: tuple[Any, ...]

    def problems(self, on_error: OnError = "raise") -> Problems:
        found = self.source.problems(on_error)
        items, notes = found.items, list(found.notes)
        for selection in self.selections:
            items, more = selection(items, KEY)
            notes += more
        if not items:
            raise InputError(f"data.selections leave no problem ({'; '.join(notes)}); remove a selection")
        return Problems(items, found.skipped, tuple(notes))

    def fingerprint(self) -> str:
        return digest(self.source.fingerprint(), [selection.fingerprint() for selection in self.selections])


def select(source: Any, selections: Sequence[Any]) -> Any:
    """The source with selections applied in order; the source itself without any. InputError for other objects."""
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
