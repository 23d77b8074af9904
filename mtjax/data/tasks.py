"""Tasks: from a problem to the text a model sees, and which of its characters count.

A task is a frozen dataclass with a `name` (objectives ask for it), `render(problem, tokenizer) -> list[Rendered]` for
training and `prompt(problem, polarity, tokenizer) -> str` for decoding: exactly the text that stands before the answer
in training. Only a chat needs the tokenizer, for its template.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

from mtjax.data.hashing import unit
from mtjax.data.problem import Message, Problem
from mtjax.data.prompts import PLAIN, check_template, fill
from mtjax.data.tokenizer import Tokenizer, render_chat_spans
from mtjax.errors import InputError


class Span(NamedTuple):
    """Characters `start .. end - 1` of a text, and how much each of their tokens counts as a target."""

    start: int
    end: int
    weight: float


class Rendered(NamedTuple):
    """One sequence to train on, as text.

    Attributes:
        name: which rendering of the problem this is, such as "right/0"; unique within the problem.
        text: everything but the begin and end tokens, which the tokenizer's ids stand for.
        spans: the targets; characters outside all spans have weight 0.
        prompt_end: decoding starts behind `text[:prompt_end]`, so a token must end there.
        ends: whether the end token follows the text; where it does, it is trained with weight 1.
        extras: numbers about the whole sequence, such as "polarity": 1 right, 0 wrong.
    """

    name: str
    text: str
    spans: tuple[Span, ...]
    prompt_end: int
    ends: bool
    extras: Mapping[str, float]


def choose_solutions(problem: Problem, wrong_per_right: float | None) -> list[tuple[str, str, bool]]:
    """The solutions to train on, as (name, text, is right): all right ones, and `wrong_per_right` wrong ones for each.

    None takes all wrong ones. Otherwise a problem with r right solutions gives `wrong_per_right * r` wrong ones, or all
    if there are fewer; a fraction is rounded up or down with the chance it stands for. Which ones, and the rounding,
    depend on the problem's id alone, so every run and every host agree. Raises InputError for a negative ratio.
    """
    names = [f"wrong/{number}" for number in range(len(problem.wrong))]
    if wrong_per_right is not None:
        if not 0 <= wrong_per_right < math.inf:
            raise InputError(f"task.wrong_per_right={wrong_per_right}: expected a number >= 0, or None for all")
        share = wrong_per_right * len(problem.right)
        take = math.floor(share) + (unit(problem.id, "rounding") < share % 1)
        names = sorted(names, key=lambda name: unit(problem.id, name))[:take]
    kept = set(names)
    right = [(f"right/{number}", text, True) for number, text in enumerate(problem.right)]
    wrong = [(f"wrong/{number}", text, False) for number, text in enumerate(problem.wrong)]
    return right + [solution for solution in wrong if solution[0] in kept]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionTask:
    """A prompt and its completion: targets are the completion and its end token.

    Formula: `text = template(question) + solution`, weight 1 on the solution. With `polarities="both"` wrong solutions
    are trained as if they were right, with nothing to tell them apart: the baseline that shows what a prefix does.
    """

    name: ClassVar[str] = "completion"

    template: str = PLAIN
    """Text around the question, with `{question}` once; should end in a line break."""
    polarities: Literal["right", "both"] = "right"
    """Which solutions to train on: right ones, or right and wrong ones alike."""
    wrong_per_right: float | None = None
    """With both: wrong solutions per right one of a problem; None takes all."""
    strip: bool = True
    """Cut white space around questions and solutions, which would move token boundaries. Off: text as it is."""

    def __post_init__(self) -> None:
        check_template(self.template)

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The text to decode from; a completion has no polarity."""
        return fill(self.template, problem.question.strip() if self.strip else problem.question)

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """One sequence per solution."""
        prompt = self.prompt(problem)
        rendered = []
        for name, solution, right in choose_solutions(problem, self.wrong_per_right):
            if right or self.polarities == "both":
                text = prompt + (solution.strip() if self.strip else solution)
                spans = (Span(len(prompt), len(text), 1.0),)
                rendered.append(Rendered(name, text, spans, len(prompt), True, {"polarity": float(right)}))
        return rendered


@dataclasses.dataclass(frozen=True, kw_only=True)
class MistakeTask:
    """Right and wrong rationales, each behind a prefix that says which it is (Tong et al., ACL 2024, section 4.2).

    Formula: one sequence `question + prefix + rationale + end` per rationale, never two rationales in one. The prefix
    ends its line. Where it stands shows only in templates with text behind the question: with QUESTION_ANSWER,
    `prefix_in="prompt"` gives `Question: Q [newline] S [newline] Answer: [newline] R` and `"target"` gives
    `Question: Q [newline] Answer: [newline] S [newline] R`.

    The paper sums the loss over the whole sequence (`loss_on="all"`), and does not say what to decode from; hence
    `decode_prefix` has no default. Without any prefix at decode a model answers with the average of right and wrong.
    """

    name: ClassVar[str] = "mistake"

    decode_prefix: Literal["correct", "incorrect"]
    """Which prefix stands in front of the answer when decoding; say "correct" unless you study mistakes."""
    correct_prefix: str = "[CORRECT RATIONALE]"
    """Stands before right rationales."""
    incorrect_prefix: str = "[INCORRECT RATIONALE]"
    """Stands before wrong rationales."""
    prefix_in: Literal["prompt", "target"] = "target"
    """Where it stands: right behind the question, or in front of the rationale, behind the template."""
    loss_on: Literal["all", "prefix+rationale", "rationale"] = "all"
    """Which tokens are targets: all text, the prefix's and rationale's own characters, or the rationale's. The end
    token always is."""
    template: str = PLAIN
    """Text around the question, with `{question}` once; should end in a line break."""
    wrong_per_right: float | None = None
    """Wrong rationales per right one of a problem; None takes all."""

    def __post_init__(self) -> None:
        check_template(self.template)
        if not self.correct_prefix or self.correct_prefix == self.incorrect_prefix or not self.incorrect_prefix:
            raise InputError(
                f"prefixes {self.correct_prefix!r} and {self.incorrect_prefix!r}: expected two different texts; to "
                "train on both polarities without a prefix use task:completion-task with polarities='both'"
            )

    def _parts(self, problem: Problem, right: bool) -> tuple[str, int, int]:
        """The prompt, and where the prefix starts and ends in it."""
        prefix = self.correct_prefix if right else self.incorrect_prefix
        question = problem.question.strip()
        if self.prefix_in == "prompt":
            prompt = fill(self.template, f"{question}\n{prefix}")
            start = self.template.index("{question}") + len(question) + 1
        else:
            start = len(fill(self.template, question))
            prompt = f"{fill(self.template, question)}{prefix}\n"
        return prompt, start, start + len(prefix)

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The text to decode from: everything before the rationale, prefix included.

        `polarity` True or False asks for the correct or incorrect prefix; None for `decode_prefix`.
        """
        return self._parts(problem, self.decode_prefix == "correct" if polarity is None else polarity)[0]

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """One sequence per rationale."""
        rendered = []
        for name, rationale, right in choose_solutions(problem, self.wrong_per_right):
            prompt, start, end = self._parts(problem, right)
            text = prompt + rationale.strip()
            spans = {
                "all": (Span(0, len(text), 1.0),),
                "prefix+rationale": (Span(start, end, 1.0), Span(len(prompt), len(text), 1.0)),
                "rationale": (Span(len(prompt), len(text), 1.0),),
            }[self.loss_on]
            rendered.append(Rendered(name, text, spans, len(prompt), True, {"polarity": float(right)}))
        return rendered


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatTask:
    """Conversations in the tokenizer's chat template: targets are what the assistant says, turn by turn.

    Each assistant turn counts from behind its header to the token that closes it, that one included, so the model
    learns to stop. White space the template puts behind the closing token does not count. Where the template closes
    turns without the tokenizer's end token, that is added after the last turn.

    A problem without messages becomes a user turn with the question and an assistant turn per right solution.
    """

    name: ClassVar[str] = "chat"

    system: str = ""
    """System message put in front of conversations that have none; "" leaves it to the template."""

    def _conversations(self, problem: Problem) -> list[tuple[str, list[Message]]]:
        found = [("chat", list(problem.messages))] if problem.messages else []
        if not found:
            user = Message("user", problem.question)
            found = [
                (f"right/{number}", [user, Message("assistant", text)]) for number, text in enumerate(problem.right)
            ] or [("chat", [user])]
        return [(name, self._with_system(messages)) for name, messages in found]

    def _with_system(self, messages: list[Message]) -> list[Message]:
        has_own = bool(messages) and messages[0].role == "system"
        return messages if has_own or not self.system else [Message("system", self.system), *messages]

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The conversation up to the last assistant turn, and that turn's header."""
        messages = self._conversations(problem)[0][1]
        last = _last_assistant(messages)
        return _with_template(tokenizer).render_chat(messages if last is None else messages[:last], True)

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """One sequence per conversation that has an assistant turn."""
        tokenizer = _with_template(tokenizer)
        closing = tokenizer.decode([tokenizer.end_id])
        rendered = []
        for name, messages in self._conversations(problem):
            last = _last_assistant(messages)
            if last is None:
                continue
            text, turns = render_chat_spans(tokenizer, messages[: last + 1])
            spans = tuple(Span(start, end, 1.0) for start, end in turns)
            start, end = turns[-1]
            ends = not text[start:end].endswith(closing)
            rendered.append(Rendered(name, text[:end], spans, start, ends, {"polarity": 1.0}))
        return rendered


def _last_assistant(messages: list[Message]) -> int | None:
    return max((turn for turn, message in enumerate(messages) if message.role == "assistant"), default=None)


def _with_template(tokenizer: Tokenizer | None) -> Tokenizer:
    if tokenizer is None or tokenizer.chat_template is None:
        name = "none" if tokenizer is None else tokenizer.name
        raise InputError(
            f"task chat needs a tokenizer with a chat template, got {name!r}; use a chat model's tokenizer "
            "(such as smollm2) or the task completion"
        )
    return tokenizer


Task = CompletionTask | MistakeTask | ChatTask
"""Any task; on the command line `task:completion-task`, `task:mistake-task`, `task:chat-task`."""
