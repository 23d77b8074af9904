"""Conversations as a task."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.messages import Targets
from mtjax.data.tasks.base import CHAT, TASKS
from mtjax.data.tasks.completion import CompletionTask
from mtjax.data.tasks.templated import TemplateTask
from mtjax.errors import InputError


@TASKS.register("chat")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatTask(CompletionTask):
    """Conversations in the tokenizer's chat template: targets are what the assistant says, turn by turn.

    The task `completion` with `template="chat"` and all turns as targets. A problem without messages becomes a user
    turn with the question and an assistant turn per right solution.
    """

    name: ClassVar[str] = "chat"
    needs: ClassVar[str] = "messages, or right solutions"
    before: ClassVar[Mapping[str, Any]] = {
        **TemplateTask.before, "template": CHAT, "targets": "all", "strip": False, "polarities": "right",
        "wrong_per_right": None, "steps": False, "success_rate": False,
    }  # fmt: skip
    had: ClassVar[tuple[str, ...]] = ("system",)

    template: str = CHAT  # Always the chat template.
    targets: Targets = "all"  # Train what the assistant says in its last turn, or in all turns.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_chat:
            raise InputError(f"task.template={self.template!r}: the task chat has none; use the task completion for it")
