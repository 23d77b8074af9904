"""Messages of conversations: what one holds, how records spell them, and where two conversations part."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import refuse_unknown

ROLES = ("system", "user", "assistant", "tool")  # The speakers of a conversation; a system message stands only first.
Tool = Mapping[str, Any]  # A tool as the chat template gets it: a JSON schema with a name.


@dataclasses.dataclass(frozen=True)
class Message:
    """One turn of a conversation, with the keys of the OpenAI format."""

    role: str  # Who speaks: "system", "user", "assistant" or "tool".
    content: str = ""  # What is said, without any template around it; "" for a message that only calls tools.
    name: str = ""  # Name of the speaker; of a tool's message, of the function that answers.
    tool_calls: tuple[Mapping[str, Any], ...] = dataclasses.field(default=(), hash=False)
    """Calls of an assistant: `{"type": "function", "function": {"name": str, "arguments": object or JSON text}}`, and
    `"id"` where the record has one."""
    tool_call_id: str = ""  # Of a tool's message: the id of the call that it answers.
    reasoning_content: str = ""  # Thoughts before the content, for templates that show them from a key of their own.

    @property
    def is_plain(self) -> bool:
        """Whether role and content are all that it holds."""
        return not (self.name or self.tool_calls or self.tool_call_id or self.reasoning_content)


class Turns(list[Message]):
    """The messages that a chat server is asked to answer, with what else its template gets."""

    def __init__(
        self, messages: Sequence[Message] = (), tools: Sequence[Tool] = (), variables: Mapping[str, Any] | None = None
    ):
        super().__init__(messages)
        self.tools, self.variables = tuple(tools), dict(variables or {})


_KEYS = tuple(field.name for field in dataclasses.fields(Message))


def read_messages(value: Any, where: str, key: str = "messages") -> tuple[Message, ...]:
    """The messages that a record holds under `key`, in any order of speakers; null keys count as missing.

    Content may be a list of text parts, whose texts are joined, and is left out only beside `tool_calls`. A call may
    stand without the `function` around name and arguments.

    Raises InputError, beginning with `where`, for anything else: another type, an unknown key or role, and parts that
    are not text.
    """
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{where}: {key!r} is {value!r:.80}; expected a non-empty list of objects")
    return tuple(_message(one, where, f"{key}[{number}]") for number, one in enumerate(value))


def _message(value: Any, where: str, name: str) -> Message:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: {name} is {value!r:.80}; expected an object; fix the record")
    here = f"{where}: {name}"
    value = {key: item for key, item in value.items() if item is not None}
    refuse_unknown(value, _KEYS, here)
    if "role" not in value:
        raise InputError(f"{here}: no 'role' in keys {sorted(value)}; expected it in every message; fix the record")
    calls = value.pop("tool_calls", [])
    if not isinstance(calls, list | tuple):
        raise InputError(f"{here}: 'tool_calls' is {calls!r:.80}; expected a list of objects; fix the record")
    if "content" not in value and not calls:
        way_out = "only an assistant's message with 'tool_calls' may have none; fix the record"
        raise InputError(f"{here}: no 'content' in keys {sorted(value)}; {way_out}")
    value["content"] = _text(value.get("content", ""), here)
    for key, item in value.items():
        if not isinstance(item, str):
            raise InputError(f"{here}: {key!r} is {item!r:.80}; expected a string; fix the record")
    role = value["role"]
    if role not in ROLES:
        raise InputError(f"{here}: role {role!r}: {suggest(role, ROLES)}")
    for key, whose in (("tool_calls", "assistant"), ("reasoning_content", "assistant"), ("tool_call_id", "tool")):
        if role != whose and (calls if key == "tool_calls" else value.get(key)):
            raise InputError(f"{here}: {key!r} in a message of the role {role!r}; expected {whose!r}; fix the record")
    found = tuple(_call(call, f"{here}: tool_calls[{number}]") for number, call in enumerate(calls))
    return Message(**value, tool_calls=found)


def _text(content: Any, here: str) -> Any:
    """Content as text: the joined texts of a list of parts."""
    if not isinstance(content, list | tuple):
        return content
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind not in ("text", "str") or not isinstance(text, str):
            raise InputError(
                f"{here}: content[{number}] is a part of type {kind!r}: {part!r:.60}; only text is trained: remove the "
                "record, or leave such records out with data.on_error=skip"
            )
        texts.append(text)
    return "".join(texts)


def _call(call: Any, here: str) -> dict[str, Any]:
    """A tool call in the form `{"id", "type", "function": {"name", "arguments"}}`."""
    if not isinstance(call, Mapping):
        raise InputError(f"{here} is {call!r:.80}; expected an object with 'function'; fix the record")
    function = call.get("function", {key: item for key, item in call.items() if key in ("name", "arguments")})
    refuse_unknown(
        call, ("id", "type", "function") if "function" in call else ("id", "type", "name", "arguments"), here
    )
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise InputError(
            f"{here}: got {function!r:.80}; expected an object with 'name' and 'arguments'; fix the record"
        )
    refuse_unknown(function, ("name", "arguments"), here)
    arguments = function.get("arguments")
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, str | Mapping):
        raise InputError(f"{here}: 'arguments' is {arguments!r:.80}; expected an object or its JSON text")
    about = {key: call[key] for key in ("id",) if call.get(key) is not None}
    return about | {"type": "function", "function": {"name": function["name"], "arguments": arguments}}


def read_tools(value: Any, where: str) -> tuple[Tool, ...]:
    """The tools of a record, which are passed to the chat template as they are: a list of objects, or its JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise InputError(
                f"{where}: 'tools' is {value!r:.60}, which is not JSON ({error}); fix the record"
            ) from error
    if not isinstance(value, list | tuple) or not all(isinstance(tool, Mapping) for tool in value):
        raise InputError(f"{where}: 'tools' is {value!r:.80}; expected a list of objects, one per tool")
    return tuple(value)


def check_conversation(messages: Sequence[Message], where: str, key: str = "messages") -> None:
    """InputError for an order of speakers that no conversation has."""
    for turn, message in enumerate(messages):
        if message.role == "system" and turn:
            raise InputError(
                f"{where}: {key}[{turn}]: a system message stands only in front; move it there or make it a user's"
            )
    if all(message.role != "user" for message in messages):
        raise InputError(f"{where}: {key!r} has no message of the user; a conversation needs at least one")


def message_record(message: Message) -> dict[str, Any]:
    """The record that `read_messages` turns back into this message; content is null where it only calls tools."""
    values = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
    kept = {key: value for key, value in values.items() if value or key in ("role", "content")}
    kept |= {"tool_calls": list(message.tool_calls)} if message.tool_calls else {}
    return kept | ({"content": None} if message.tool_calls and not message.content else {})


def context_text(question: str, messages: Sequence[Message]) -> str:
    """The text that an answer follows: the question, or what the messages of a conversation say, a line between them.

    >>> context_text("2 + 3?", (Message("user", "2 + 3?"), Message("assistant", "5"), Message("user", "And 4?")))
    '2 + 3?\\n5\\nAnd 4?'
    """
    return "\n".join(one.content for one in messages if one.content) if len(messages) > 1 else question


def part(
    chosen: Sequence[Message], rejected: Sequence[Message], where: str
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    """What two complete conversations share, and what follows in each: `(context, chosen, rejected)`.

    The context is everything before the first difference. What follows ends with a message of the assistant: what
    stands after the last one is cut. Equal conversations share all but the last message of the assistant.

    Raises InputError, beginning with `where`, for a side without a message of the assistant in what follows.
    """
    sides = []
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        last = max((turn for turn, message in enumerate(side) if message.role == "assistant"), default=-1)
        sides.append((name, tuple(side[: last + 1])))
    (_, one), (_, other) = sides
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    same = max(min(same, len(one) - 1, len(other) - 1), 0)
    for name, side in sides:
        if not side:
            raise InputError(f"{where}: {name!r} has no message of the assistant; expected its answer as the last one")
    return one[:same], one[same:], other[same:]


Targets = Literal["last", "all"]
"""Which turns of the assistant are targets: the last one, or all."""
