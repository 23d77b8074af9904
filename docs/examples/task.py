"""Correction: the model reads a wrong solution and writes a right one."""

import dataclasses
from typing import ClassVar

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import TASKS, Rendered, Span, Task
from mtjax.data.tokenizer import Tokenizer


@TASKS.register("correction")
@dataclasses.dataclass(frozen=True, kw_only=True)
class CorrectionTask(Task):
    """A question with a wrong solution; the target is a right solution.

    Formula: `text = question + wrong + header + right`, weight 1 on `right` and its end token.
    """

    name: ClassVar[str] = "correction"
    needs: ClassVar[str] = "both right and wrong solutions"

    header: str = "The solution above has a mistake. Corrected:"  # The line between the two solutions.

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The question, the first wrong solution and the header."""
        question, wrong = (self.text(text, tokenizer) for text in (problem.question, *problem.wrong[:1], "")[:2])
        return f"{question}\n{wrong}\n{self.header}\n"

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """One sequence per right solution; none without a wrong one."""
        if not problem.wrong:
            return []
        prompt = self.prompt(problem, None, tokenizer)
        texts = [prompt + self.text(right, tokenizer) for right in problem.right]
        return [
            Rendered(
                f"right/{number}", text, (Span(len(prompt), len(text), 1.0),), len(prompt), True, {"polarity": 1.0}
            )
            for number, text in enumerate(texts)
        ]
