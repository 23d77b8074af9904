"""Step-level likelihood: solutions up to their first wrong step."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Span, SpecialTokens
from mtjax.data.tasks.labelled import labelled_solutions, step_spans
from mtjax.data.tasks.pair import KINDS
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.validation import check_types


@TASKS.register("until_error")
@dataclasses.dataclass(frozen=True, kw_only=True)
class UntilErrorTask(TemplateTask):
    """Solutions whose wrong step is known, trained up to it: the simplest process supervision, for `objective:nll`.

    Formula: `text = template(question) + steps`, weight 1 on the steps before the first wrong one. Right solutions are
    trained whole, with the end token; others are cut, so that nothing after the error is read.

    Steps are known from labels (format `stepwise`, `data.source:bigbench_mistake`), from step pairs
    (`data.source:mistakes`), and from right solutions. What to do with the wrong step itself says `error`: leave it
    out; train it with the weight `-error_weight` in the same text, for `nll`, whose count then has that weight too; or
    make it a text of its own after the right steps, of wrong polarity (`apart`), for `unlikelihood`, `cringe`, `npo`,
    `kto` and others that tell right from wrong texts.
    """

    name: ClassVar[str] = "until_error"
    needs: ClassVar[str] = "right solutions, or solutions with labels of their steps"
    before: ClassVar[Mapping[str, Any]] = TemplateTask.before

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    error: Literal["none", "negative", "apart"] = "none"  # The first wrong step: left out, unlearnt, or on its own.
    error_weight: Annotated[float, Gt(0)] = 0.1  # With error=negative: minus the weight of its tokens.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self, "task")

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """A sequence for each solution, and with `apart` one for each wrong step."""
        rendered = []
        for one in labelled_solutions(problem):
            steps, cut = tuple(self.text(step, tokenizer) for step in one.steps), one.first_wrong
            wrong = cut < len(steps)
            kept = cut + (wrong and self.error == "negative")
            before = "".join(steps[:cut])
            if kept:
                ends = one.complete and not wrong
                extras = {"polarity": 1.0} | ({} if ends else {"kind": KINDS["step"]})
                for text in self.sequences(problem, one.name, "".join(steps[:kept]), extras, tokenizer, ends=ends):
                    if not (wrong and self.error == "negative"):
                        rendered.append(text)
                        continue
                    *right, error = step_spans(text, steps[:kept], problem.place)
                    spans = (*right, Span(error.start, error.end, -self.error_weight))
                    rendered.append(text._replace(spans=spans))
            if wrong and self.error == "apart":
                extras = {"polarity": 0.0, "kind": KINDS["step"]}
                rendered += self.sequences(
                    problem, f"{one.name}/error", steps[cut], extras, tokenizer, lead=before, ends=False
                )
        return rendered

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Right solutions are closed by the end token; what is cut at an error is not."""
        return extras.get("kind", KINDS["full"]) == KINDS["full"]
