"""Published data sets that have keys of their own: PandaLM's comparisons, glaive's function calls, HumanEval's code."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.formats.base import FORMATS, TEXT, Format, all_pairs, make, numbered, solutions_of, turn
from mtjax.data.formats.conversations import conversations_of
from mtjax.data.messages import Message
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.io.jsonl import field_of

ANNOTATORS = ("annotator1", "annotator2", "annotator3")
TIE = "{} records make no pair: their two responses are a tie, or no majority prefers one"


@FORMATS.register("pandalm")
class PandaLm(Format):
    """PandaLM's two responses to an instruction, of which annotators, or the text of an evaluation, name the better.

    Each of `annotator1` to `annotator3` is 1, 2 or 0 for a tie, and `evaluation` begins with `1`, `2` or `Tie`.
    """

    needs: ClassVar = {"instruction": TEXT, "response1": TEXT, "response2": TEXT}
    takes: ClassVar[tuple[str, ...]] = ("input", "evaluation", *ANNOTATORS)
    example: ClassVar = {"instruction": "6 + 1?", "input": "", "response1": "8", "response2": "7", "annotator1": 2}

    def fits(self, record: Mapping[str, Any]) -> bool:
        return super().fits(record) and "output" not in record  # then the responses are beside Alpaca's own

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        asked, first, second = (field_of(record, key, str, where) for key in self.needs)
        more = record.get("input", "")
        more = "" if more != more else field_of({"input": more}, "input", str, where)  # files of PandaLM have NaN there
        question = f"{asked}\n{more}" if more else asked
        better = self.better(record, where)
        chosen, rejected = (second, first) if better == 2 else (first, second)
        problem = make(record, where, id, prompt=question, chosen=chosen, rejected=rejected)
        self.found[TIE] += better == 0
        return problem if better else dataclasses.replace(problem, pairs=())

    def better(self, record: dict[str, Any], where: str) -> int:
        """Which response most annotators prefer, 1 or 2; 0 for a tie."""
        votes = [record[key] for key in ANNOTATORS if key in record]
        if not votes and "evaluation" in record:
            said = re.match(r"\s*(1|2|tie)\b", field_of(record, "evaluation", str, where), re.IGNORECASE)
            votes = [int(said[1]) if said[1].isdigit() else 0] if said else ["evaluation"]
        if not votes or any(vote not in (0, 1, 2) for vote in votes):
            found = {key: record[key] for key in (*ANNOTATORS, "evaluation") if key in record}
            raise InputError(
                f"{where}: {found!r:.80} does not say which response is better; expected 1, 2 or 0 (a tie) in "
                "'annotator1', or 'evaluation' to begin with 1, 2 or Tie; or name the keys to read: "
                "--data.source.columns instruction=prompt response1=chosen response2=rejected"
            )
        return next((side for side in (1, 2) if 2 * votes.count(side) > len(votes)), 0)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        if problem.messages:
            return []
        records = []
        for pair in all_pairs(problem):
            if not (pair.context or pair.chosen_messages):
                record = {"instruction": problem.question, "input": "", "response1": pair.chosen}
                records.append(record | {"response2": pair.rejected, "annotator1": 1})
        return numbered(problem, records)


SPEAKERS = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
_TURN = re.compile(rf"(?:\A|\n{{2,}})\s*({'|'.join(SPEAKERS)}):[ \t]*")
_END = re.compile(r"\s*(?:<\|endoftext\|>)?\s*\Z")  # what closes each turn in glaive's texts


@FORMATS.register("glaive")
class Glaive(Format):
    """glaive-function-calling-v2: a system text, and a conversation as one text with USER, ASSISTANT and so on.

    The functions stay in the system text, and a `<functioncall>` in that of the assistant, as they are written; a
    FUNCTION RESPONSE is a turn of the role `tool`. `SYSTEM:` and the `<|endoftext|>` of each turn are left out, since
    the chat template has its own marks.
    """

    needs: ClassVar = {"system": TEXT, "chat": TEXT}
    example: ClassVar = {"system": "SYSTEM: Be brief.\n", "chat": "USER: 1 + 1?\n\n\nASSISTANT: 2 <|endoftext|>\n\n\n"}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        system = field_of(record, "system", str, where).removeprefix("SYSTEM:").strip()
        before, *parts = _TURN.split(field_of(record, "chat", str, where))
        if before.strip() or not parts:
            raise InputError(
                f"{where}: 'chat' begins with {before.strip()[:40]!r}; expected {', '.join(SPEAKERS)}, each with a "
                "colon, at the beginning of the text or behind an empty line"
            )
        turns = [turn(SPEAKERS[who], _END.sub("", said)) for who, said in zip(parts[::2], parts[1::2], strict=True)]
        return make(record, where, id, messages=[turn("system", system), *turns] if system else turns)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        names, records = {role: name for name, role in SPEAKERS.items()}, []
        for talk in [] if problem.tools else conversations_of(problem):
            first, *turns = talk if talk[0].role == "system" else [Message("system"), *talk]
            if all(one.is_plain and not _TURN.search(f"\n\n{one.content}") for one in turns):
                end = {"assistant": " <|endoftext|>"}
                texts = [f"{names[one.role]}: {one.content}{end.get(one.role, '')}\n\n\n" for one in turns]
                records.append({"system": f"SYSTEM: {first.content}\n", "chat": "".join(texts)})
        return numbered(problem, records)


@FORMATS.register("human_eval")
class HumanEval(Format):
    """HumanEval's beginning of a function, and the canonical solution that goes on from it; tests are not read."""

    needs: ClassVar = {"prompt": TEXT, "canonical_solution": TEXT}
    takes: ClassVar[tuple[str, ...]] = ("task_id",)
    example: ClassVar = {"task_id": "HumanEval/0", "prompt": "def f():\n", "canonical_solution": "    return 1\n"}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        prompt, solution = (field_of(record, key, str, where) for key in self.needs)
        name = {"id": record["task_id"]} if "task_id" in record else {}
        return make(name | record, where, id, question=prompt, right=[solution])

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        both = [(context, said) for context, said, right, _ in solutions_of(problem) if right is not False]
        plain = [pair for pair in both if all(isinstance(text, str) for text in pair)]
        return numbered(problem, [{"prompt": context, "canonical_solution": said} for context, said in plain])
