"""Solutions with a value after each step, for a policy with a value head."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, SpecialTokens
from mtjax.data.tasks.labelled import split_steps, step_spans
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer


@TASKS.register("step_values")
@dataclasses.dataclass(frozen=True, kw_only=True)
class StepValuesTask(TemplateTask):
    """Right and wrong solutions with values of their steps, for `objective:alphamath`.

    Formula: `text = template(question) + steps`, weight 1 on the steps and the end token, wrong solutions too: the
    objective leaves their likelihood out. The last token of a step (before the end token) carries what the value head
    is to say there: `extras["value_target"]` where `extras["value_weight"]` is 1.

    Values come from records (format `step_values`), as a tree search estimates them. Of other solutions the last step
    alone has one, 1 for right and -1 for wrong ones: how they ended is known there, and what to expect before is not.
    """

    name: ClassVar[str] = "step_values"
    needs: ClassVar[str] = "right or wrong solutions, or steps with values"
    before: ClassVar[Mapping[str, Any]] = TemplateTask.before

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """A sequence for each solution; equal ones once."""
        solutions: dict[str, tuple[str, float, tuple[str, ...], tuple[float | None, ...]]] = {}
        for number, one in enumerate(problem.candidates):
            if one.values:
                steps = (*(f"{step}\n" for step in one.steps[:-1]), one.steps[-1])
                solutions["".join(steps)] = (f"valued/{number}", float(one.values[-1] > 0), steps, one.values)
        for side, right in (("right", 1.0), ("wrong", 0.0)):
            for number, text in enumerate(getattr(problem, side)):
                steps = split_steps(text)
                values = (*[None] * (len(steps) - 1), 2 * right - 1)
                solutions.setdefault(text, (f"{side}/{number}", right, steps, values))
        rendered = []
        for name, right, steps, values in solutions.values():
            shown = tuple(self.text(step, tokenizer) for step in steps)
            for text in self.sequences(problem, name, "".join(shown), {"polarity": right}, tokenizer):
                starts = tuple(span.start for span in step_spans(text, shown, problem.place))
                rendered.append(text._replace(steps=starts, values=values))
        return rendered
