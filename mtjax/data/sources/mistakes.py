"""Mistake records as problems with pairs, to train on."""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar, Literal

from mtjax.data.mistake_record import Mistake, from_json
from mtjax.data.problem import OnError, Pair, Problem, Problems, Split, in_split
from mtjax.data.sources.base import SOURCES, FileSource, nonempty
from mtjax.errors import InputError
from mtjax.io.jsonl import json_of, read_lines

Kinds = Literal["all", "step", "solution"]
"""Which records to take: both kinds, single steps, or whole solutions."""


def pair_of(mistake: Mistake) -> Pair | None:
    """The pair that a record holds; None where a side is missing, or both are the same."""
    if mistake.kind == "solution":
        chosen, rejected, context = mistake.right_solution, mistake.wrong_solution, ""
    else:
        chosen, rejected, context = mistake.right_step, mistake.wrong_step, mistake.prefix
    if not chosen.strip() or not rejected.strip() or chosen == rejected:
        return None
    return Pair(context, chosen, rejected, "full" if mistake.kind == "solution" else "step", mistake.error_type)


def pairs_of(mistakes: Iterable[Mistake]) -> list[Problem]:
    """One problem per problem id and question, in the order they first come, with the pairs of its records.

    Records without a pair (`pair_of`) are left out; so are problems that keep none.
    """
    problems: dict[tuple[str, str], Problem] = {}
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for mistake in mistakes:
        pair = pair_of(mistake)
        if pair is None:
            continue
        key = (mistake.problem_id, mistake.question)
        source = mistake.generator or "mistakes"
        problems.setdefault(key, Problem(mistake.problem_id, mistake.question, mistake.answer, source=source))
        pairs.setdefault(key, []).append(pair)
    return [dataclasses.replace(problem, pairs=tuple(pairs[key])) for key, problem in problems.items()]


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
    kinds: Kinds = "all"  # Which records: of steps, of whole solutions, or both.
    keep_unproved: bool = False
    """Take the records whose wrong side nobody proved wrong, too. One that was refuted is never taken."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems of the split with their pairs; InputError at a bad record, unless such are skipped."""
        found: list[Mistake] = []
        skipped, first, unproved, unpaired = 0, "", 0, 0
        for number, line in read_lines(self.path):
            where = f"{self.path}:{number}"
            try:
                mistake = from_json(json_of(line, where), where)
            except InputError as error:
                if on_error == "raise":
                    raise InputError(f"{error} (or skip such records with data.on_error=skip)") from error
                skipped, first = skipped + 1, first or str(error)
                continue
            if self.kinds not in ("all", mistake.kind) or not in_split(mistake.question, self.split):
                continue
            if mistake.verdict == "refuted" or (mistake.verdict == "unproved" and not self.keep_unproved):
                unproved += 1
            elif pair_of(mistake) is None:
                unpaired += 1
            else:
                found.append(mistake)
        notes = [f"{skipped} records skipped; the first: {first}"] if skipped else []
        if unproved:
            notes.append(f"{unproved} records left out whose wrong side is not proved wrong (keep_unproved)")
        if unpaired:
            notes.append(f"{unpaired} records left out that have no right side beside the wrong one")
        return nonempty(Problems(pairs_of(found), skipped, tuple(notes)), self.path, self.split)
