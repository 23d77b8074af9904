"""The contract of a task, and what tasks share: templates, target spans, and the choice of solutions."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

from mtjax.data.problem import Message, Problem
from mtjax.data.special_tokens import shield
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.registry import Registry

PLAIN = "{question}\n"  # The question on a line (or lines) of its own; every tokenizer of the project can write it.
QUESTION_ANSWER = "Question: {question}\nAnswer:\n"  # For base models: a question and an answer, each named.
CHATML = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"  # One user turn, for SmolLM2 and Qwen2.
CHAT = "chat"  # In place of a template: the chat template of the tokenizer.
_SLOT = "{question}"

SpecialTokens = Literal["text", "control"]
"""Special tokens such as `<|im_end|>` in the texts of records: spelled as text, or read as control tokens."""


def fill(template: str, question: str) -> str:
    """The template with the question in its slot. Other braces stay as they are, so LaTeX needs no escapes."""
    before, after = template.split(_SLOT)
    return before + question + after


def choose_solutions(problem: Problem, wrong_per_right: float | None) -> list[tuple[str, str, bool]]:
    """The solutions to train on, as (name, text, is right): all right ones, and `wrong_per_right` wrong ones for each.

    None takes all wrong ones. Otherwise a problem with r right solutions gives `wrong_per_right * r` wrong ones, or all
    if there are fewer; a fraction is rounded up or down with the chance it stands for. Which ones, and the rounding,
    depend on the problem's id alone, so every run and every host agree. Raises InputError for a negative ratio.
    """
    right = [(f"right/{number}", text, True) for number, text in enumerate(problem.right)]
    wrong = [(f"wrong/{number}", text, False) for number, text in enumerate(problem.wrong)]
    kept = choose_wrong(problem.id, len(right), [name for name, _, _ in wrong], wrong_per_right)
    return right + [solution for solution in wrong if solution[0] in kept]


def choose_wrong(problem_id: str, right: int, wrong: Collection[str], wrong_per_right: float | None) -> Collection[str]:
    """The names of the wrong solutions to take beside `right` right ones; see `choose_solutions`."""
    if wrong_per_right is None:
        return wrong
    if not 0 <= wrong_per_right < math.inf:
        raise InputError(f"task.wrong_per_right={wrong_per_right}: expected a number >= 0, or None for all")
    share = wrong_per_right * right
    take = math.floor(share) + (unit(problem_id, "rounding") < share % 1)
    return sorted(wrong, key=lambda name: unit(problem_id, name))[:take]


class Span(NamedTuple):
    """Characters `start .. end - 1` of a text, and how much each of their tokens counts as a target."""

    start: int
    end: int
    weight: float


class Sampled(NamedTuple):
    """What is known of an answer that a model drew, token by token."""

    ids: tuple[int, ...] = ()  # its tokens, an end token included, which are then trained; empty: those of the text
    per_token: Mapping[str, tuple[float, ...]] = MappingProxyType({})  # numbers of each token, by name


class Rendered(NamedTuple):
    """One sequence to train on, as text."""

    name: str  # which rendering of the problem this is, such as "right/0"; unique within the problem
    text: str  # everything but the begin and end tokens, which the tokenizer's ids stand for
    spans: tuple[Span, ...]  # the targets; characters outside all spans have weight 0
    prompt_end: int  # decoding starts after `text[:prompt_end]`, so a token must end there
    ends: bool  # whether the end token follows the text; if so, it is trained with weight 1
    extras: Mapping[str, float]  # numbers about the sequence, such as "polarity": 1 right, 0 wrong
    steps: tuple[int, ...] | None = None  # where the answer's steps start, ascending, for objectives that look at steps
    head: int = 0  # characters at the start that `data.truncation=left` keeps, such as a system message
    altered: bool = False  # whether a template changed or left out a text, such as one that trims white space
    starts: tuple[int, ...] = ()  # where decoding also starts, before `prompt_end`: the earlier turns of a conversation
    remarks: Mapping[str, str] = MappingProxyType({})  # what else to report, by kind, with its place
    values: tuple[float | None, ...] | None = None
    """Of each step, what a value head is to say at its last token (-1 to 1), or None; needs `steps`."""
    sampled: Sampled | None = None  # of an answer that was drawn: its tokens, and numbers of each


class Task:
    """A task turns a problem into the text that a model sees, and says which of its characters are targets.

    It is a frozen dataclass with these attributes and two methods. Every text of a record passes through `text`.
    """

    name: ClassVar[str]  # its registered name; an objective names the task that it needs
    sides: ClassVar[int] = 1  # sequences of one example: 1, 2 for chosen and rejected, or as many as a group has
    ragged: ClassVar[bool] = False  # whether some sides of an example, but not all, may have no target
    needs: ClassVar[str]  # what a problem must have, as a noun phrase for error messages, such as "right solutions"
    prefixes: ClassVar[Mapping[str, bool | None]] = {"plain": None}
    """Prompts to evaluate, as `{name in reports: polarity passed to prompt}`."""
    is_chat: ClassVar[bool] = False  # whether the text comes from the tokenizer's chat template
    many_ends: ClassVar[bool] = False  # whether several end tokens of one text may be targets, as in a conversation

    before: ClassVar[Mapping[str, Any]] = {"special_tokens": "control"}
    """What version 0.1 did where its config files and snapshots do not say: settings that are new or have another
    default now."""
    had: ClassVar[tuple[str, ...]] = ()  # those of them that version 0.1 had, with another default
    strip: bool = False  # whether white space around the texts of records is cut
    special_tokens: SpecialTokens = "text"  # what special tokens in the texts of records are

    def __post_init__(self) -> None:
        template = getattr(self, "template", PLAIN)
        if template.count(_SLOT) != 1 and not self.is_chat:
            raise InputError(
                f"template {template!r}: expected the text {_SLOT} exactly once, found {template.count(_SLOT)}; "
                f"write for example {PLAIN!r}"
                + (f", or {CHAT!r} for the tokenizer's chat template" if hasattr(self, "targets") else "")
            )

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The text to decode from: exactly what stands before the answer in training.

        `polarity` asks for the prompt of right (True) or wrong (False) answers, if a task has both. By default, the
        task's `template` (text with `{question}` once) holding the question; a text without a question has no prompt.
        """
        if not problem.question and not problem.messages:
            return ""
        return fill(self.template, self.text(problem.question, tokenizer))  # type: ignore[attr-defined]

    def text(self, text: str, tokenizer: Tokenizer | None = None) -> str:
        """A text of a record as it is rendered: as given, or without white space around it if `strip` is set.

        With a tokenizer, special tokens in it are shielded (`mtjax.data.special_tokens`), unless they are `control`.
        """
        text = text.strip() if self.strip else text
        return text if tokenizer is None or self.special_tokens == "control" else shield(text, tokenizer.special)

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """The sequences to train on, side after side and example after example; empty if the problem has none."""
        raise NotImplementedError

    def opening(self) -> tuple[Message, ...]:
        """Messages to put at the start of a conversation that has no system message."""
        return ()

    def trains(self, messages: Sequence[Message], turn: int) -> bool:
        """Whether the turn of the assistant with this number is a target, where turns are."""
        return True

    def turns(self, problem: Problem, polarity: bool | None = None) -> list[Message]:
        """The messages that a chat server gets in place of `prompt`, of a task that is a chat."""
        messages = problem.messages or (Message("user", problem.question),)
        return [*(() if messages[0].role == "system" else self.opening()), *messages]

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Whether a text with these extras (`Rendered.extras`) is closed by the end token."""
        return True


def written_settings(task: Any) -> dict[str, Any]:
    """The settings of a task for fingerprints: without those that version 0.1 did not have, where they reproduce it."""
    values = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    new = {name: value for name, value in task.before.items() if name not in task.had}
    return {name: value for name, value in values.items() if (name, value) not in new.items()}


TASKS = Registry("task", requires=("name", "sides", "needs", "prompt", "render"))  # Every task by name.
