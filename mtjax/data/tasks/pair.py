"""Pairs as a task: two continuations of one text, the better one first."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mtjax.data.answers import unboxed
from mtjax.data.messages import Message
from mtjax.data.problem import Pair, Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, SpecialTokens
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import unit

KINDS = {"full": 0.0, "step": 1.0}  # How the kind of a pair stands in `segment_kind`.


@TASKS.register("pair")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PairTask(TemplateTask):
    """Chosen and rejected after the same prompt: what the DPO family and RISE train on.

    Formula: both sides read `template(question) + context + text`, weight 1 on the text alone, so that the shared part
    is shared token by token. In a chat both sides follow the same messages, and only turns after those are targets.

    Full pairs are complete solutions: those the problem brings, and every right solution with every wrong one. Step
    pairs are one step after the right steps before it; they come from injection (`python -m mtjax.inject`).

    Which pairs of a problem are taken depends on its id alone. Pairs with equal sides are dropped and counted; an end
    token in the middle of a solution would teach the model to stop there, so step pairs have none.
    """

    name: ClassVar[str] = "pair"
    sides: ClassVar[int] = 2
    needs: ClassVar[str] = "pairs, or both right and wrong solutions"
    before: ClassVar[Mapping[str, Any]] = {**TemplateTask.before, "strip": True}

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    full_per_problem: int | None = 1  # Full pairs to take of a problem; 0 for none, None for all.
    step_per_problem: int | None = 1  # Step pairs to take of a problem; RISE takes 1 (Qwen2) or 3 (Llama 3.1).
    end: Literal["full", "none"] = "full"  # Pairs closed by the end token: full ones, or (as RISE's code does) none.
    strip: bool = False  # Cut white space around questions and full solutions; off trains them exactly as given.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.
    unbox: bool = False  # Unwrap every `\boxed{...}` on both sides: a box on one side only gives the answer away.

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("full_per_problem", "step_per_problem"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"task.{name}={value}: expected a number >= 0, or None for all pairs")
        if self.full_per_problem == 0 and self.step_per_problem == 0:
            raise InputError("task.full_per_problem and task.step_per_problem are both 0: no pair is left; raise one")

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """Two sequences per pair, chosen and rejected in turn."""
        literal = dataclasses.replace(self, strip=False)
        unbox = unboxed if self.unbox else str
        rendered = []
        for name, pair in choose_pairs(problem, self.full_per_problem, self.step_per_problem):
            # A step goes on from its context, so the white space around it is never cut.
            task = self if pair.kind == "full" and not pair.context else literal
            lead = unbox(literal.text(pair.context, tokenizer))
            sides = ((pair.chosen, pair.chosen_messages), (pair.rejected, pair.rejected_messages))
            for (text, messages), polarity in zip(sides, (1.0, 0.0), strict=True):
                extras = {"polarity": polarity, "kind": KINDS[pair.kind]}
                answer: str | list[Message] = unbox(task.text(text, tokenizer))
                if messages:
                    answer = [dataclasses.replace(message, content=unbox(message.content)) for message in messages]
                rendered += self.sequences(
                    problem, name, answer, extras, tokenizer, lead=lead, ends=self.ends(extras), shared=True
                )
        return rendered

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Full pairs are closed by the end token, unless `end` says none; a step of a solution is not."""
        return self.end == "full" and extras.get("kind", KINDS["full"]) == KINDS["full"]


def choose_pairs(problem: Problem, full: int | None, step: int | None) -> list[tuple[str, Pair]]:
    """At most `full` full and `step` step pairs of a problem (None: all), each with its name, such as "full/0".

    Candidates are the problem's own pairs and, as full ones, each right solution with each wrong one. Which are taken
    depends on the problem's id alone, so that every run and every host agree.
    """
    products = (Pair("", right, wrong) for right, wrong in itertools.product(problem.right, problem.wrong))
    pairs = [*problem.pairs, *products]
    chosen = []
    for kind, count in (("full", full), ("step", step)):
        named = [(f"{kind}/{n}", pair) for n, pair in enumerate(pair for pair in pairs if pair.kind == kind)]
        if count is not None:
            named = sorted(named, key=lambda item: unit(problem.id, item[0]))[:count]
        chosen += named
    return chosen
