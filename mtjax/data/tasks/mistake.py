"""Mistake tuning's task: right and wrong rationales told apart by a prefix."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Span, SpecialTokens, Task, choose_wrong, fill
from mtjax.data.tasks.pair import KINDS
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


@TASKS.register("mistake")
@dataclasses.dataclass(frozen=True, kw_only=True)
class MistakeTask(Task):
    """Right and wrong rationales, each after a prefix that says which it is (Tong et al., ACL 2024, section 4.2).

    Rationales are the problem's right and wrong solutions, and the chosen and rejected sides of its pairs. Of a pair of
    steps the right steps before it stand between prefix and step, and no end token follows: the solution goes on.
    Injected mistakes (`data.source:mistakes`) are taken whole with `kinds="whole"`, and step by step with `"step"`.

    Formula: one sequence `question + prefix + rationale + end` per rationale, never two rationales in one. The prefix
    ends its line. Where it stands shows only in templates with text after the question: with QUESTION_ANSWER,
    `prefix_in="prompt"` gives `Question: Q [newline] S [newline] Answer: [newline] R` and `"target"` gives
    `Question: Q [newline] Answer: [newline] S [newline] R`.

    The paper sums the loss over the whole sequence (`loss_on="all"`), and does not say what to decode from; hence
    `decode_prefix` has no default. Without any prefix at decode a model answers with the average of right and wrong.
    """

    name: ClassVar[str] = "mistake"
    needs: ClassVar[str] = "right or wrong solutions, or pairs"
    prefixes: ClassVar[Mapping[str, bool | None]] = {"right": True, "wrong": False}
    before: ClassVar[Mapping[str, Any]] = {**Task.before, "strip": True}

    decode_prefix: Literal["correct", "incorrect"]  # Before the answer when decoding; "incorrect" to study mistakes.
    correct_prefix: str = "[CORRECT RATIONALE]"  # Stands before right rationales.
    incorrect_prefix: str = "[INCORRECT RATIONALE]"  # Stands before wrong rationales.
    prefix_in: Literal["prompt", "target"] = "target"  # Just after the question, or after the template.
    loss_on: Literal["all", "prefix+rationale", "rationale"] = "all"
    """Which tokens are targets: all text, the prefix's and rationale's own characters, or the rationale's. The end
    token always is."""
    template: str = PLAIN  # Text around the question, with `{question}` once; should end in a line break.
    wrong_per_right: float | None = None  # Wrong rationales (or steps) per right one of a problem; None takes all.
    strip: bool = False  # Cut white space around questions and rationales; off trains them exactly as given.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and rationales are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.correct_prefix or self.correct_prefix == self.incorrect_prefix or not self.incorrect_prefix:
            raise InputError(
                f"prefixes {self.correct_prefix!r} and {self.incorrect_prefix!r}: expected two different texts; to "
                "train on both polarities without a prefix use task:completion-task with polarities='both'"
            )

    @property
    def many_ends(self) -> bool:  # type: ignore[override]
        """With `loss_on="all"` an end token in the question is a target too."""
        return self.loss_on == "all"

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """Everything before the rationale; `polarity` True or False asks for that prefix, None for `decode_prefix`."""
        correct = self.decode_prefix == "correct" if polarity is None else polarity
        question = self.text(problem.question, tokenizer)
        prefix = self.correct_prefix if correct else self.incorrect_prefix
        if self.prefix_in == "prompt":
            return fill(self.template, f"{question}\n{prefix}")
        return f"{fill(self.template, question)}{prefix}\n"

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        rendered = []
        literal = dataclasses.replace(self, strip=False)  # a step goes on from its context, white space included
        for name, before, rationale, right, whole in _rationales(problem, self.wrong_per_right, self.strip):
            prompt = self.prompt(problem, right, tokenizer)
            prefix = self.correct_prefix if right else self.incorrect_prefix
            context = literal.text(before, tokenizer)
            text = prompt + context + literal.text(rationale, tokenizer)
            # The prefix is followed by the rest of the template, or by a line break.
            tail = self.template.partition("{question}")[2] if self.prefix_in == "prompt" else "\n"
            start, begin = len(prompt) - len(tail) - len(prefix), len(prompt) + len(context)
            answer = Span(begin, len(text), 1.0)
            spans = {
                "all": (Span(0, len(text), 1.0),),
                "prefix+rationale": (Span(start, start + len(prefix), 1.0), answer),
                "rationale": (answer,),
            }[self.loss_on]
            extras = {"polarity": float(right)} | ({} if whole else {"kind": KINDS["step"]})
            rendered.append(Rendered(name, text, spans, begin, whole, extras))
        return rendered

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Whole rationales are closed by the end token; a step of a solution is not."""
        return extras.get("kind", KINDS["full"]) == KINDS["full"]


def _rationales(problem: Problem, wrong_per_right: float | None, strip: bool) -> list[tuple[str, str, str, bool, bool]]:
    """The rationales to train on, as (name, right steps before it, text, is right, is whole); equal ones once."""
    cut = (lambda text: text.strip()) if strip else (lambda text: text)
    found = [(f"right/{n}", "", cut(text), True, True) for n, text in enumerate(problem.right)]
    found += [(f"wrong/{n}", "", cut(text), False, True) for n, text in enumerate(problem.wrong)]
    if problem.pairs:
        for n, pair in enumerate(problem.pairs):
            whole = pair.kind == "full"
            sides = (pair.chosen, pair.rejected)
            chosen, rejected = map(cut, sides) if whole and not pair.context else sides
            found += [(f"chosen/{n}", pair.context, chosen, True, whole)]
            found += [(f"rejected/{n}", pair.context, rejected, False, whole)]
        found = list({one[1:]: one for one in reversed(found)}.values())[::-1]  # the first of each
    wrong = [one[0] for one in found if not one[3]]
    kept = choose_wrong(problem.id, len(found) - len(wrong), wrong, wrong_per_right)
    return sorted((one for one in found if one[3] or one[0] in kept), key=lambda one: not one[3])
