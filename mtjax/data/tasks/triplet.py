"""Triplets: a right solution, another right one, and a wrong one of the same problem."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Span, SpecialTokens
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.io.hashing import unit
from mtjax.validation import PositiveInt, check_types


@TASKS.register("triplet")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TripletTask(TemplateTask):
    """Each right solution beside another right one and a wrong one, for `self_reflection` and `tpo`.

    Formula: batches `(B, 3, T)`: the anchor, a *different* right solution of the problem, and a wrong one, drawn by the
    problem's id from the first `pool_right` and `pool_wrong`. All read `template(question) + solution`. Of the anchor
    the prompt has weight `prompt_weight` and the solution 1. Where there is no other right solution, or no wrong one,
    that side is empty: the anchor's likelihood is trained, and nothing is compared. With `anchors="first"` only the
    first right solution is an anchor, such as the gold text of a record with `reference`, `chosen` and `rejected`.

    Source: Wang et al., "Democratizing Reasoning Ability: Tailored Learning from Large Language Model", EMNLP 2023
    (arXiv 2310.13332), and its code. There the first token of the solution has the weight of the prompt as well, since
    the weights are shifted by one.
    """

    name: ClassVar[str] = "triplet"
    sides: ClassVar[int] = 3
    ragged: ClassVar[bool] = True
    needs: ClassVar[str] = "right solutions"
    before: ClassVar[Mapping[str, Any]] = TemplateTask.before

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    prompt_weight: Annotated[float, Ge(0)] = 0.1  # Weight of the prompt's tokens of an anchor; 0 trains none.
    anchors: Literal["each", "first"] = "each"  # Right solutions that are anchors: each, or the first of a problem.
    pool_right: PositiveInt = 10  # Right solutions of a problem that are drawn from.
    pool_wrong: PositiveInt = 4  # Wrong solutions of a problem that are drawn from.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self, "task")

    @property
    def loss_on(self) -> str:
        """Whether prompts are targets ("all"), for the self-check."""
        return "all" if self.prompt_weight else "rationale"

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """Three sequences for each right solution, of which the others may be empty."""
        right = list(dict.fromkeys(problem.right))[: self.pool_right]
        wrong = list(dict.fromkeys(problem.wrong))[: self.pool_wrong]
        rendered = []
        for number, anchor in enumerate(right if self.anchors == "each" else right[:1]):
            name = f"right/{number}"
            draw = lambda pool, what, name=name: (
                pool[int(unit(f"{problem.id}/{name}", what) * len(pool))] if pool else None
            )
            other = draw([text for text in right if text != anchor], "positive")
            texts = ((anchor, 1.0), (other, 1.0), (draw(wrong, "negative"), 0.0))
            for text, polarity in texts:
                if text is None:
                    rendered.append(Rendered(name, "", (), 0, False, {"polarity": polarity, "finished": 0.0}))
                    continue
                extras = {"polarity": polarity, "finished": 1.0}
                made = self.sequences(problem, name, self.text(text, tokenizer), extras, tokenizer, shared=True)[0]
                if text is anchor and self.prompt_weight and made.prompt_end:
                    made = made._replace(spans=(Span(0, made.prompt_end, self.prompt_weight), *made.spans))
                rendered.append(made)
        return rendered

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Solutions are closed by the end token; empty sides are not."""
        return extras.get("finished", 1.0) > 0
