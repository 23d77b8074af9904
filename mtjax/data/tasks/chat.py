"""Conversations as a task."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from mtjax.data.messages import Message, Targets
from mtjax.data.tasks.base import CHAT, TASKS
from mtjax.data.tasks.completion import CompletionTask
from mtjax.data.tasks.templated import TemplateTask
from mtjax.errors import InputError

SIGNS = (
    *("not defined", "positional argument", "unexpected keyword", "'related_searches'", "ConnectionError"),
    *("connection error", '"error":', "'error'", "not supported", "Invalid API call", "Response error"),
    *("Object of type SerpResults is not JSON serializable", "400 Client Error", "slice indices must be integers"),
)
"""What shows an error in what a tool says, as TL-Training's code lists it."""


@TASKS.register("chat")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatTask(CompletionTask):
    """Conversations in the tokenizer's chat template: targets are what the assistant says, turn by turn.

    The task `completion` with `template="chat"` and all turns as targets. A problem without messages becomes a user
    turn with the question and an assistant turn per right solution.

    With `failed_calls="skip"` a turn is no target if a tool's answer to it shows an error (`error_signs`). It stays in
    the conversation: the model learns to go on after an error, and not to make it. The last turn is always a target.

    Source of `failed_calls`: Ye et al., "TL-Training: A Task-Feature-Based Framework for Training Large Language Models
    in Tool Use", 2024 (arXiv 2412.15495), section on mitigating adverse effects. The released code compares letters and
    digits alone, so that its signs `"error":` and `'error'` drop every turn whose answer has the word;
    `error_signs=("error",)` does that.
    """

    name: ClassVar[str] = "chat"
    needs: ClassVar[str] = "messages, or right solutions"
    before: ClassVar[Mapping[str, Any]] = {
        **TemplateTask.before, "template": CHAT, "targets": "all", "strip": False, "polarities": "right",
        "wrong_per_right": None, "steps": False, "success_rate": False, "failed_calls": "train", "error_signs": SIGNS,
    }  # fmt: skip
    had: ClassVar[tuple[str, ...]] = ("system",)

    template: str = CHAT  # Always the chat template.
    targets: Targets = "all"  # Train what the assistant says in its last turn, or in all turns.
    failed_calls: Literal["train", "skip"] = "train"  # Turns that a tool answers with an error: targets, or context.
    error_signs: tuple[str, ...] = SIGNS  # Texts, whatever their case, that show an error in what a tool says.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_chat:
            raise InputError(f"task.template={self.template!r}: the task chat has none; use the task completion for it")
        if "" in self.error_signs:
            raise InputError("task.error_signs has an empty text, which every answer of a tool holds; leave it out")

    def trains(self, messages: Sequence[Message], turn: int) -> bool:
        """False for a turn whose calls a tool answers with an error, where those are left out."""
        return self.failed_calls == "train" or not failed(messages, turn, self.error_signs)


def failed(messages: Sequence[Message], turn: int, signs: Sequence[str] = SIGNS) -> bool:
    """Whether a tool answers a turn with an error: one of the answers that follow it holds one of the signs.

    >>> failed([Message("assistant", "f(1)"), Message("tool", "Error: name 'f' is not defined")], 0)
    True
    """
    answers = itertools.takewhile(lambda one: one.role == "tool", messages[turn + 1 :])
    return any(sign.lower() in one.content.lower() for one in answers for sign in signs)
