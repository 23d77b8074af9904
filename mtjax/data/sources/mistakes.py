"""Mistake records as problems with pairs, to train on."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from mtjax.data.mistake_record import Mistake, from_json
from mtjax.data.problem import OnError, Pair, Problem, Problems, Split
from mtjax.data.sources.base import SOURCES, FileSource, collect, nonempty
from mtjax.io.jsonl import json_of
from mtjax.validation import Address

Kinds = Literal["all", "step", "solution", "whole"]
"""Which records to take: both kinds as they are, single steps, complete solutions, or both kinds as complete solutions.
"""


def pair_of(mistake: Mistake, whole: bool = False) -> Pair | None:
    """The pair that a record holds; None if a side is missing, or both are the same.

    With `whole` a step stands in its complete solution; None if it is not known how the wrong one continues.
    """
    if mistake.kind == "step" and whole and not continues(mistake):
        return None
    if mistake.kind == "solution" or whole:
        pair = Pair("", mistake.right_solution, mistake.wrong_solution, "full", mistake.error_type)
    else:
        pair = Pair(mistake.prefix, mistake.right_step, mistake.wrong_step, "step", mistake.error_type)
    usable = pair.chosen.strip() and pair.rejected.strip() and pair.chosen != pair.rejected
    return pair if usable else None


def continues(mistake: Mistake) -> bool:
    """Whether it is known how the wrong solution goes on after its wrong step, or that it ends there."""
    return bool(mistake.wrong_rest.strip() or mistake.wrong_answer or not mistake.right_rest.strip())


def pairs_of(mistakes: Iterable[Mistake], whole: bool = False) -> list[Problem]:
    """One problem per problem id and question, in order of appearance, with the pairs (`pair_of`) of its records.

    With `whole`, pairs that are equal count once.
    """
    problems: dict[tuple[str, str], Problem] = {}
    for mistake in mistakes:
        if pair := pair_of(mistake, whole):
            key, source = (mistake.problem_id, mistake.question), mistake.generator or "mistakes"
            first = next((one.content for one in mistake.messages if one.role == "user"), mistake.question)
            talk: dict[str, Any] = {"messages": mistake.messages, "tools": mistake.tools}
            problem = problems.get(key) or Problem(key[0], first, mistake.answer, source=source, **talk)
            if not (whole and pair in problem.pairs):  # the step and the solution of one mistake
                problems[key] = dataclasses.replace(problem, pairs=(*problem.pairs, pair))
    return list(problems.values())


@SOURCES.register("mistakes")
@dataclasses.dataclass(frozen=True)
class Mistakes(FileSource):
    """A file of mistake records, as `python -m mtjax.inject` and `mtjax.mine` write them: problems with pairs."""

    marks: ClassVar[tuple[str, ...]] = ("schema", "problem_id")
    example: ClassVar[str] = (
        '{"schema": 1, "id": "a/step/0", "kind": "step", "problem_id": "a", "question": "6 + 1 =", "answer": "7",'
        ' "right_step": "6 + 1 = 7", "wrong_step": "6 + 1 = 8", "error_type": "value", "verdict": "proved"}\n'
    )

    path: Annotated[str, Address]  # The JSONL file, plain or `.gz`.
    split: Split = "all"  # Which part, by hash of the question.
    kinds: Kinds = "all"
    """Which records: of steps, of complete solutions, or both as they are; whole: both, steps in their complete
    solutions."""
    keep_unproved: bool = False  # Take records whose wrong side nobody proved wrong, too; refuted ones are never taken.

    def problems(self, on_error: OnError = "raise") -> Problems:
        read = lambda line, where, id: from_json(json_of(line, where), where)
        found = collect(read, self.records(), self.path, on_error, self.split)
        mistakes: Sequence[Any] = found.items
        whole = self.kinds == "whole"
        asked = [mistake for mistake in mistakes if self.kinds in ("all", "whole", mistake.kind)]
        taken = ("proved", "unproved") if self.keep_unproved else ("proved",)
        proved = [mistake for mistake in asked if mistake.verdict in taken]
        unproved, unpaired = len(asked) - len(proved), sum(pair_of(mistake) is None for mistake in proved)
        unfinished = sum(pair_of(mistake) is not None and pair_of(mistake, whole) is None for mistake in proved)
        notes = list(found.notes)
        if unproved:
            notes.append(f"{unproved} records left out whose wrong side is not proved wrong (keep_unproved)")
        if unpaired:
            notes.append(f"{unpaired} records left out that have no right side beside the wrong one")
        if unfinished:
            notes.append(
                f"{unfinished} steps left out whose wrong solution is not known to its end (kinds=step has them)"
            )
        return nonempty(Problems(pairs_of(proved, whole), found.skipped, tuple(notes)), self.path, self.split)
