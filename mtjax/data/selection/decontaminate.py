"""Drop problems that overlap with another source, such as the test set."""

import dataclasses
from collections.abc import Iterator, Sequence

from mtjax.data.problem import Problem
from mtjax.data.selection.base import ASKED, SELECTIONS, Selected, Selection, asked
from mtjax.data.selection.deduplicate import normalized
from mtjax.data.sources import AnySource
from mtjax.errors import InputError
from mtjax.io.hashing import digest


def ngrams(text: str, words: int) -> Iterator[tuple[str, ...]]:
    """The n-grams of a normalised text; a shorter text is one n-gram by itself.

    >>> list(ngrams("a b c", 2))
    [('a', 'b'), ('b', 'c')]
    """
    parts = normalized(text).split()
    for start in range(max(len(parts) - words, 0) + 1 if parts else 0):
        yield tuple(parts[start : start + words])


@SELECTIONS.register("decontaminate")
@dataclasses.dataclass(frozen=True)
class Decontaminate(Selection):
    """Drop problems whose question shares an n-gram of words with a question of another source.

    A question with fewer words than an n-gram must be equal to the other one. Of a conversation all turns before the
    last answer count, and of a record without a question its text.

    Source: Brown et al., "Language Models are Few-Shot Learners", 2020 (arXiv 2005.14165), appendix C (13-grams).
    """

    against: AnySource  # Source of the problems that must not occur, such as the test set.
    words: int = 13  # Length of an n-gram, in words, numbers and signs.

    def __post_init__(self) -> None:
        if self.words < 1:
            raise InputError(f"words={self.words}: expected at least 1")

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        seen = {gram for other in self.against.problems().items for gram in ngrams(asked(other), self.words)}
        kept = [problem for problem in problems if seen.isdisjoint(ngrams(asked(problem), self.words))]
        return self.keep(kept, problems, f"{self.words}-gram overlap")

    def fingerprint(self) -> str:
        return digest(type(self).__name__, self.words, self.against.fingerprint(), ASKED)
