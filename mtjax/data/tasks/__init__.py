"""From a problem to the text a model sees, and which of its characters count: one file per task."""

from mtjax.data.tasks.base import CHATML, PLAIN, QUESTION_ANSWER, Rendered, Span, choose_solutions, step_starts
from mtjax.data.tasks.chat import ChatTask
from mtjax.data.tasks.completion import CompletionTask
from mtjax.data.tasks.mistake import MistakeTask
from mtjax.data.tasks.pair import PairTask

Task = CompletionTask | MistakeTask | ChatTask | PairTask
"""Any task; on the command line `task:completion-task`, `task:mistake-task`, `task:chat-task`, `task:pair-task`."""

__all__ = [
    "CHATML",
    "PLAIN",
    "QUESTION_ANSWER",
    "ChatTask",
    "CompletionTask",
    "MistakeTask",
    "PairTask",
    "Rendered",
    "Span",
    "Task",
    "choose_solutions",
    "step_starts",
]
