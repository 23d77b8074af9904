"""The contract of a check, its registry, and what a check reads and finds."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from mtjax.data.features import hashed
from mtjax.data.problem import Problem
from mtjax.data.selection.base import asked
from mtjax.io.hashing import random_order
from mtjax.registry import Registry
from mtjax.reporting.report import Table
from mtjax.validation import check_types

CHECKS = Registry("check", requires=("__call__", "needs", "by_default"))  # Every check by name.

Need = Literal["against", "score", "judgements", "dates"]
"""What a check may need besides the data; the fields of `Subject` say what each is."""

Fix = Literal["", "drop", "flip", "answer"]
"""What would repair a record: leave out the problem or the text, move a text to the other side, give another answer; ""
where nothing is proposed."""

RIGHT, WRONG = "right", "wrong"  # Labels of solutions.


class Item(NamedTuple):
    """One labelled text."""

    number: int  # the place of its problem in the data, from 0
    id: str  # the id of its problem
    part: str  # which text of the problem: right/0, wrong/2, pair/0/chosen, pair/0/rejected, or answer
    question: str  # what is asked
    text: str  # the text; "" where the label is that of the question, such as an option's letter
    label: str  # its label in the data


class Flag(NamedTuple):
    """One record, or one text of it, that is probably not as it should be."""

    number: int  # the place of the problem in the data, from 0
    id: str  # the id of the problem
    reason: str  # a sentence
    part: str = ""  # which text of the problem, as in `Item`; "" for all of it
    score: float | None = None  # how sure the check is; higher is surer
    fix: Fix = ""  # what would repair it
    to: str = ""  # the label or answer that the check holds for right


class Found(NamedTuple):
    """What a check found."""

    flags: Sequence[Flag] = ()  # in the order of the data
    facts: Sequence[str] = ()  # sentences about all of the data, in Markdown
    tables: Sequence[Table] = ()  # numbers
    skipped: str = ""  # why there was nothing to check; then the rest is empty
    records: Sequence[Mapping[str, Any]] = ()  # JSON objects of all that was measured, written to `NAME.jsonl`


Texts = Sequence[tuple[str, str]]
"""Prompts and the texts that follow them; an empty prompt scores a text by itself."""

Scorer = Callable[[Texts], list[np.ndarray]]
"""Log-probabilities (nats) of the tokens of each text after its prompt, `[n]` float64, without an end token. The first
token of a text without a prompt is not predicted, and left out."""

Embedder = Callable[[Sequence[str]], Any]
"""Features of texts, `[N, D]`: a NumPy array or a sparse matrix of SciPy."""

Judged = Mapping[str, float]
"""Probability of each label by one judge and prompt."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """The data to check, and what else was given."""

    read: Callable[[], Iterator[Problem]]  # reads the data from the start, one problem after the other
    against: Callable[[], Iterator[Problem]] | None = None  # the same of other data, such as a test set
    score: Scorer | None = None  # log-probabilities under a model
    reference: Scorer | None = None  # the same under another model, to compare with
    embed: Embedder = hashed  # features of texts
    judgements: Callable[[Sequence[Item]], Sequence[Sequence[Judged]]] | None = None  # what each judge says of items
    dates: Mapping[int, str] | None = None  # `YYYY-MM-DD` or `YYYY-MM` by number of the problem
    truth: Mapping[int, frozenset[str]] | None = None  # what is planted in a problem; see docs/audit.md
    seed: int = 0  # of everything that is drawn


class Check:
    """Base class of checks: frozen dataclasses that are called with a `Subject`."""

    needs: ClassVar[tuple[Need, ...]] = ()  # it is skipped, with a reason, where one of these is not given
    by_default: ClassVar[bool] = True  # whether it runs without being named
    of_texts: ClassVar[bool] = False  # whether it flags texts of problems; planted texts count for it then

    def __post_init__(self) -> None:
        check_types(self, str(CHECKS.name_of(self)))

    def __call__(self, subject: Subject) -> Found:
        """What is found; the same subject gives the same result."""
        raise NotImplementedError


def items_of(number: int, problem: Problem) -> list[Item]:
    """The labelled texts of a problem: right and wrong solutions, both sides of pairs, or an option's letter.

    >>> [item.part for item in items_of(0, Problem("p", "1 + 1 =", "2", ("2",), ("3",)))]
    ['right/0', 'wrong/0']
    """
    about = (number, problem.id)
    question = asked(problem) if problem.question or problem.messages else ""
    found = [Item(*about, f"{RIGHT}/{n}", question, text, RIGHT) for n, text in enumerate(problem.right)]
    found += [Item(*about, f"{WRONG}/{n}", question, text, WRONG) for n, text in enumerate(problem.wrong)]
    for n, pair in enumerate(problem.pairs):
        context = f"{question}\n{pair.context}" if pair.context else question
        found.append(Item(*about, f"pair/{n}/chosen", context, pair.chosen, RIGHT))
        found.append(Item(*about, f"pair/{n}/rejected", context, pair.rejected, WRONG))
    if (label := label_of(problem)) and not (problem.wrong or problem.pairs):
        found.append(Item(*about, "answer", question, "", label))
    return found


def label_of(problem: Problem) -> str:
    """What may be the class of a problem: its answer, or a short completion; "" if it has none."""
    short = problem.right[0].strip() if len(problem.right) == 1 else ""
    return problem.answer or (short if len(short) <= LONGEST_LABEL else "")


LONGEST_LABEL = 40  # Characters of a completion that may be a class.
MOST_LABELS = 20  # Different answers of data that are taken for classes.


def labelled(subject: Subject) -> list[Item]:
    """The items of all data with a closed set of labels, held in memory; empty if there is none.

    These are right and wrong texts where there are both, else the answers where they are few and each comes often: at
    most `MOST_LABELS`, each at least five times.
    """
    sides: set[str] = set()
    answers: dict[str, int] = {}
    for number, problem in enumerate(subject.read()):
        for item in items_of(number, problem):
            if item.part != "answer":
                sides.add(item.label)
            elif len(answers) <= MOST_LABELS:
                answers[item.label] = answers.get(item.label, 0) + 1
    is_class = 1 < len(answers) <= MOST_LABELS and min(answers.values()) >= 5
    if len(sides) < 2 and not is_class:
        return []
    found = (item for number, problem in enumerate(subject.read()) for item in items_of(number, problem))
    return [item for item in found if (item.part == "answer") == (len(sides) < 2)]


def folds_of(groups: Sequence[int], folds: int, seed: int) -> np.ndarray:
    """The fold of each item, `[N]`; items of one group are in one fold, and each fold has items if possible."""
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    return (random_order(len(names), seed) % folds)[places]
