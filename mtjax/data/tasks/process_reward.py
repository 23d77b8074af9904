"""Process rewards: each step of a solution followed by a mark, whose label says whether the step is right."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Span, SpecialTokens
from mtjax.data.tasks.labelled import labelled_solutions, step_spans
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.validation import check_types


@TASKS.register("process_reward")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ProcessRewardTask(TemplateTask):
    """Steps with labels, for `objective:process_reward`: a verifier of steps made of the language model itself.

    Formula: `text = template(question) + step_1 + mark + step_2 + mark + ...`. Only the last token of each mark counts:
    weight 1 after a right step and **-1 after a wrong one**, so that the sign is the label. What is scored there are
    the logits of `right_token` and `wrong_token`, whose numbers are `extras["segment_right_token"]` and
    `extras["segment_wrong_token"]`. The mark stands in the text whatever the label is, so no label can be read.

    Steps are known from labels (format `stepwise`, `data.source:bigbench_mistake`), from step pairs
    (`data.source:mistakes`), and from right solutions.
    """

    name: ClassVar[str] = "process_reward"
    needs: ClassVar[str] = "right solutions, or solutions with labels of their steps"
    before: ClassVar[Mapping[str, Any]] = TemplateTask.before

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    mark: str = "\n"  # Stands after each step, in place of the line break between steps.
    right_token: str = "+"  # Text of the token that stands for a right step; one token.
    wrong_token: str = "-"  # Text of the token that stands for a wrong step; one token.
    after_error: Literal["drop", "wrong"] = "drop"
    """Steps after the first wrong one: without a label, or all wrong, whatever the data say of them."""
    last_only: bool = False  # Label the last step alone that has a label: a verifier of solutions.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self, "task")
        if not self.mark or self.right_token == self.wrong_token:
            raise InputError(
                f"task.mark={self.mark!r}, right_token={self.right_token!r}, wrong_token={self.wrong_token!r}: "
                "expected a mark that is not empty, and two different tokens"
            )

    def _token(self, tokenizer: Tokenizer, text: str) -> float:
        """The number of a token, by its text."""
        ids = tokenizer.encode(text).ids
        if len(ids) != 1:
            raise InputError(
                f"task.right_token and task.wrong_token: {text!r} is {len(ids)} tokens of {tokenizer.name!r}; choose a "
                "text that is one, such as a letter"
            )
        return float(ids[0])

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """A sequence for each solution with labels."""
        extras = {}
        if tokenizer is not None:
            both = (("right_token", self.right_token), ("wrong_token", self.wrong_token))
            extras = {name: self._token(tokenizer, text) for name, text in both}
        rendered = []
        for one in labelled_solutions(problem):
            steps = tuple(self.text(step.rstrip("\n"), tokenizer) + self.mark for step in one.steps)
            cut = one.first_wrong
            labels = [1.0] * cut + [-1.0] * (len(steps) - cut)
            shown = len(steps) if self.after_error == "wrong" else min(cut + 1, len(steps))
            more = extras | {"polarity": float(cut == len(steps))}
            name, text = one.name, "".join(steps[:shown])
            for sequence in self.sequences(problem, name, text, more, tokenizer, ends=False):
                spans = step_spans(sequence, steps[:shown], problem.place)
                marks = [Span(span.end - 1, span.end, label) for span, label in zip(spans, labels, strict=False)]
                rendered.append(sequence._replace(spans=tuple(marks[-1:] if self.last_only else marks)))
        return rendered

    def ends(self, extras: Mapping[str, float]) -> bool:
        """No text is closed by the end token: nothing is generated."""
        return False
