"""From a problem to the text a model sees, and which of its characters count: one file per task."""

# ruff: noqa: F401  (names that users import from here)
from mtjax.data.tasks.base import CHATML, PLAIN, QUESTION_ANSWER, TASKS, Rendered, Span, Task, choose_solutions
from mtjax.data.tasks.chat import ChatTask
from mtjax.data.tasks.completion import CompletionTask, step_starts
from mtjax.data.tasks.group import GroupTask
from mtjax.data.tasks.mistake import MistakeTask
from mtjax.data.tasks.pair import PairTask
from mtjax.registry import import_modules

import_modules(__name__)

AnyTask = TASKS.setting()  # The type of a setting that holds a task; on the command line `data.task:completion`.
