"""Prompts and completions as a task."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mtjax.data.messages import Message
from mtjax.data.problem import Problem
from mtjax.data.tasks.base import CHAT, PLAIN, TASKS, Rendered, SpecialTokens, choose_solutions
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


def step_starts(text: str, start: int) -> tuple[int, ...]:
    """Where the steps of a solution start that fills `text` from `start` on.

    Steps are what `Step 1:`, `Step 2:`, ... and `Answer:` open at the start of a line; without such headers every line
    that is not blank is a step. The first one starts at `start` in any case.

    >>> step_starts("Q\\nStep 1: a\\nb\\nStep 2: c", 2)
    (2, 12)
    """
    headers = [match.start() for match in re.finditer(r"^(Step \d+|Answer):", text, re.MULTILINE)]
    if not any(mark >= start for mark in headers):
        headers = [match.start() for match in re.finditer(r"^(?=\S)", text, re.MULTILINE)]
    return (start, *(mark for mark in headers if mark > start))


@TASKS.register("completion")
@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionTask(TemplateTask):
    """A prompt and its completion: targets are the completion and its end token.

    Formula: `text = template(question) + solution`, weight 1 on the solution. With `polarities="both"` wrong solutions
    are trained as if they were right, with nothing to tell them apart: the baseline that shows what a prefix does.
    """

    name: ClassVar[str] = "completion"
    needs: ClassVar[str] = "a completion or right solutions, or messages with template=chat"
    before: ClassVar[Mapping[str, Any]] = {**TemplateTask.before, "strip": True}
    had: ClassVar[tuple[str, ...]] = ("strip",)

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    polarities: Literal["right", "both"] = "right"  # Train on right solutions, or on right and wrong ones alike.
    wrong_per_right: float | None = None  # With both: wrong solutions per right one of a problem; None takes all.
    strip: bool = False  # Cut white space around questions and solutions; off trains them exactly as given.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.
    steps: bool = False  # Number the steps of each solution (`step_ids`), for dco with granularity "step".
    success_rate: bool = False
    """Carry the share of the problem's samples that were right (`segment_success_rate`), for dco with granularity
    "external"; a problem that does not know it is an error."""

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        answers: list[tuple[str, str | tuple[Message, ...], bool]] = [
            (name, self.text(solution, tokenizer), right)
            for name, solution, right in choose_solutions(problem, self.wrong_per_right)
            if right or self.polarities == "both"
        ]
        if self.is_chat and (spoken := self.conversation(problem)[1]):
            answers = [(CHAT, spoken, True)]
        if answers and self.success_rate and problem.success_rate is None:
            raise InputError(
                f"problem {problem.id} has no success rate; sample it with `python -m mtjax.mine` first, or set "
                "task.success_rate=False"
            )
        rate = {"success_rate": problem.success_rate or 0.0} if self.success_rate else {}
        rendered = [
            one
            for name, answer, right in answers
            for one in self.sequences(problem, name, answer, {"polarity": float(right)} | rate, tokenizer)
        ]
        return [one._replace(steps=step_starts(one.text, one.prompt_end)) if self.steps else one for one in rendered]
