"""Mistake records as problems with pairs, to train on."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from mtjax.data.mistake_record import Mistake, from_json
from mtjax.data.problem import OnError, Pair, Problem, Problems, Split
from mtjax.data.sources.base import SOURCES, FileSource, collect, nonempty
from mtjax.io.jsonl import json_of

Kinds = Literal["all", "step", "solution"]  # Which records to take: both kinds, single steps, or complete solutions.


def pair_of(mistake: Mistake) -> Pair | None:
    """The pair that a record holds; None if a side is missing, or both are the same."""
    if mistake.kind == "solution":
        pair = Pair("", mistake.right_solution, mistake.wrong_solution, "full", mistake.error_type)
    else:
        pair = Pair(mistake.prefix, mistake.right_step, mistake.wrong_step, "step", mistake.error_type)
    usable = pair.chosen.strip() and pair.rejected.strip() and pair.chosen != pair.rejected
    return pair if usable else None


def pairs_of(mistakes: Iterable[Mistake]) -> list[Problem]:
    """One problem per problem id and question, in order of appearance, with the pairs (`pair_of`) of its records."""
    problems: dict[tuple[str, str], Problem] = {}
    for mistake in mistakes:
        if pair := pair_of(mistake):
            key, source = (mistake.problem_id, mistake.question), mistake.generator or "mistakes"
            problem = problems.get(key) or Problem(*key, mistake.answer, source=source)
            problems[key] = dataclasses.replace(problem, pairs=(*problem.pairs, pair))
    return list(problems.values())


@SOURCES.register("mistakes")
@dataclasses.dataclass(frozen=True)
class Mistakes(FileSource):
    """A file of mistake records, as `python -m mtjax.inject` and `mtjax.mine` write them: problems with pairs."""

    example: ClassVar[str] = (
        '{"schema": 1, "id": "a/step/0", "kind": "step", "problem_id": "a", "question": "6 + 1 =", "answer": "7",'
        ' "right_step": "6 + 1 = 7", "wrong_step": "6 + 1 = 8", "error_type": "value", "verdict": "proved"}\n'
    )

    path: str  # The JSONL file, plain or `.gz`.
    split: Split = "all"  # Which part, by hash of the question.
    kinds: Kinds = "all"  # Which records: of steps, of complete solutions, or both.
    keep_unproved: bool = False  # Take records whose wrong side nobody proved wrong, too; refuted ones are never taken.

    def problems(self, on_error: OnError = "raise") -> Problems:
        read = lambda line, where, id: from_json(json_of(line, where), where)
        found = collect(read, self.records(), self.path, on_error, self.split)
        mistakes: Sequence[Any] = found.items
        asked = [mistake for mistake in mistakes if self.kinds in ("all", mistake.kind)]
        taken = ("proved", "unproved") if self.keep_unproved else ("proved",)
        proved = [mistake for mistake in asked if mistake.verdict in taken]
        unproved, unpaired = len(asked) - len(proved), sum(pair_of(mistake) is None for mistake in proved)
        notes = list(found.notes)
        if unproved:
            notes.append(f"{unproved} records left out whose wrong side is not proved wrong (keep_unproved)")
        if unpaired:
            notes.append(f"{unpaired} records left out that have no right side beside the wrong one")
        return nonempty(Problems(pairs_of(proved), found.skipped, tuple(notes)), self.path, self.split)
