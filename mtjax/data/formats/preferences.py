"""Preference pairs: TRL's forms, HH, UltraFeedback, RewardBench, and pairs of steps (RISE, Step-DPO)."""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.formats.base import (
    FORMATS,
    LIST,
    NUMBER,
    TALK,
    TEXT,
    Format,
    all_pairs,
    has_own_id,
    make,
    numbered,
    turn,
    turns_of,
)  # fmt: skip
from mtjax.data.messages import Message, message_record
from mtjax.data.problem import Pair, Problem
from mtjax.errors import InputError
from mtjax.io.jsonl import field_of

ASSISTANT, HUMAN = "\n\nAssistant:", "\n\nHuman:"  # What opens a turn of an HH text.
RISE_KEYS = ("idx", "dataset", "prompt", "initial_reason_steps", "chosen", "rejected", "answer")


def pair_of(record: dict[str, Any], where: str, id: str, **fields: Any) -> Problem:
    """The problem of `chosen` and `rejected`, each a text or a list of messages, after a `prompt`, if there is one.

    A prompt beside conversations that begin with it is not put before them again; `system` goes before all.
    """
    sides = {key: field_of(record, key, TALK, where) for key in ("chosen", "rejected")}
    system = [turn("system", field_of(record, "system", str, where))] if record.get("system") else []
    prompt = field_of(record, "prompt", TALK, where) if "prompt" in record else []
    if not system and all(isinstance(text, str) for text in (prompt, *sides.values())):
        return make(record, where, id, prompt=prompt, **sides, **fields)
    tools = {"tools": record["tools"]} if "tools" in record else {}
    talks = {key: turns_of(value, "assistant") for key, value in sides.items()}
    opening = turns_of(prompt, "user")
    first = [[one for one in talk if isinstance(one, dict)][: len(opening)] for talk in talks.values()]
    if isinstance(prompt, str) and all(talk and talk[0].get("role") != "assistant" for talk in first):
        # The prompt as a text beside complete conversations, as in UltraFeedback: it is the first message of the user.
        asked = [[one.get("content") for one in talk if one.get("role") == "user"] for talk in talks.values()]
        said = [texts[0] if texts else None for texts in asked]
        if said != [prompt, prompt]:
            raise InputError(
                f"{where}: the prompt is {prompt!r:.60}, but the conversations begin with {said[0]!r:.60}; remove one"
            )
        opening = []
    if system:
        opening = [*system, *opening]
        if opening == system:
            talks = {key: [*system, *talk] for key, talk in talks.items()}
            opening = []
    return make(record, where, id, **({"prompt": opening} if opening else {}), **talks, **tools, **fields)


def sides_of(problem: Problem, pair: Pair) -> dict[str, Any]:
    """Prompt, chosen and rejected of a pair as a record; of steps, the right ones so far end the prompt."""
    if problem.messages or pair.chosen_messages:
        texts = {"chosen": pair.context + pair.chosen, "rejected": pair.context + pair.rejected}
        sides = {name: getattr(pair, f"{name}_messages") or (Message("assistant", texts[name]),) for name in texts}
        talks = {"prompt": problem.messages} | sides
        record: dict[str, Any] = {name: [message_record(one) for one in talk] or None for name, talk in talks.items()}
        return record | {"tools": list(problem.tools) or None}
    gap = "" if not pair.context or problem.question.endswith("\n") else "\n"
    return {"prompt": problem.question + gap + pair.context, "chosen": pair.chosen, "rejected": pair.rejected}


@FORMATS.register("preference")
class Preference(Format):
    """A prompt (or question) with a chosen and a rejected answer, as texts or messages (TRL's explicit prompt)."""

    needs: ClassVar = {"prompt": TALK, "chosen": TALK, "rejected": TALK}
    takes: ClassVar[tuple[str, ...]] = ("system", "tools", "question")
    example: ClassVar = {"prompt": "6 + 1?", "chosen": "It is 7.", "rejected": "It is 8."}

    def fits(self, record: Mapping[str, Any]) -> bool:
        return super().fits({"prompt": record.get("question")} | dict(record))

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        if "question" in record and "prompt" in record:
            raise InputError(f"{where}: both 'question' and 'prompt'; give one, they mean the same")
        return pair_of(record | ({"prompt": record["question"]} if "question" in record else {}), where, id)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        return numbered(problem, [sides_of(problem, pair) for pair in all_pairs(problem)])


@FORMATS.register("preference_implicit")
class PreferenceImplicit(Preference):
    """A chosen and a rejected conversation that begin alike (TRL's implicit prompt)."""

    needs: ClassVar = {"chosen": LIST, "rejected": LIST}
    example: ClassVar = {
        "chosen": [turn("user", "6 + 1?"), turn("assistant", "It is 7.")],
        "rejected": [turn("user", "6 + 1?"), turn("assistant", "It is 8.")],
    }

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        records = []
        for pair in all_pairs(problem):
            if not pair.context:
                record = sides_of(problem, pair)
                prompt = turns_of(record.pop("prompt", None) or [], "user")
                sides = {side: [*prompt, *turns_of(record[side], "assistant")] for side in ("chosen", "rejected")}
                records.append(record | sides)
        return numbered(problem, records)


@FORMATS.register("ultrafeedback")
class UltraFeedback(PreferenceImplicit):
    """UltraFeedback in pairs (`ultrafeedback_binarized`): two conversations, each with a score."""

    needs: ClassVar = {"chosen": TALK, "rejected": TALK, "score_chosen": NUMBER, "score_rejected": NUMBER}
    takes: ClassVar[tuple[str, ...]] = ("prompt", "prompt_id", "system", "tools")
    beside: ClassVar[tuple[str, ...]] = ("messages",)  # the chosen conversation once more
    example: ClassVar = {
        "prompt": "6 + 1?", "prompt_id": "a1", "messages": PreferenceImplicit.example["chosen"],
        **PreferenceImplicit.example, "score_chosen": 8.5, "score_rejected": 6.0,
    }  # fmt: skip

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        problem = pair_of(record, where, str(record.get("prompt_id", id)))
        better, worse = (float(field_of(record, f"score_{side}", NUMBER, where)) for side in ("chosen", "rejected"))
        if better <= worse:
            self.found["{} pairs whose chosen side has no higher score than the rejected one"] += 1
        return dataclasses.replace(problem, pairs=(dataclasses.replace(problem.pairs[0], scores=(better, worse)),))

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        scored = dataclasses.replace(problem, right=(), pairs=tuple(pair for pair in problem.pairs if pair.scores))
        records = super().write(scored, number)
        return (
            [
                record | dict(zip(("score_chosen", "score_rejected"), pair.scores or (), strict=True))
                for record, pair in zip(records, scored.pairs, strict=True)
            ]
            if all(not pair.context for pair in scored.pairs)
            else []
        )


@FORMATS.register("reward_bench")
class RewardBench(Preference):
    """RewardBench's rows: a pair with the subset that it belongs to, which becomes the source."""

    needs: ClassVar = {"prompt": TALK, "chosen": TALK, "rejected": TALK, "subset": TEXT}
    takes: ClassVar[tuple[str, ...]] = ("system", "tools")
    example: ClassVar = {**Preference.example, "subset": "math", "chosen_model": "a", "rejected_model": "b", "id": 1}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        return pair_of(record, where, id, source=field_of(record, "subset", str, where))

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        records = super().write(problem, number) if problem.source else []
        return [{("subset" if key == "source" else key): value for key, value in one.items()} for one in records]


@FORMATS.register("hh")
class Hh(Format):
    """HH's texts: chosen and rejected with the turns `Human:` and `Assistant:` in them, and no prompt.

    The prompt is what they share, up to and with the last "Assistant:" that opens a line after a blank one. It is a
    text; `--data.task.template={question}` puts nothing around it. The format `hh_chat` makes messages of it.
    """

    needs: ClassVar = {"chosen": TEXT, "rejected": TEXT}
    same: ClassVar[tuple[str, ...]] = ("hh_chat",)
    example: ClassVar = {
        "chosen": "\n\nHuman: 6 + 1?\n\nAssistant: It is 7.",
        "rejected": "\n\nHuman: 6 + 1?\n\nAssistant: It is 8.",
    }

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        prompt, chosen, rejected = self.split(record, where)
        return make(record, where, id, prompt=prompt, chosen=chosen, rejected=rejected)

    @staticmethod
    def split(record: dict[str, Any], where: str) -> tuple[str, str, str]:
        """Prompt, chosen and rejected texts of a record."""
        sides = [field_of(record, key, str, where) for key in ("chosen", "rejected")]
        common = os.path.commonprefix(sides)
        cut = common.rfind(ASSISTANT) + len(ASSISTANT)
        if ASSISTANT not in common:
            raise InputError(
                f"{where}: chosen and rejected are texts without a 'prompt', and share no {ASSISTANT!r} that would end "
                f"it (both begin with {common[:40]!r}); add the key 'prompt'"
            )
        return common[:cut], sides[0][cut:], sides[1][cut:]

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        records = []
        for pair in all_pairs(problem):
            before, gap = problem.question, ""
            if not before.endswith(ASSISTANT):
                turns = problem.messages or (Message("user", before),)
                gap = "" if pair.chosen.startswith(" ") and pair.rejected.startswith(" ") else " "
                names = {"user": HUMAN, "assistant": ASSISTANT}
                if not all(one.is_plain and one.role in names for one in turns):
                    continue
                before = "".join(f"{names[one.role]} {one.content}" for one in turns) + ASSISTANT
            if not (pair.context or pair.chosen_messages):
                records.append({side: before + gap + getattr(pair, side) for side in ("chosen", "rejected")})
        return numbered(problem, records)


@FORMATS.register("hh_chat")
class HhChat(Hh):
    """HH's texts as conversations: the turns become messages, without the white space around them."""

    same: ClassVar[tuple[str, ...]] = ("hh",)

    def fits(self, record: Any) -> bool:
        """Never: the format `hh` has the same keys, and this one is asked for by name."""
        return False

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        prompt, chosen, rejected = self.split(record, where)
        parts = re.split(f"({HUMAN}|{ASSISTANT})", prompt)[:-2]  # before the mark of the answer
        if parts[0].strip() or len(parts) < 3 or parts[1] != HUMAN:
            raise InputError(f"{where}: the text begins with {prompt[:40]!r}; expected {HUMAN!r}")
        names = {HUMAN: "user", ASSISTANT: "assistant"}
        opening = [turn(names[mark], said.strip()) for mark, said in zip(parts[1::2], parts[2::2], strict=True)]
        sides = {"chosen": [turn("assistant", chosen.strip())], "rejected": [turn("assistant", rejected.strip())]}
        return make(record, where, id, prompt=opening, **sides)


@FORMATS.register("step_dpo")
class StepDpo(Format):
    """Step-DPO's pairs: one step, chosen and rejected, after the right steps so far (Math-Step-DPO)."""

    needs: ClassVar = {"prompt": TEXT, "initial_reason_steps": TEXT, "chosen": TEXT, "rejected": TEXT}
    takes: ClassVar[tuple[str, ...]] = ("dataset", "answer")
    example: ClassVar = {
        "dataset": "gsm8k", "prompt": "6 + 1?", "initial_reason_steps": "Step 1: ", "chosen": "It is 7.",
        "rejected": "It is 8.", "full_chosen": "It is 7.", "full_rejected": "It is 8.", "answer": "7",
    }  # fmt: skip

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        keys = ("initial_reason_steps", "chosen", "rejected", "prompt")
        prefix, chosen, rejected, question = (field_of(record, key, str, where) for key in keys)
        pair = Pair(prefix, chosen, rejected, "step" if prefix else "full")
        name = str(record.get("id", id))
        source = field_of({"dataset": "step_dpo"} | record, "dataset", str, where)
        return Problem(name, question, str(record.get("answer", "")), pairs=(pair,), source=source)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        if problem.messages or any(pair.chosen_messages for pair in problem.pairs):
            return []
        rows = [
            {"dataset": problem.source, "prompt": problem.question, "initial_reason_steps": pair.context}
            | {"chosen": pair.chosen, "rejected": pair.rejected, "answer": problem.answer}
            for pair in all_pairs(problem)
        ]
        return [{key: value for key, value in row.items() if key != "source"} for row in numbered(problem, rows)]


@FORMATS.register("rise")
class Rise(StepDpo):
    """RISE's pairs: of complete solutions, or of the step after the right ones so far.

    The records do not say whether the rejected side was checked.

    Source: Xu et al., "Subtle Errors in Reasoning: Preference Learning via Error-injected Self-editing", 2025
    (arXiv 2410.06638).
    """

    needs: ClassVar = {**StepDpo.needs, "idx": (int, str), "dataset": TEXT, "answer": (str, int, float)}
    takes: ClassVar[tuple[str, ...]] = ("step", "last_step")
    example: ClassVar = {
        "idx": 0, "dataset": "gsm8k", "prompt": "6 + 1?", "initial_reason_steps": "", "chosen": "It is 7.",
        "rejected": "It is 8.", "answer": "7",
    }  # fmt: skip

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        problem = super().read(record, where, id)
        if missing := [key for key in RISE_KEYS if key not in record]:
            raise InputError(f"{where}: no key {missing[0]!r}; a RISE pair record has {', '.join(RISE_KEYS)}")
        return dataclasses.replace(problem, id=f"{record['dataset']}:{record['idx']}", source="rise")

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        dataset, _, own = problem.id.rpartition(":")
        named = has_own_id(problem) and own.isdecimal() and dataset
        about = {"idx": int(own), "dataset": dataset} if named else {"idx": number, "dataset": problem.source}
        rows = super().write(problem, number)
        return [about | {key: value for key, value in row.items() if key not in ("id", "dataset")} for row in rows]
