"""What a chat template leaves out of a conversation without a word, and how its own marks differ from the targets."""

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

from mtjax.data.messages import Message, Tool
from mtjax.data.special_tokens import unshield
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError

THOUGHTS = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]")  # What closes thoughts within a content.
WAYS_OUT = {
    "system": "put it into the first message of the user, or use a chat template with a place for it",
    "tool_calls": "use a chat template with tools, or write the calls into the content as the model should",
    "tools": "use a chat template with tools, or describe them in the system message",
    "reasoning_content": "use a chat template that keeps the thoughts of the last turn, or train without thoughts",
}
Shape = tuple[tuple[str, bool, int, bool, bool, bool], ...]


def _shape(messages: Sequence[Message]) -> Shape:
    """All of a conversation but its texts: per message what it holds."""
    return tuple(
        (
            m.role,
            m.content.strip() != "",
            len(m.tool_calls),
            m.name != "",
            m.tool_call_id != "",
            bool(m.reasoning_content),
        )
        for m in messages
    )


@functools.lru_cache(maxsize=1024)
def _unseen(tokenizer: Tokenizer, shape: Shape, with_tools: bool, date: str) -> frozenset[tuple[int, str]]:
    """What the template does not show of a made-up conversation of this shape, as (turn, key); -1 is beside the turns.

    Nothing where the template refuses the made-up texts: then only the texts themselves are looked for.
    """
    made: list[Message] = []
    wanted: dict[tuple[int, str], list[str]] = {}
    for turn, (role, content, calls, name, call_id, thoughts) in enumerate(shape):
        word = lambda key, turn=turn: f"{key.replace('_', '')}4711x{turn}x"
        called = [
            {
                "id": f"call{turn:02}{number:03}",  # nine letters and digits, which some templates want
                "type": "function",
                "function": {"name": word(f"function{number}"), "arguments": {"key": word(f"value{number}")}},
            }
            for number in range(calls)
        ]
        held = {"content": content, "name": name, "reasoning_content": thoughts}
        texts = {key: word(key) for key, there in held.items() if there}
        wanted |= {(turn, key): [text] for key, text in texts.items()}
        if calls:
            wanted[turn, "tool_calls"] = [word(f"{part}{n}") for n in range(calls) for part in ("function", "value")]
        answered = {"tool_call_id": f"call{max(turn - 1, 0):02}000"} if call_id else {}
        made.append(Message(role, tool_calls=tuple(called), **texts, **answered))
    tools: tuple[Tool, ...] = ()
    if with_tools:
        parameters = {"type": "object", "properties": {"key": {"type": "string", "description": "?"}}}
        function = {"name": "tool4711", "description": "?", "parameters": parameters}
        tools, wanted[-1, "tools"] = ({"type": "function", "function": function},), ["tool4711"]
    try:
        text = tokenizer.render_chat(made, False, date=date, tools=tools)
    except InputError:
        return frozenset()
    return frozenset(key for key, words in wanted.items() if not all(word in text for word in words))


def check_shown(
    tokenizer: Tokenizer, messages: Sequence[Message], text: str, last: int, added: int = 0, **options: Any
) -> list[str]:
    """The names of speakers that a template does not show, which is no fault.

    Args:
        tokenizer: with the template.
        messages: the conversation, with special tokens shielded as they are to be.
        text: what the template makes of it.
        last: number of the last turn that is decoded from or trained; thoughts of earlier turns may be left out.
        added: how many messages at the start do not stand in the record.
        options: those of `Tokenizer.render_chat`.

    Raises:
        InputError: content, tool calls, tools, or the thoughts of the last turn do not stand in the text.
    """

    def fault(turn: int, key: str, said: str) -> InputError:
        role = messages[turn].role if turn >= 0 else ""
        where = f"messages[{turn - added}]" if turn >= added else "the system message of the task's settings"
        what = "'tools'" if turn < 0 else f"{key!r} of {where} ({role})"
        said = f": {unshield(said, tokenizer.special)!r:.60}" if said else ""
        way_out = WAYS_OUT.get(role if key == "content" else key, "use a chat template that shows every turn")
        return InputError(
            f"the chat template of {tokenizer.name!r} leaves out {what}{said}; {way_out}, or take it out of the record"
        )

    tools = options.get("tools", ())
    unseen = _unseen(tokenizer, _shape(messages), bool(tools), options["date"])
    remarks = []
    for turn, key in sorted(unseen, key=lambda one: (one[0] < 0, *one)):
        said = getattr(messages[turn], key) if turn >= 0 and key != "tool_calls" else ""
        if key == "name":
            remarks += [said] if messages[turn].role != "tool" else []  # a call says which tool answers
        elif key != "reasoning_content" or turn == last:
            raise fault(turn, key, said)
    for turn, message in enumerate(messages):
        *thoughts, said = THOUGHTS.split(message.content) if message.role == "assistant" else [message.content]
        if _shows(text, message.content):
            continue
        if not _shows(text, said):
            raise fault(turn, "content", message.content)
        for thought in thoughts if turn == last else ():
            if not _shows(text, bare := re.sub(r"^\s*(<\w+>|\[THINK\])", "", thought).strip()):
                raise fault(turn, "reasoning_content", bare)
    return remarks


def _shows(text: str, content: str) -> bool:
    """Whether content stands in a text: as it is, or but for white space, or as a string of JSON."""
    if content.strip() in text:
        return True
    bare, escaped = (re.sub(r"\s", "", part) for part in (content, json.dumps(content, ensure_ascii=False)[1:-1]))
    squeezed = re.sub(r"\s", "", text)
    return bare in squeezed or escaped in squeezed


def differing_marks(
    tokenizer: Tokenizer, messages: Sequence[Message], text: str, spans: Sequence[tuple[int, int]], **options: Any
) -> str:
    """How the `{% generation %}` marks of the template differ from the targets, in words; "" if they do not.

    Only characters from the first target on are compared.
    """
    if tokenizer.generation_marks is None:
        return ""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(tokenizer.generation_marks(messages, options["date"], options["tools"])):
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]
        joined.append((start, end))
    first = spans[0][0] if spans else len(text)
    marked = [span for span in joined if span[1] > first]
    assistants = [turn for turn, message in enumerate(messages) if message.role == "assistant"][-len(spans) :]
    for number in range(max(len(spans), len(marked))):
        pair = [found[number] if number < len(found) else (0, 0) for found in (marked, spans)]
        if pair[0] != pair[1]:
            theirs, ours = (unshield(text[start:end], tokenizer.special) for start, end in pair)
            turn = assistants[min(number, len(assistants) - 1)]
            return f"in turn {turn} they mark {theirs!r:.60}, and the target is {ours!r:.60}"
    return ""
