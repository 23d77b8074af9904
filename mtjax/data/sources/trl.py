"""Preference records in TRL's format as a source."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mtjax.data.problem import Pair, Problem
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
        """A pair of complete solutions."""
        if not isinstance(record, Mapping) or not {"chosen", "rejected"} <= record.keys():
            found = json.dumps(record, default=str)
            raise InputError(f"{where}: got {found:.80}; expected prompt, chosen and rejected")
        if isinstance(record["chosen"], str):
            prompt, chosen, rejected = (field_of(record, key, str, where) for key in ("prompt", "chosen", "rejected"))
        else:
            prompt, chosen, rejected = _conversation(record, where)
        return Problem(id, prompt, pairs=(Pair("", chosen, rejected),), source="trl")


def _conversation(record: Any, where: str) -> tuple[str, str, str]:
    """Prompt, chosen and rejected texts of a conversational record."""
    opening = _messages(record.get("prompt", []), where)
    sides = [[*opening, *_messages(record[key], where)] for key in ("chosen", "rejected")]
    for side in sides:
        if [role for role, _ in side] != ["user", "assistant"]:
            roles = ", ".join(role for role, _ in side) or "nobody"
            raise InputError(f"{where}: messages of {roles}; expected one of the user, then the answer")
    if sides[0][0] != sides[1][0]:
        raise InputError(f"{where}: chosen and rejected answer different questions; expected one question")
    return sides[0][0][1], sides[0][1][1], sides[1][1][1]


def _messages(value: Any, where: str) -> Sequence[tuple[str, str]]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: got {value!r:.80}; expected a list of messages")
    return [(field_of(message, "role", str, where), field_of(message, "content", str, where)) for message in value]
