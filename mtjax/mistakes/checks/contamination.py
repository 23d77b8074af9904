"""Problems that are in other data too, such as test questions in training data."""

import collections
import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, NamedTuple

from annotated_types import Ge, Lt

from mtjax.data.problem import Problem
from mtjax.data.selection.base import asked
from mtjax.data.selection.deduplicate import normalized
from mtjax.mistakes.checks.base import CHECKS, Check, Flag, Found, Need, Subject
from mtjax.reporting.report import Table
from mtjax.validation import PositiveInt


class Match(NamedTuple):
    """The text of an index that a text overlaps most with."""

    number: int  # of the text in the index
    covered: float  # share of its words that stand in a common n-gram


class OverlapIndex:
    """The n-grams of texts, to look other texts up in.

    A word of an indexed text is covered by another text if it stands in an n-gram that both have. A text of fewer than
    n words is covered by an equal text alone.
    """

    def __init__(self, texts: Iterable[str], words: int):
        self.words = words
        self.lengths: list[int] = []
        self.places: dict[tuple[str, ...], list[tuple[int, int]]] = collections.defaultdict(list)
        for number, text in enumerate(texts):
            parts = tuple(normalized(text).split())
            self.lengths.append(len(parts))
            size = min(words, len(parts))
            for start in range(len(parts) - size + 1 if parts else 0):
                self.places[parts[start : start + size]].append((number, start))

    def matches(self, text: str) -> list[Match]:
        """The indexed texts that share an n-gram with a text, by number, and how far it covers them."""
        parts = tuple(normalized(text).split())
        covered: dict[int, set[int]] = collections.defaultdict(set)
        size = min(self.words, len(parts))
        for start in range(len(parts) - size + 1 if parts else 0):
            for number, at in self.places.get(parts[start : start + size], ()):
                covered[number].update(range(at, at + size))
        return [Match(number, len(words) / self.lengths[number]) for number, words in sorted(covered.items())]


@CHECKS.register("contamination")
@dataclasses.dataclass(frozen=True)
class Contamination(Check):
    """Problems whose question is in the data of `--against`, such as a test set.

    A word of a test question matches if it stands in an n-gram that it shares with one training question; a training
    question is flagged that matches more than `share` of the words of one test question. Matches with several training
    questions are not added up. With `share=0` one common n-gram is enough, as in LiveAoPSBench. The data are
    contaminated if more than `tolerated` of the test questions are matched.

    Words are compared in lower case and without punctuation; signs of arithmetic and numbers are words. Only questions
    are compared, of conversations all turns before the last answer. The other data are held in memory, these are not.

    Source: Lambert et al., "Tulu 3", 2024 (arXiv 2411.15124), section 3.2: n = 8, share 0.5, 2 % tolerated; Mahdavi et
    al., "Leveraging Online Olympiad-Level Math Problems", 2025 (arXiv 2501.14275): one 8-gram.
    """

    needs: ClassVar[tuple[Need, ...]] = ("against",)

    words: PositiveInt = 8  # Words of an n-gram.
    share: Annotated[float, Ge(0), Lt(1)] = 0.5  # Of the words of the other question, that must be exceeded.
    tolerated: Annotated[float, Ge(0), Lt(1)] = 0.02  # Share of the other questions that may be matched.

    def __call__(self, subject: Subject) -> Found:
        assert subject.against is not None
        others: list[Problem] = list(subject.against())
        index = OverlapIndex(map(asked, others), self.words)
        flags, best, touched = [], dict[int, float](), set[int]()
        for number, problem in enumerate(subject.read()):
            found = index.matches(asked(problem))
            touched |= {match.number for match in found}
            strong = [match for match in found if match.covered > self.share]
            for match in strong:
                best[match.number] = max(match.covered, best.get(match.number, 0.0))
            if strong:
                most = max(strong, key=lambda match: (match.covered, -match.number))
                reason = (
                    f"has {most.covered:.0%} of the words of {others[most.number].place} in common {self.words}-grams"
                )
                flags.append(Flag(number, problem.id, reason, "", most.covered, "drop"))
        rate = len(best) / max(len(others), 1)
        verdict = "more than" if rate > self.tolerated else "not more than"
        facts = [
            f"{len(best):,} of {len(others):,} other questions ({rate:.1%}) are matched: {verdict} the tolerated "
            f"{self.tolerated:.0%}. {len(touched):,} share at least one {self.words}-gram."
        ]
        rows: list[list[Any]] = [
            [f"over {low:.0%}", sum(x > low for x in best.values())] for low in (0.5, 0.7, 0.9) if low >= self.share
        ]
        return Found(flags, facts, (Table(("words matched", "other questions"), rows),) if best else ())
