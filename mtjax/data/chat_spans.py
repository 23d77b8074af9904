"""Where the turns of a conversation stand in the text that a chat template makes of it."""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

from mtjax.data.problem import Message
from mtjax.data.special_tokens import shield
from mtjax.data.tokenizer import DATE, Tokenizer
from mtjax.errors import InputError


def render_chat_spans(
    tokenizer: Tokenizer, messages: Sequence[Message], **options: Any
) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as text, and where each assistant turn stands in it: `[start, end)` in characters.

    A span starts where the generation prompt ends and includes the text of the closing end token, but no line break
    after it. It is found by rendering the conversation up to the turn and then with the turn: the first must be a
    prefix of the second. Raises InputError where the template breaks that (such as one that drops earlier reasoning).
    `options` are those of `Tokenizer.render_chat`.
    """
    text = tokenizer.render_chat(messages, False, **options)
    closing = tokenizer.decode([tokenizer.end_id])
    spans = []
    for turn, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = tokenizer.render_chat(messages[:turn], True, **options)
        after = tokenizer.render_chat(messages[: turn + 1], False, **options)
        if not (after.startswith(before) and text.startswith(after)):
            raise InputError(
                f"the chat template of {tokenizer.name!r} renders turn {turn} differently once more turns follow, so "
                "the assistant's text has no fixed place; use one-turn conversations or another chat template"
            )
        inside = after[len(before) :]
        body, found, _ = inside.rpartition(closing)
        if not found:  # White space after the turn is the template's, unless the message ends in it.
            content = shield(message.content, tokenizer.special)
            said = inside.find(content) + len(content) if content in inside else 0
            body = inside[:said] + inside[said:].rstrip()
        spans.append((len(before), len(before) + len(body + found)))
    return text, spans


def system_end(tokenizer: Tokenizer, messages: Sequence[Message], text: str, **options: Any) -> int:
    """Where the system message at the start of a rendered conversation ends, in characters; 0 without one.

    Some templates write one of their own where a conversation has none.
    """
    if messages[0].role != "system":
        own = _own_system(tokenizer, options.get("date", DATE))
        return len(own) if text.startswith(own) else 0
    try:
        alone = tokenizer.render_chat(messages[:1], False, **options)
    except InputError:  # some templates want a user's message
        alone = ""
    if alone and text.startswith(alone):
        return len(alone)
    content = shield(messages[0].content, tokenizer.special)
    return text.find(content) + len(content) if content in text else 0


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
