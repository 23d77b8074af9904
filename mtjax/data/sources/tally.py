"""Counts of what is odd in the records of a source: empty texts, ids and records that stand more than once."""

import array
import hashlib

import numpy as np

from mtjax.data.problem import Problem


class Tally:
    """Counts over the problems of a source, in 16 bytes a problem; `notes` gives a sentence for each."""

    def __init__(self) -> None:
        self.ids, self.contents = array.array("Q"), array.array("Q")
        self.empty, self.first = 0, ""

    def add(self, problem: Problem) -> None:
        """Count one more problem."""
        self.ids.append(_number(problem.id))
        self.contents.append(_number(key_of(problem)))
        if empty := empty_text(problem):
            self.empty += 1
            self.first = self.first or f"{empty} in {problem.place}"

    def merge(self, later: "Tally") -> None:
        """Add the counts of the problems that follow."""
        self.ids.extend(later.ids)
        self.contents.extend(later.contents)
        self.empty, self.first = self.empty + later.empty, self.first or later.first

    def notes(self) -> tuple[str, ...]:
        """One sentence per kind that was found."""
        notes = []
        if self.empty:
            notes.append(f"{self.empty:,} records have an empty text; the first: {self.first}")
        copies, second, first = repeats(self.contents)
        if copies:
            notes.append(
                f"{copies:,} records are copies of earlier ones; the first: number {second + 1}, of {first + 1}"
            )
        ids, second, first = repeats(self.ids)
        if ids:
            notes.append(
                f"{ids:,} records have the id of an earlier one, and cannot be told apart in messages; the first: "
                f"number {second + 1}, of {first + 1}"
            )
        return tuple(notes)


def _number(value: object) -> int:
    text = repr(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def repeats(numbers: array.array) -> tuple[int, int, int]:
    """How many numbers stand earlier too, and of the first such one: its place, and that of the earlier one."""
    values = np.frombuffer(numbers, np.uint64) if len(numbers) else np.zeros(0, np.uint64)
    _, place, inverse = np.unique(values, return_index=True, return_inverse=True)
    first = place[inverse]
    again = np.flatnonzero(first != np.arange(len(values)))
    return (len(again), int(again[0]), int(first[again[0]])) if len(again) else (0, 0, 0)


def key_of(problem: Problem) -> tuple[object, ...]:
    """All texts of a problem: two records with equal ones are copies."""
    turns = tuple((one.role, one.content, one.tool_calls) for one in problem.messages)
    pairs = tuple((pair.context, pair.chosen, pair.rejected) for pair in problem.pairs)
    return problem.question, problem.answer, problem.right, problem.wrong, turns, pairs


def empty_text(problem: Problem) -> str:
    """Which text of a problem is empty, in words; "" if none is."""
    texts = {"a question": [problem.question] if problem.question or not problem.right else []}
    texts["a message"] = [one.content for one in problem.messages if not one.tool_calls]
    texts["a solution"] = [*problem.right, *problem.wrong]
    texts["a side of a pair"] = [text for pair in problem.pairs for text in (pair.chosen, pair.rejected)]
    return next((name for name, found in texts.items() if any(not text.strip() for text in found)), "")
