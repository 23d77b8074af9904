"""Texts of many small questions with their answers, all of which are targets: in-context learning as a task."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import CHAT, TASKS, Rendered, Span, SpecialTokens
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


def answer_spans(text: str, mark: str) -> list[Span]:
    """The characters between the last `mark` of each line and the end of the line, where there are any.

    >>> answer_spans("ab=1\\ncd=0\\nef=", "=")
    [Span(start=3, end=4, weight=1.0), Span(start=8, end=9, weight=1.0)]
    """
    found = re.finditer(rf"{re.escape(mark)}((?:(?!{re.escape(mark)})[^\n])+)$", text, re.MULTILINE)
    return [Span(*match.span(1), 1.0) for match in found]


@TASKS.register("in_context")
@dataclasses.dataclass(frozen=True, kw_only=True)
class InContextTask(TemplateTask):
    """A question that is a list of solved examples: their answers are targets too, so every text trains every length.

    Formula: `text = template(question) + solution`, weight 1 on the solution, and on what follows `mark` in each line
    of the question up to the end of the line; an open last line `x=` is answered by the solution. Decoding is as in the
    task `completion`: from the complete question.

    Want it for in-context learning, where the loss at place i is that after i examples (`data.source:gpicl`), and for
    decisions in a row (`data.source:bandit`). What the lines show before the mark is read and never trained.
    """

    name: ClassVar[str] = "in_context"
    needs: ClassVar[str] = "right solutions"
    before: ClassVar[Mapping[str, Any]] = TemplateTask.before

    template: str = "{question}"  # Text around the question, with `{question}` once; no chat template.
    mark: str = "="  # What an answer stands behind, in its line.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.template == CHAT:
            raise InputError(
                "task.template='chat': the task in_context has one text for each problem; write a template"
            )
        if not self.mark or "\n" in self.mark:
            raise InputError(f"task.mark={self.mark!r}: expected text without a line break, such as '='")

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """A sequence for each right solution."""
        rendered = []
        for number, solution in enumerate(problem.right):
            answer = self.text(solution, tokenizer)
            for one in self.sequences(problem, f"right/{number}", answer, {"polarity": 1.0}, tokenizer):
                earlier = answer_spans(one.text[: one.prompt_end], self.mark)
                rendered.append(one._replace(spans=(*earlier, *one.spans)))
        return rendered
