"""Conversations as a task."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.chat_spans import render_chat_spans, system_end
from mtjax.data.problem import Message, Problem
from mtjax.data.tasks.base import TASKS, Rendered, Span, SpecialTokens, Task
from mtjax.data.tokenizer import DATE, Tokenizer
from mtjax.errors import InputError


@TASKS.register("chat")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatTask(Task):
    """Conversations in the tokenizer's chat template: targets are what the assistant says, turn by turn.

    Each assistant turn counts from the end of its header to the token that closes it, that one included, so the model
    learns to stop. White space the template puts after the closing token does not count. The token that closes a turn
    is `Tokenizer.end_id`; if the template closes turns without a token, the EOS token is added after the last turn.

    A problem without messages becomes a user turn with the question and an assistant turn per right solution.
    """

    name: ClassVar[str] = "chat"
    needs: ClassVar[str] = "messages, or right solutions"
    is_chat: ClassVar[bool] = True
    many_ends: ClassVar[bool] = True
    before: ClassVar[Mapping[str, Any]] = {**Task.before, "strip": False, "date": DATE}

    system: str = ""  # System message at the start of conversations that have none; "" leaves it to the template.
    strip: bool = False  # Cut white space around every message; off passes them to the template exactly as given.
    special_tokens: SpecialTokens = "text"  # What special tokens in messages are: text, or control tokens.
    date: str = DATE  # The date that a template reads from the clock (`strftime_now`), as YYYY-MM-DD.

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise InputError(f"task.date={self.date!r}: expected a date such as {DATE!r} ({error})") from error

    def _options(self) -> dict[str, Any]:
        return {"date": self.date, "control": self.special_tokens == "control"}

    def opening(self) -> tuple[Message, ...]:
        return (Message("system", self.system),) if self.system else ()

    def _conversations(self, problem: Problem) -> list[tuple[str, list[Message]]]:
        """Conversations by name, each with a system message and cut after its last assistant turn, if it has one."""
        found = [("chat", problem.messages or (Message("user", problem.question),))]
        if not problem.messages and problem.right:
            found = [
                (f"right/{number}", (*found[0][1], Message("assistant", text)))
                for number, text in enumerate(problem.right)
            ]
        conversations = []
        for name, messages in found:
            turns = [*(() if messages[0].role == "system" else self.opening()), *messages]
            turns = [dataclasses.replace(message, content=self.text(message.content)) for message in turns]
            last = max((turn for turn, message in enumerate(turns) if message.role == "assistant"), default=len(turns))
            conversations.append((name, turns[: last + 1]))
        return conversations

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The conversation up to the last assistant turn, and that turn's header."""
        messages = self._conversations(problem)[0][1]
        before = messages[:-1] if messages[-1].role == "assistant" else messages
        return _with_template(tokenizer).render_chat(before, True, **self._options())

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """One sequence per conversation that has an assistant turn."""
        tokenizer = _with_template(tokenizer)
        closing = tokenizer.decode([tokenizer.end_id])
        rendered = []
        for name, messages in self._conversations(problem):
            if messages[-1].role == "assistant":
                text, turns = render_chat_spans(tokenizer, messages, **self._options())
                start, end = turns[-1]
                spans = tuple(Span(*turn, 1.0) for turn in turns)
                ends = not text[start:end].endswith(closing)
                places = iter(turns)
                where = [next(places) if message.role == "assistant" else (0, end) for message in messages]
                said = [self.text(message.content, tokenizer) for message in messages]
                altered = any(content not in text[slice(*place)] for content, place in zip(said, where, strict=True))
                head = system_end(tokenizer, messages, text, **self._options())
                extras, starts = {"polarity": 1.0}, tuple(place for place, _ in turns[:-1])
                made = Rendered(name, text[:end], spans, start, ends, extras, head=head, altered=altered, starts=starts)
                rendered.append(made)
        return rendered


def _with_template(tokenizer: Tokenizer | None) -> Tokenizer:
    if tokenizer is None or tokenizer.chat_template is None:
        name = "none" if tokenizer is None else tokenizer.name
        raise InputError(
            f"task chat needs a tokenizer with a chat template, got {name!r}; use a chat model's tokenizer "
            "(such as smollm2) or the task completion"
        )
    return tokenizer
