"""Mistake tuning's task: right and wrong rationales told apart by a prefix."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Span, Task, check_template, choose_solutions, fill
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


@TASKS.register("mistake")
@dataclasses.dataclass(frozen=True, kw_only=True)
class MistakeTask(Task):
    """Right and wrong rationales, each behind a prefix that says which it is (Tong et al., ACL 2024, section 4.2).

    Formula: one sequence `question + prefix + rationale + end` per rationale, never two rationales in one. The prefix
    ends its line. Where it stands shows only in templates with text behind the question: with QUESTION_ANSWER,
    `prefix_in="prompt"` gives `Question: Q [newline] S [newline] Answer: [newline] R` and `"target"` gives
    `Question: Q [newline] Answer: [newline] S [newline] R`.

    The paper sums the loss over the whole sequence (`loss_on="all"`), and does not say what to decode from; hence
    `decode_prefix` has no default. Without any prefix at decode a model answers with the average of right and wrong.
    """

    name: ClassVar[str] = "mistake"
    needs: ClassVar[str] = "right or wrong solutions"
    prefixes: ClassVar[Mapping[str, bool | None]] = {"right": True, "wrong": False}

    decode_prefix: Literal["correct", "incorrect"]
    """Which prefix stands in front of the answer when decoding; say "correct" unless you study mistakes."""
    correct_prefix: str = "[CORRECT RATIONALE]"  # Stands before right rationales.
    incorrect_prefix: str = "[INCORRECT RATIONALE]"  # Stands before wrong rationales.
    prefix_in: Literal["prompt", "target"] = "target"
    """Where it stands: right behind the question, or in front of the rationale, behind the template."""
    loss_on: Literal["all", "prefix+rationale", "rationale"] = "all"
    """Which tokens are targets: all text, the prefix's and rationale's own characters, or the rationale's. The end
    token always is."""
    template: str = PLAIN  # Text around the question, with `{question}` once; should end in a line break.
    wrong_per_right: float | None = None  # Wrong rationales per right one of a problem; None takes all.

    def __post_init__(self) -> None:
        check_template(self.template)
        if not self.correct_prefix or self.correct_prefix == self.incorrect_prefix or not self.incorrect_prefix:
            raise InputError(
                f"prefixes {self.correct_prefix!r} and {self.incorrect_prefix!r}: expected two different texts; to "
                "train on both polarities without a prefix use task:completion-task with polarities='both'"
            )

    def _parts(self, problem: Problem, right: bool) -> tuple[str, int, int]:
        """The prompt, and where the prefix starts and ends in it."""
        prefix = self.correct_prefix if right else self.incorrect_prefix
        question = problem.question.strip()
        if self.prefix_in == "prompt":
            prompt = fill(self.template, f"{question}\n{prefix}")
            start = self.template.index("{question}") + len(question) + 1
        else:
            start = len(fill(self.template, question))
            prompt = f"{fill(self.template, question)}{prefix}\n"
        return prompt, start, start + len(prefix)

    @property
    def many_ends(self) -> bool:  # type: ignore[override]
        """With `loss_on="all"` an end token in the question is a target too."""
        return self.loss_on == "all"

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The text to decode from: everything before the rationale, prefix included.

        `polarity` True or False asks for the correct or incorrect prefix; None for `decode_prefix`.
        """
        return self._parts(problem, self.decode_prefix == "correct" if polarity is None else polarity)[0]

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """One sequence per rationale."""
        rendered = []
        for name, rationale, right in choose_solutions(problem, self.wrong_per_right):
            prompt, start, end = self._parts(problem, right)
            text = prompt + rationale.strip()
            spans = {
                "all": (Span(0, len(text), 1.0),),
                "prefix+rationale": (Span(start, end, 1.0), Span(len(prompt), len(text), 1.0)),
                "rationale": (Span(len(prompt), len(text), 1.0),),
            }[self.loss_on]
            rendered.append(Rendered(name, text, spans, len(prompt), True, {"polarity": float(right)}))
        return rendered
