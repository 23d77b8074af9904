"""Preference records in TRL's format as a source."""

import dataclasses
from typing import Any, ClassVar

from mtjax.data.problem import Pair, Problem, without_nulls
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError


@SOURCES.register("trl")
@dataclasses.dataclass(frozen=True)
class Trl(FileSource):
    """Preference records of TRL: `prompt`, `chosen` and `rejected`, as texts or as conversations.

    `python -m mtjax.inject --format=trl` writes such files. In a conversation the last message is the answer; `prompt`
    is one user message, and may be left out if both conversations begin with it.
    """

    example: ClassVar[str] = '{"prompt": "6 + 1?", "chosen": "It is 7.", "rejected": "It is 8."}\n'

    def parse(self, record: Any, where: str, id: str) -> Problem:
        record = without_nulls(record)
        if not isinstance(record, dict) or not {"chosen", "rejected"} <= record.keys():
            raise InputError(f"{where}: got {record!r:.80}; expected prompt, chosen and rejected")
        sides = ("chosen", "rejected")
        if isinstance(record["chosen"], str):
            prompt, *answers = (field_of(record, key, str, where) for key in ("prompt", *sides))
        else:
            opening = _messages(record.get("prompt", []), where)
            chosen, rejected = (_dialogue([*opening, *_messages(record[side], where)], where) for side in sides)
            if chosen[0] != rejected[0]:
                raise InputError(f"{where}: chosen and rejected answer different questions; expected one question")
            prompt, answers = chosen[0], [chosen[1], rejected[1]]
        return Problem(id, prompt, pairs=(Pair("", *answers),), source="trl")


def _messages(value: Any, where: str) -> list[tuple[str, str]]:
    """Role and content of each message."""
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: got {value!r:.80}; expected a list of messages")
    return [(field_of(message, "role", str, where), field_of(message, "content", str, where)) for message in value]


def _dialogue(messages: list[tuple[str, str]], where: str) -> list[str]:
    """The question and the answer of a conversation of one turn."""
    roles = [role for role, _ in messages]
    if roles != ["user", "assistant"]:
        found = ", ".join(roles) or "nobody"
        raise InputError(f"{where}: messages of {found}; expected one of the user, then the answer")
    return [content for _, content in messages]
