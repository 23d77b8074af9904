"""Transitions of errors between two models: which went away, which appeared, and what became what.

Everything starts from labels: for each problem, a word for each of its answers, `right` or what is wrong with it. What
is compared may be answers of two policies (`label_graded`), two mined files (`label_mined`), or pairs, each one answer
labelled `right` if the policy ranks it so and its `error_type` if not.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.data.answers import Verdict
from mtjax.data.arithmetic_checker import check_steps, first_wrong_step
from mtjax.data.expressions import parse_question
from mtjax.data.sources.mined import MinedProblem
from mtjax.errors import InputError
from mtjax.evaluation.grading import Graded
from mtjax.reporting.intervals import Interval, difference_interval
from mtjax.reporting.report import Cell, Table, format_table

RIGHT = "right"  # the label of an answer without an error
Labels = Mapping[str, Sequence[str]]  # the label of each answer, by the name of its problem


class Transitions(NamedTuple):
    """What became of the answers to N problems; shares are means over problems."""

    problems: int  # N
    kinds: tuple[str, ...]  # the K labels, `right` first, then the most frequent
    before: Float[np.ndarray, "N K"]  # share of each problem's answers with each label
    after: Float[np.ndarray, "N K"]
    table: Float[np.ndarray, "K K"]
    """Share of answers that were `kinds[i]` and are `kinds[j]`; rows add up to the mean of `before`, columns to that of
    `after`."""

    @property
    def went(self) -> Float[np.ndarray, " K"]:
        """Share of answers that had the label and have it no more."""
        return self.table.sum(axis=1) - np.diag(self.table)

    @property
    def appeared(self) -> Float[np.ndarray, " K"]:
        """Share of answers that have the label and had it not."""
        return self.table.sum(axis=0) - np.diag(self.table)

    def change(self, kind: str, *, level: float = 0.95, seed: int = 0) -> Interval:
        """After less before of one label, with a paired bootstrap interval over problems."""
        column = self.kinds.index(kind)
        return difference_interval(self.after[:, column], self.before[:, column], level=level, seed=seed)


def transitions(before: Labels, after: Labels) -> Transitions:
    """Compare two sets of graded answers to the same problems.

    With one answer per problem (greedy decoding, or a pair) it is plain counting. With several, answers have no
    partners: in each problem as many as can keep their label do, and the others turn into what is new, in proportion:
    `stay_k = min(b_k, a_k)` and `move_jk = (b_j - stay_j) (a_k - stay_k) / (1 - sum stay)`. With few answers per
    problem, noise then looks like errors that went and came; `Transitions.change` is free of that.

    Raises InputError if the problems differ, or one has no answers.
    """
    if before.keys() != after.keys() or not before:
        odd = sorted(before.keys() ^ after.keys())
        raise InputError(
            f"before has {len(before)} problems and after {len(after)}, such as {odd[:3]} in one only: expected the "
            "same problems on both sides, and some"
        )
    if empty := [name for name in before if not before[name] or not after[name]]:
        raise InputError(
            f"problem {empty[0]!r} has no answers on one side ({len(empty)} problems): leave it out of both"
        )
    count = Counter(label for side in (before, after) for labels in side.values() for label in labels)
    kinds = tuple(sorted(count.keys() | {RIGHT}, key=lambda kind: (kind != RIGHT, -count[kind], kind)))
    share = lambda labels: [list(labels).count(kind) / len(labels) for kind in kinds]
    first, second = (np.array([share(side[name]) for name in before]) for side in (before, after))
    stay = np.minimum(first, second)
    moved = 1 - stay.sum(axis=1)
    left, new = first - stay, second - stay
    moves = np.einsum("nj,nk->jk", left / np.where(moved > 0, moved, 1)[:, None], new) / len(before)
    return Transitions(len(before), kinds, first, second, moves + np.diag(stay.mean(axis=0)))


def slips_table(found: Transitions, *, level: float = 0.95) -> Table:
    """One row a label: share before and after, what went away and appeared, and the change with its interval."""
    before, after = found.before.mean(axis=0), found.after.mean(axis=0)
    columns = zip(found.kinds, before, after, found.went, found.appeared, strict=True)
    rows: list[tuple[Cell, ...]] = [
        (kind, *(float(share) for share in shares), found.change(kind, level=level)) for kind, *shares in columns
    ]
    caption = f"Share of answers by what is wrong first, over {found.problems:,} problems; {level:.0%} intervals."
    return Table(("answers", "before", "after", "went away", "appeared", "change"), rows, caption)


def transition_table(found: Transitions) -> Table:
    """Rows: what an answer was before; columns: what it is after; None where that never happened."""
    shares = ([float(share) if share > 0 else None for share in row] for row in found.table)
    rows = [(kind, *row) for kind, row in zip(found.kinds, shares, strict=True)]
    return Table(("before \\ after", *found.kinds), rows, "Share of answers that were one thing and became another.")


def format_transitions(found: Transitions, *, level: float = 0.95) -> str:
    """Both tables as text for a terminal."""
    return f"{format_table(slips_table(found, level=level))}\n\n{format_table(transition_table(found))}"


def label_answer(question: str, text: str, verdict: Verdict | str = Verdict.UNKNOWN) -> str:
    """The first error of an answer, or `right`.

    Generated arithmetic is checked step by step: an `error_type` such as "carry" if a step is proved wrong, else what
    `check_steps` finds, such as "missing" or "format". For other problems it is the verdict on the final answer:
    "right", "wrong" or "unknown".
    """
    if parse_question(question) is None:
        return verdict.value if isinstance(verdict, Verdict) else verdict
    report = check_steps(question, text)
    if report.first_wrong is None:
        return RIGHT
    step = first_wrong_step(question, text)
    return step.error_type if step else report.errors[0].kind


def label_graded(ids: Sequence[str], questions: Sequence[str], graded: Graded) -> dict[str, list[str]]:
    """The labels of checked answers, such as `Evaluation.greedy` or `Evaluation.sampled`; N ids, questions and rows."""
    out: dict[str, list[str]] = {}
    for name, question, texts, verdicts in zip(ids, questions, graded.texts, graded.verdicts, strict=True):
        labels = [label_answer(question, text, verdict) for text, verdict in zip(texts, verdicts, strict=True)]
        out.setdefault(name, []).extend(labels)
    return out


def label_mined(problems: Iterable[MinedProblem]) -> dict[str, list[str]]:
    """The labels of mined solutions, each as often as it was drawn; problems without samples are left out."""
    out: dict[str, list[str]] = {}
    for problem in problems:
        for solution in problem.solutions:
            label = label_answer(problem.question, solution.text, solution.verdict)
            out.setdefault(problem.id, []).extend([label] * solution.count)
    return out
