"""Prompts with a completion: TRL's form, plain texts, Alpaca, Dolly and KTO's labels."""

from typing import Any, ClassVar

from mtjax.data.formats.base import (
    FORMATS,
    TALK,
    TEXT,
    Format,
    make,
    numbered,
    solutions_of,
    truth,
    turn,
    turns_of,
    with_context,
)  # fmt: skip
from mtjax.data.messages import Message, message_record, read_messages
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.io.jsonl import field_of


def talk(record: dict[str, Any], where: str, id: str, right: bool = True) -> Problem:
    """The problem of a `prompt` and a `completion`, each a text or a list of messages; `system` goes before them.

    A completion of several messages, or with tool calls, makes one conversation, and can only be right.
    """
    prompt, said = field_of(record, "prompt", TALK, where), field_of(record, "completion", TALK, where)
    system = [turn("system", field_of(record, "system", str, where))] if record.get("system") else []
    side = "right" if right else "wrong"
    if isinstance(prompt, str) and isinstance(said, str) and not system:
        return make(record, where, id, question=prompt, **{side: [said]})
    tools = {"tools": record["tools"]} if "tools" in record else {}
    context = [*system, *turns_of(prompt, "user")]
    messages = read_messages(turns_of(said, "assistant"), where, "completion")
    if len(messages) == 1 and messages[0] == Message("assistant", messages[0].content):
        return with_context(record, where, id, context, **{side: messages[0].content}, **tools)
    if not right:
        raise InputError(f"{where}: a wrong completion of several messages or with tool calls; expected one text")
    return make(record, where, id, messages=[*context, *map(message_record, messages)], **tools)


@FORMATS.register("completion")
class Completion(Format):
    """A prompt and its completion, each a text or a list of messages (TRL's prompt-completion)."""

    needs: ClassVar = {"prompt": TALK, "completion": TALK}
    takes: ClassVar[tuple[str, ...]] = ("system", "tools")
    example: ClassVar = {"prompt": "1 + 1 =", "completion": " 2"}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        return talk(record, where, id)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        return numbered(problem, [_asked(*solution) for solution in solutions_of(problem) if solution[2] is not False])


def _asked(context: str | list[Message], said: str | Message, right: bool | None, tools: Any) -> dict[str, Any]:
    """The prompt and the completion of a solution as a record."""
    if isinstance(context, str):
        return {"prompt": context, "completion": said}
    said = Message("assistant", said) if isinstance(said, str) else said
    record: dict[str, Any] = {"prompt": [message_record(one) for one in context], "completion": [message_record(said)]}
    return record | ({"tools": list(tools)} if tools else {})


@FORMATS.register("text")
class Text(Format):
    """A text alone, trained from its first token to its end."""

    needs: ClassVar = {"text": TEXT}
    example: ClassVar = {"text": "All of this is trained."}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        return make(record, where, id, question="", right=[field_of(record, "text", str, where)])

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        return numbered(problem, [{"text": text} for text in problem.right]) if not problem.question else []


@FORMATS.register("alpaca")
class Alpaca(Format):
    """Alpaca's instruction and output; the input, where there is one, follows the instruction on a new line.

    `system` and `history`, a list of [instruction, output] before this one, are those of LLaMA-Factory.
    """

    needs: ClassVar = {"instruction": TEXT, "output": TEXT}
    takes: ClassVar[tuple[str, ...]] = ("input", "system", "history")
    beside: ClassVar[tuple[str, ...]] = ("text",)  # the same, in a template
    keys: ClassVar[tuple[str, ...]] = ("instruction", "input", "output")
    example: ClassVar = {"instruction": "Add.", "input": "1 and 1", "output": "2"}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        instruction, extra, output = self.keys
        asked, more = field_of(record, instruction, str, where), field_of({extra: ""} | record, extra, str, where)
        question, right = f"{asked}\n{more}" if more else asked, field_of(record, output, str, where)
        system, context = field_of({"system": ""} | record, "system", str, where), []
        for n, pair in enumerate(record.get("history") or ()):
            if not (isinstance(pair, list | tuple) and len(pair) == 2):
                raise InputError(f"{where}: history[{n}] is {pair!r:.80}; expected [instruction, output]")
            context += [turn("user", pair[0]), turn("assistant", pair[1])]
        if not (system or context):
            return make(record, where, id, question=question, right=[right])
        first = [turn("system", system)] if system else []
        return with_context(record, where, id, [*first, *context, turn("user", question)], right=right)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        records = []
        for context, said, right, _ in solutions_of(problem):
            if right is False or not isinstance(said, str):
                continue
            record: dict[str, Any] = {self.keys[0]: context, self.keys[1]: "", self.keys[2]: said}
            if not isinstance(context, str):
                system = context[0].content if context[0].role == "system" else None
                turns = context[system is not None :]
                order = [one.role for one in turns] == (["user", "assistant"] * len(turns))[: len(turns)]
                if not (order and len(turns) % 2) or not all(one.is_plain for one in context):
                    continue
                before = [one.content for one in turns[:-1]]
                history = [list(pair) for pair in zip(before[::2], before[1::2], strict=True)]
                record |= {self.keys[0]: turns[-1].content, "system": system, "history": history or None}
            records.append(record)
        return numbered(problem, records)


@FORMATS.register("dolly")
class Dolly(Alpaca):
    """Dolly's instruction, context and response; read as Alpaca's, with the context in the place of the input."""

    needs: ClassVar = {"instruction": TEXT, "response": TEXT}
    takes: ClassVar[tuple[str, ...]] = ("context",)
    beside: ClassVar[tuple[str, ...]] = ()
    keys: ClassVar[tuple[str, ...]] = ("instruction", "context", "response")
    example: ClassVar = {"instruction": "Add.", "context": "1 and 1", "response": "2", "category": "sums"}

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        return [] if problem.messages[1:] else super().write(problem, number)


@FORMATS.register("kto")
class Kto(Format):
    """KTO's rows: a prompt, a completion, and a label that says whether it is right."""

    needs: ClassVar = {"prompt": TALK, "completion": TALK, "label": (bool, int)}
    takes: ClassVar[tuple[str, ...]] = ("system", "tools")
    example: ClassVar = {"prompt": "1 + 1 =", "completion": "3", "label": False}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        return talk(record, where, id, truth(field_of(record, "label", (bool, int), where), "'label'", where))

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        both = [*solutions_of(problem)]
        return numbered(problem, [_asked(*one) | {"label": one[2] is not False} for one in both])
