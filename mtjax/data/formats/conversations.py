"""Conversations: lists of messages, and ShareGPT's form of them."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.formats.base import FORMATS, LIST, Format, all_pairs, make, numbered, solutions_of, turn
from mtjax.data.messages import Message, message_record
from mtjax.data.problem import Problem
from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import field_of

SPEAKERS = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    "system": "system",
    **dict.fromkeys(("tool", "observation", "function_response"), "tool"),
    "function_call": "function_call",
}
"""ShareGPT's names of speakers, in lower case, and the roles that they have here."""


NAMES = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}  # The names to write.


def conversations_of(problem: Problem) -> list[list[Message]]:
    """The conversations of a problem: its own, or its context with each right solution."""
    if problem.messages and not (problem.right or problem.wrong or problem.pairs):
        return [list(problem.messages)]
    context = list(problem.messages) or [Message("user", problem.question)]
    return [[*context, Message("assistant", text)] for _, text, right, _ in solutions_of(problem) if right]


@FORMATS.register("messages")
class Messages(Format):
    """A list of messages, each with role and content, and `tools` beside it (the OpenAI form)."""

    needs: ClassVar = {"messages": LIST}
    takes: ClassVar[tuple[str, ...]] = ("tools",)
    beside: ClassVar[tuple[str, ...]] = ("prompt", "prompt_id")  # of UltraChat: the first message once more
    example: ClassVar = {"messages": [turn("user", "1 + 1?"), turn("assistant", "It is 2.")]}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        tools = {"tools": record["tools"]} if "tools" in record else {}
        return make(record, where, id, messages=record["messages"], **tools)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        tools = {"tools": list(problem.tools) or None}
        talks = conversations_of(problem)
        return numbered(problem, [{"messages": [message_record(one) for one in talk]} | tools for talk in talks])


@FORMATS.register("sharegpt")
class ShareGpt(Format):
    """ShareGPT's conversations: turns with `from` and `value`; `system` and `tools` may stand beside them.

    Turns with `role` and `content` under the same key are read too, and the key may be `conversation`. A
    `function_call` is a call of a tool in JSON.
    """

    needs: ClassVar = {"conversations": LIST}
    takes: ClassVar[tuple[str, ...]] = ("conversation", "system", "system_prompt", "tools")
    example: ClassVar = {"conversations": [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "It is 2."}]}

    def fits(self, record: Mapping[str, Any]) -> bool:
        return super().fits({"conversations": record.get("conversation")} | dict(record))

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        messages, about = self.messages(record, where)
        return make(record, where, id, messages=messages, **about)

    def messages(self, record: dict[str, Any], where: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The conversation of a record, with its system message, and its tools."""
        key = "conversation" if "conversation" in record else "conversations"
        turns = field_of(record, key, LIST, where)
        system = record.get("system") or record.get("system_prompt")
        messages = [self.message(one, f"{where}: {key}[{n}]") for n, one in enumerate(turns)]
        if system and not (messages and messages[0]["role"] == "system"):
            messages.insert(0, turn("system", system))
        return messages, {"tools": record["tools"]} if record.get("tools") else {}

    def message(self, value: Any, here: str) -> dict[str, Any]:
        """One turn as the record of a message."""
        own = isinstance(value, dict) and "role" in value
        speaker, key = ("role", "content") if own else ("from", "value")
        name, said = field_of(value, speaker, str, here), field_of(value, key, str, here)
        role = SPEAKERS.get(name.lower())
        if role is None:
            raise InputError(f"{here}: {speaker} {name!r}: {suggest(name, SPEAKERS)}")
        if role == "assistant" and value.get("weight", 1) != 1:
            raise InputError(f"{here}: 'weight' is {value['weight']!r}; turns that are not trained are not supported")
        for extra in value.keys() - {speaker, key, "weight"}:
            self.found[f"{{}} turns of conversations have a key {extra!r}, which is not read"] += 1
        if role != "function_call":
            return turn(role, said)
        try:
            call = json.loads(said)
        except ValueError as error:
            raise InputError(f"{here}: a function_call that is not JSON ({error}): {said[:60]!r}; fix it") from error
        calls = call if isinstance(call, list) else [call]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        records = []
        for talk in conversations_of(problem):
            if all(one.is_plain for one in talk):
                turns = [{"from": NAMES[one.role], "value": one.content} for one in talk]
                records.append({"conversations": turns, "tools": list(problem.tools) or None})
        return numbered(problem, records)


@FORMATS.register("sharegpt_preference")
class ShareGptPreference(ShareGpt):
    """ShareGPT's conversation with a chosen and a rejected next turn (LLaMA-Factory)."""

    needs: ClassVar = {"conversations": LIST, "chosen": (dict,), "rejected": (dict,)}
    example: ClassVar = {
        "conversations": [{"from": "human", "value": "6 + 1?"}],
        "chosen": {"from": "gpt", "value": "It is 7."},
        "rejected": {"from": "gpt", "value": "It is 8."},
    }

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        prompt, about = self.messages(record, where)
        for side in ("chosen", "rejected"):
            about[side] = [self.message(field_of(record, side, dict, where), f"{where}: {side}")]
        return make(record, where, id, prompt=prompt, **about)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        records = []
        opening = list(problem.messages) or [Message("user", problem.question)]
        for pair in all_pairs(problem):
            if not (pair.context or pair.chosen_messages) and all(one.is_plain for one in opening):
                said = {"from": "gpt"}
                turns = [{"from": NAMES[one.role], "value": one.content} for one in opening]
                sides = {"chosen": said | {"value": pair.chosen}, "rejected": said | {"value": pair.rejected}}
                records.append({"conversations": turns} | sides | {"tools": list(problem.tools) or None})
        return numbered(problem, records)


@FORMATS.register("kto_chat")
class KtoChat(Messages):
    """A conversation whose last turn a label says to be right or wrong (LLaMA-Factory's KTO rows)."""

    needs: ClassVar = {"messages": LIST, "label": (bool, int)}
    beside: ClassVar[tuple[str, ...]] = ()
    example: ClassVar = {"messages": [turn("user", "1 + 1?"), turn("assistant", "It is 3.")], "label": False}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        *prompt, last = field_of(record, "messages", LIST, where) or [None]
        if not isinstance(last, dict) or last.get("role") != "assistant":
            raise InputError(f"{where}: the last message is {last!r:.60}; expected one of the assistant, to be judged")
        return FORMATS["kto"]().read(record | {"prompt": prompt, "completion": [last]}, where, id)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        tools, records = {"tools": list(problem.tools) or None}, []
        for context, said, right, _ in solutions_of(problem):
            before = [Message("user", context)] if isinstance(context, str) else context
            last = Message("assistant", said) if isinstance(said, str) else said
            talk = [message_record(one) for one in (*before, last)]
            records.append({"messages": talk, "label": right is not False} | tools)
        return numbered(problem, records)
