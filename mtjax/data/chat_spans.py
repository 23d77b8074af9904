"""Where the turns of a conversation stand in the text that a chat template makes of it."""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from mtjax.data.chat_template import DATE
from mtjax.data.messages import Message
from mtjax.data.special_tokens import shield
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError

SLOT = "\ue000slot\ue001"  # Stands for a text in a conversation, to find where the text begins or ends.


class ShiftingTurns(InputError):
    """The template renders a turn of the assistant differently once more turns follow."""


def opening(tokenizer: Tokenizer, context: Sequence[Message], lead: str = "", **options: Any) -> str:
    """The text that an answer to `context` follows, with `lead` as the first words of the answer.

    Without a lead it ends in the generation prompt of the template; with one it is exactly what stands before the rest
    of the answer in training, such as the empty thoughts that some templates write first.
    """
    if not lead and context:  # a conversation may begin with the assistant, but no template renders an empty one
        return tokenizer.render_chat(context, True, **options)
    text, found, _ = tokenizer.render_chat([*context, Message("assistant", lead + SLOT)], False, **options).rpartition(
        SLOT
    )
    if not found:
        raise InputError(f"the chat template of {tokenizer.name!r} leaves out the text of the assistant's last turn")
    return text


class Answer(NamedTuple):
    """A rendered conversation that ends with a turn of the assistant."""

    text: str  # up to the end of the turn; what a template writes after the closing token is included
    start: int  # where the answer starts, in characters
    end: int  # where it ends, the closing token included


def render_answer(tokenizer: Tokenizer, messages: Sequence[Message], lead: str = "", **options: Any) -> Answer:
    """A conversation as text, and where the last turn, one of the assistant, stands in it.

    The turn starts where `opening` ends, and `lead`, the first words of its content, belongs to the opening. It
    includes the text of the closing end token, but no line break after it. Raises InputError where the text does not
    begin with the opening.
    """
    text = tokenizer.render_chat(messages, False, **options)
    before = opening(tokenizer, messages[:-1], lead, **options)
    if not text.startswith(before):
        raise _no_place(tokenizer, len(messages) - 1)
    closing = tokenizer.decode([tokenizer.end_id])
    inside = text[len(before) :]
    body, found, _ = inside.rpartition(closing)
    if not found:  # White space after the turn is the template's, unless the message ends in it.
        content = shield(messages[-1].content, tokenizer.special)
        said = inside.find(content) + len(content) if content in inside else 0
        body = inside[:said] + inside[said:].rstrip()
    return Answer(text, len(before), len(before) + len(body + found))


def render_open_answer(tokenizer: Tokenizer, messages: Sequence[Message], lead: str = "", **options: Any) -> Answer:
    """As `render_answer`, but the text breaks off where the content of the last turn ends, which goes on later."""
    if messages[-1].tool_calls:
        raise InputError("an answer that ends in tool calls is a complete turn, and cannot be left open; train its end")
    before = opening(tokenizer, messages[:-1], lead, **options)
    text = opening(tokenizer, messages[:-1], messages[-1].content, **options)
    if not text.startswith(before):
        raise _no_place(tokenizer, len(messages) - 1)
    return Answer(text, len(before), len(text))


def _no_place(tokenizer: Tokenizer, turn: int, shifting: bool = False) -> InputError:
    when, way_out = "from how it asks for it (its generation prompt)", "use another chat template"
    if shifting:
        when, way_out = "once more turns follow", "train the last turn alone with data.task.targets=last"
    return (ShiftingTurns if shifting else InputError)(
        f"the chat template of {tokenizer.name!r} renders turn {turn} differently {when}, so the assistant's text has "
        f"no fixed place; {way_out}"
    )


def render_chat_spans(
    tokenizer: Tokenizer, messages: Sequence[Message], first: int = 0, **options: Any
) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as text, and where each assistant turn from number `first` on stands in it, as `[start, end)`.

    A span is that of `render_answer`: the conversation up to the turn must be a prefix of the conversation with the
    turn, and that of the entire text. Raises InputError where a turn has no place even if no other follows, and
    `ShiftingTurns` where only the turns that follow change it (templates that drop earlier thoughts do so).
    """
    text = tokenizer.render_chat(messages, False, **options)
    spans = []
    for turn, message in enumerate(messages):
        if message.role == "assistant" and turn >= first:
            found = render_answer(tokenizer, messages[: turn + 1], **options)
            if not text.startswith(found.text):
                raise _no_place(tokenizer, turn, shifting=True)
            spans.append((found.start, found.end))
    return text, spans


def system_end(tokenizer: Tokenizer, messages: Sequence[Message], text: str, **options: Any) -> int:
    """Where the system message at the start of a rendered conversation ends, in characters.

    0 without one, and where the template puts it into a later turn of the user. Some templates write one of their own
    where a conversation has none.
    """
    if messages[0].role != "system":
        own = _own_system(tokenizer, options.get("date", DATE))
        return len(own) if text.startswith(own) else 0
    try:
        alone = tokenizer.render_chat(messages[:1], False, **options)
    except InputError:  # some templates want a user's message
        alone = ""
    said = shield(messages[0].content, tokenizer.special)
    if alone and text.startswith(alone) and said.strip() in alone:
        return len(alone)
    content = said if said in text else said.strip()
    place = text.find(content)
    after = text.rfind(shield(messages[1].content, tokenizer.special).strip()) if len(messages) > 1 else len(text)
    return place + len(content) if 0 <= place <= after else 0


@functools.lru_cache(maxsize=16)
def _own_system(tokenizer: Tokenizer, date: str) -> str:
    """The system turn that a template writes before a conversation without one; "" if it writes none."""
    system, user = Message("system", "4711"), Message("user", "4712")
    try:
        text = tokenizer.render_chat([user], False, date)
        before, _, after = tokenizer.render_chat([system, user], False, date).partition(system.content)
    except InputError:
        return ""
    head = text.rfind(after)
    if not before or not text.startswith(before) or head < len(before):
        return ""
    with contextlib.suppress(InputError):  # some templates want a user's message
        closing = tokenizer.render_chat([system], False, date).partition(system.content)[2]
        head += len(closing) if after.startswith(closing) else 0
    return text[:head]
