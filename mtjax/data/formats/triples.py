"""Triples: a chosen and a rejected answer, and a third one that somebody wrote (TRL's data of TPO)."""

from typing import Any, ClassVar

from mtjax.data.formats.base import FORMATS, TEXT, Format, make, numbered
from mtjax.data.problem import Problem
from mtjax.io.jsonl import field_of


@FORMATS.register("triple")
class Triple(Format):
    """A prompt with a chosen, a rejected and a reference answer, the last being the gold text of TPO (TRL).

    Reference and chosen answer are right solutions, in this order, and the rejected one is wrong.
    """

    needs: ClassVar = {"prompt": TEXT, "reference": TEXT, "chosen": TEXT, "rejected": TEXT}
    example: ClassVar = {"prompt": "6 + 1?", "reference": "7", "chosen": "It is 7.", "rejected": "It is 8."}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        keys = ("prompt", "reference", "chosen", "rejected")
        prompt, *right, wrong = (field_of(record, key, str, where) for key in keys)
        return make(record, where, id, question=prompt, right=right, wrong=[wrong])

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        if problem.messages or len(problem.right) < 2:
            return []
        gold, *others = problem.right
        sides = [(chosen, rejected) for chosen in others for rejected in problem.wrong]
        rows = [{"prompt": problem.question, "reference": gold, "chosen": w, "rejected": r} for w, r in sides]
        return numbered(problem, rows)
