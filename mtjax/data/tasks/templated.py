"""What the tasks of questions and answers share: their settings of text, and rendering as plain text or as a chat."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mtjax.data.chat_checks import check_shown, differing_marks
from mtjax.data.chat_spans import (
    Answer,
    ShiftingTurns,
    opening,
    render_answer,
    render_chat_spans,
    render_open_answer,
    system_end,
)
from mtjax.data.chat_template import DATE, shield_json, shield_message, variables_of
from mtjax.data.messages import Message, Targets, Turns
from mtjax.data.problem import Problem
from mtjax.data.tasks.base import CHAT, Rendered, Span, Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemplateTask(Task):
    """A task whose prompts are questions in a template: text with `{question}` once, or the tokenizer's chat template.

    In a chat (`template="chat"`), the context of a problem is its messages, or else its question as a message of the
    user; the answer is the assistant's next turn. Targets are what the assistant says, from the end of its header to
    the token that closes the turn, that one included; what the template writes after that token is not trained. A
    template that closes turns without a token gets the end token after the last turn.

    A task derives its sequences from `sequences`, and may override `placed` to put a text of its own into the prompt.
    """

    before: ClassVar[Mapping[str, Any]] = {
        **Task.before,
        "system": "",
        "targets": "last",
        "date": DATE,
        "chat_template_kwargs": (),
    }

    system: str = ""  # In a chat: system message of conversations that have none; "" leaves it to the template.
    targets: Targets = "last"  # In a chat: train what the assistant says in its last turn, or in all turns.
    date: str = DATE  # In a chat: the date that a template reads from the clock (`strftime_now`), as YYYY-MM-DD.
    chat_template_kwargs: tuple[str, ...] = ()
    """In a chat: variables that its template reads, each NAME=VALUE, such as enable_thinking=false."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise InputError(f"task.date={self.date!r}: expected a date such as {DATE!r} ({error})") from error
        variables_of(self.chat_template_kwargs)
        for name in () if self.is_chat else ("system", "targets", "date", "chat_template_kwargs"):
            if (value := getattr(self, name)) != self.before[name]:
                raise InputError(f"task.{name}={value!r} is for a chat alone; set task.template=chat, or leave it out")

    @property
    def is_chat(self) -> bool:  # type: ignore[override]
        """Whether the text comes from the tokenizer's chat template."""
        return getattr(self, "template", "") == CHAT

    @property
    def many_ends(self) -> bool:  # type: ignore[override]
        """In a chat with all turns as targets, each has its end token."""
        return self.is_chat and self.targets == "all"

    def opening(self) -> tuple[Message, ...]:
        return (Message("system", self.system),) if self.system else ()

    def placed(self, context: list[Message], polarity: bool | None) -> tuple[list[Message], str]:
        """The context with what the task puts into it, and the first words of the answer that are part of the prompt.

        `polarity` as for `prompt`. Special tokens in what is put there are control tokens.
        """
        return context, ""

    def turns(self, problem: Problem, polarity: bool | None = None) -> Turns:
        """What a chat server gets in place of `prompt`; InputError if it cannot say all of it."""
        messages, lead = self.placed(self._context(problem, None), polarity)
        if lead:
            raise InputError(
                f"the prompt ends in the first words of the answer, {lead!r:.60}, which a chat server does not take; "
                "use --server.api=completions with --tokenizer, or data.task.prefix_in=prompt or system"
            )
        return Turns(messages, problem.tools, variables_of(self.chat_template_kwargs))

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The template with the question, or the conversation up to the answer of the assistant."""
        if not self.is_chat:
            self._refuse_conversation(problem)
            return super().prompt(problem, polarity, tokenizer)
        tokenizer, options = self._with_template(tokenizer), self._options(problem, tokenizer)
        messages, lead = self.placed(self._context(problem, tokenizer), polarity)
        try:
            text = opening(tokenizer, messages, lead, **options)
            check_shown(tokenizer, messages, text, len(messages), self._added(problem), **options)
            _check_open(text, tokenizer)
        except InputError as error:
            place = problem.place
            raise InputError(str(error) if not place or place in str(error) else f"{place}: {error}") from error
        return text

    def sequences(
        self,
        problem: Problem,
        name: str,
        answer: str | Sequence[Message],
        extras: Mapping[str, float],
        tokenizer: Tokenizer | None,
        *,
        polarity: bool | None = None,
        lead: str = "",
        ends: bool = True,
        shared: bool = False,
    ) -> list[Rendered]:
        """The sequences of one answer: one, or one per turn where the template renders earlier turns differently.

        Args:
            problem: gives the context.
            name: of the sequence (`Rendered.name`).
            answer: its text as `Task.text` gives it; in a chat also messages that follow the context.
            extras: numbers about it.
            tokenizer: with the chat template, for a chat.
            polarity: of the prompt, as in `prompt`.
            lead: first words of the answer that are not targets, as `Task.text` gives them.
            ends: whether the answer is complete, so that its turn is closed.
            shared: whether another side has the same context, whose turns are then no targets.
        """
        if not self.is_chat:
            if not isinstance(answer, str):
                raise InputError(
                    f"{problem.place}: an answer of {len(answer)} messages needs a chat; set data.task.template=chat"
                )
            prompt = self.prompt(problem, polarity, tokenizer) + lead
            text = prompt + answer
            extras = extras if prompt else {**extras, "without_prompt": 1.0}
            return [Rendered(name, text, (Span(len(prompt), len(text), 1.0),), len(prompt), ends, extras)]
        if not problem.question and not problem.messages:
            raise InputError(
                f"{problem.place}: a text without a question is not a conversation; train it with data.task:completion "
                "and a template that is not 'chat'"
            )
        tokenizer = self._with_template(tokenizer)
        context, begun = self.placed(self._context(problem, tokenizer), polarity)
        lead = begun + lead
        last = [Message("assistant", answer)] if isinstance(answer, str) else self._texts(answer, tokenizer)
        if lead and len(last) > 1:
            raise InputError(
                f"an answer of {len(last)} messages cannot begin with {lead!r:.60}; set data.task.prefix_in=prompt or "
                "system"
            )
        messages = [*context, *last[:-1], dataclasses.replace(last[-1], content=lead + last[-1].content)]
        first = (len(context) if shared else 0) if self.targets == "all" else len(messages) - 1
        empty = Rendered(name, "", (), 0, ends, extras)
        return self._rendered(problem, empty, messages, first, lead, tokenizer, shared)

    def _rendered(
        self,
        problem: Problem,
        empty: Rendered,
        messages: list[Message],
        first: int,
        lead: str,
        tokenizer: Tokenizer,
        shared: bool,
    ) -> list[Rendered]:
        """The conversation, or where earlier turns shift one per turn of the assistant, from turn `first` on."""
        options = self._options(problem, tokenizer)
        closing = tokenizer.decode([tokenizer.end_id])

        def make(text: str, spans: list[tuple[int, int]], last: int, name: str, remarks: dict[str, str]) -> Rendered:
            added = self._added(problem)
            unnamed = check_shown(tokenizer, messages[: last + 1], text, last, added, **options)
            remarks |= {"names": problem.place} if unnamed else {}
            if differ := differing_marks(tokenizer, messages[: last + 1], text, spans, **options):
                remarks["marks"] = f"{problem.place}: {differ}"
            start, end = spans[-1]
            said = [turn.content for turn in messages[: last + 1] if turn.role == "assistant"][-len(spans) :]
            said[-1] = said[-1].removeprefix(lead)
            others = [turn.content for turn in messages[: last + 1] if turn.role != "assistant"]
            altered = any(content not in text[slice(*span)] for content, span in zip(said, spans, strict=True))
            altered = altered or any(content not in text for content in others)
            ended = any(text[start:end].endswith(token) for token in (closing, *tokenizer.special))
            head = system_end(tokenizer, messages, text, **options)
            shown = zip([turn for turn in turns if turn <= last][-len(spans) :], spans, strict=True)
            targets = tuple(Span(*span, 1.0) for turn, span in shown if self.trains(messages, turn))
            prompt_end, starts = start, tuple(place for place, _ in spans[:-1])
            if shared:
                prompt_end, starts = spans[0][0], ()
            _check_open(text[:prompt_end], tokenizer)
            return empty._replace(
                name=name, text=text[:end], spans=targets, prompt_end=prompt_end, starts=starts,
                ends=empty.ends and not ended, head=head, altered=altered, remarks=remarks,
            )  # fmt: skip

        def answer(turn: int) -> Answer:
            render, until = (render_answer if empty.ends else render_open_answer), messages[: turn + 1]
            try:
                return render(tokenizer, until, lead if turn == final else "", **options)
            except InputError:  # what the template leaves out may be the reason, and is the clearer one
                check_shown(
                    tokenizer,
                    until,
                    tokenizer.render_chat(until, False, **options),
                    turn,
                    self._added(problem),
                    **options,
                )
                raise

        def one(turn: int, name: str, remarks: dict[str, str]) -> Rendered:
            found = answer(turn)
            return make(found.text, [(found.start, found.end)], turn, name, remarks)

        final = len(messages) - 1
        turns = [turn for turn, message in enumerate(messages) if message.role == "assistant" and turn >= first]
        if len(turns) > 1:
            try:
                text, spans = render_chat_spans(tokenizer, messages, first, **options)
                if lead or not empty.ends:
                    text, *span = answer(final)
                    spans[-1] = (span[0], span[1])
                return [make(text, spans, final, empty.name, {})]
            except ShiftingTurns:
                if shared:
                    raise
                remarks = {"turns": problem.place}
                kept = [turn for turn in turns if self.trains(messages, turn)]
                return [one(turn, f"{empty.name}/turn{turn}", remarks) for turn in kept]
        return [one(final, empty.name, {})]

    def conversation(self, problem: Problem) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """The context of a problem, and the answer where its messages are a complete conversation; else ()."""
        messages = problem.messages
        if not messages:
            return (Message("user", problem.question),), ()
        if problem.right or problem.wrong or problem.pairs or problem.answer or problem.candidates:
            return messages, ()
        turns = [turn for turn, message in enumerate(messages) if message.role == "assistant"]
        return (messages[: turns[-1]], messages[turns[-1] : turns[-1] + 1]) if turns else (messages, ())

    def _context(self, problem: Problem, tokenizer: Tokenizer | None) -> list[Message]:
        context = self.conversation(problem)[0]
        return self._texts((*(self.opening() if self._added(problem) else ()), *context), tokenizer)

    def _added(self, problem: Problem) -> int:
        """How many messages the settings put before those of the problem."""
        has_own = bool(problem.messages) and problem.messages[0].role == "system"
        return 0 if has_own else len(self.opening())

    def _texts(self, messages: Sequence[Message], tokenizer: Tokenizer | None) -> list[Message]:
        """Messages with their texts as `text` gives them."""
        messages = [dataclasses.replace(one, content=self.text(one.content)) for one in messages]
        if tokenizer is None or self.special_tokens == "control":
            return messages
        return [shield_message(one, tokenizer.special) for one in messages]

    def _options(self, problem: Problem, tokenizer: Tokenizer) -> dict[str, Any]:
        """Options of `Tokenizer.render_chat`. Texts of records are shielded before; what a task adds is not."""
        tools = problem.tools if self.special_tokens == "control" else shield_json(problem.tools, tokenizer.special)
        variables = variables_of(self.chat_template_kwargs)
        return {"date": self.date, "control": True, "tools": tuple(tools), "variables": variables}

    def _with_template(self, tokenizer: Tokenizer | None) -> Tokenizer:
        if tokenizer is None or tokenizer.chat_template is None:
            name = "none" if tokenizer is None else tokenizer.name
            raise InputError(
                f"task {self.name} with template 'chat' needs a tokenizer with a chat template, got {name!r}; use a "
                "chat model's tokenizer (such as smollm2) or a template of text"
            )
        return tokenizer

    def _refuse_conversation(self, problem: Problem) -> None:
        """InputError for a context that a template of text would not show."""
        context = self.conversation(problem)[0]
        if len(context) > 1 or problem.tools or not context[0].is_plain:
            what = f"{len(context)} messages" if len(context) > 1 else "tools" if problem.tools else "more than a text"
            raise InputError(
                f"{problem.place}: the context has {what}, and data.task.template shows only a question; set "
                "data.task.template=chat"
            )


def _check_open(prompt: str, tokenizer: Tokenizer) -> None:
    """InputError for a rendered conversation that closes itself before its end, for a model with an encoder."""
    if tokenizer.closing is not None and tokenizer.closing in prompt:
        raise InputError(
            f"the chat template writes {tokenizer.closing!r} into the prompt {prompt!r:.60}, behind an earlier turn, "
            "where an encoder would stop to read; train conversations of one turn each, or use a template that closes "
            "turns otherwise"
        )
