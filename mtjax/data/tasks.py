"""Tasks: from a problem to the text a model sees, and which of its characters count.

A task is a frozen dataclass with a `name` (objectives ask for it), how many `sides` an example has,
`render(problem, tokenizer) -> list[Rendered]` for training (side after side, example after example) and
`prompt(problem, polarity, tokenizer) -> str` for decoding: exactly the text that stands before the answer in training.
Only a chat needs the tokenizer, for its template.
"""

import dataclasses
import math
import re
from typing import ClassVar, Literal

from mtjax.data.chat_task import ChatTask
from mtjax.data.pair_task import PairTask
from mtjax.data.problem import Problem
from mtjax.data.prompts import PLAIN, check_template, fill
from mtjax.data.rendered import Rendered, Span
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import unit


def choose_solutions(problem: Problem, wrong_per_right: float | None) -> list[tuple[str, str, bool]]:
    """The solutions to train on, as (name, text, is right): all right ones, and `wrong_per_right` wrong ones for each.

    None takes all wrong ones. Otherwise a problem with r right solutions gives `wrong_per_right * r` wrong ones, or all
    if there are fewer; a fraction is rounded up or down with the chance it stands for. Which ones, and the rounding,
    depend on the problem's id alone, so every run and every host agree. Raises InputError for a negative ratio.
    """
    names = [f"wrong/{number}" for number in range(len(problem.wrong))]
    if wrong_per_right is not None:
        if not 0 <= wrong_per_right < math.inf:
            raise InputError(f"task.wrong_per_right={wrong_per_right}: expected a number >= 0, or None for all")
        share = wrong_per_right * len(problem.right)
        take = math.floor(share) + (unit(problem.id, "rounding") < share % 1)
        names = sorted(names, key=lambda name: unit(problem.id, name))[:take]
    kept = set(names)
    right = [(f"right/{number}", text, True) for number, text in enumerate(problem.right)]
    wrong = [(f"wrong/{number}", text, False) for number, text in enumerate(problem.wrong)]
    return right + [solution for solution in wrong if solution[0] in kept]


def step_starts(text: str, start: int) -> tuple[int, ...]:
    """Where the steps of a solution start that fills `text` from `start` on.

    Steps are what `Step 1:`, `Step 2:`, ... and `Answer:` open at the start of a line; without such headers every line
    that is not blank is a step. The first one starts at `start` in any case.

    >>> step_starts("Q\nStep 1: a\nb\nStep 2: c", 2)
    (2, 12)
    """
    headers = [match.start() for match in re.finditer(r"^(Step \d+|Answer):", text, re.MULTILINE)]
    if not any(mark >= start for mark in headers):
        headers = [match.start() for match in re.finditer(r"^(?=\S)", text, re.MULTILINE)]
    return (start, *(mark for mark in headers if mark > start))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionTask:
    """A prompt and its completion: targets are the completion and its end token.

    Formula: `text = template(question) + solution`, weight 1 on the solution. With `polarities="both"` wrong solutions
    are trained as if they were right, with nothing to tell them apart: the baseline that shows what a prefix does.
    """

    name: ClassVar[str] = "completion"
    sides: ClassVar[int] = 1

    template: str = PLAIN
    """Text around the question, with `{question}` once; should end in a line break."""
    polarities: Literal["right", "both"] = "right"
    """Which solutions to train on: right ones, or right and wrong ones alike."""
    wrong_per_right: float | None = None
    """With both: wrong solutions per right one of a problem; None takes all."""
    strip: bool = True
    """Cut white space around questions and solutions, which would move token boundaries. Off: text as it is."""
    steps: bool = False
    """Number the steps of each solution (`step_ids`, see `step_starts`), for dco with granularity "step"."""
    success_rate: bool = False
    """Carry the share of the problem's samples that were right (`segment_success_rate`), for dco with granularity
    "external"; a problem that does not know it is an error."""

    def __post_init__(self) -> None:
        check_template(self.template)

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """The text to decode from; a completion has no polarity."""
        return fill(self.template, problem.question.strip() if self.strip else problem.question)

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """One sequence per solution."""
        prompt = self.prompt(problem)
        rendered = []
        for name, solution, right in choose_solutions(problem, self.wrong_per_right):
            if right or self.polarities == "both":
                text = prompt + (solution.strip() if self.strip else solution)
                spans = (Span(len(prompt), len(text), 1.0),)
                extras = {"polarity": float(right)} | self._rate(problem)
                steps = step_starts(text, len(prompt)) if self.steps else None
                rendered.append(Rendered(name, text, spans, len(prompt), True, extras, steps))
        return rendered

    def _rate(self, problem: Problem) -> dict[str, float]:
        if self.success_rate and problem.success_rate is None:
            raise InputError(
                f"problem {problem.id} has no success rate; sample it with `python -m mtjax.mine` first, or set "
                "task.success_rate=False"
            )
        return {"success_rate": problem.success_rate} if problem.success_rate is not None and self.success_rate else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MistakeTask:
    """Right and wrong rationales, each behind a prefix that says which it is (Tong et al., ACL 2024, section 4.2).

    Formula: one sequence `question + prefix + rationale + end` per rationale, never two rationales in one. The prefix
    ends its line. Where it stands shows only in templates with text behind the question: with QUESTION_ANSWER,
    `prefix_in="prompt"` gives `Question: Q [newline] S [newline] Answer: [newline] R` and `"target"` gives
    `Question: Q [newline] Answer: [newline] S [newline] R`.

    The paper sums the loss over the whole sequence (`loss_on="all"`), and does not say what to decode from; hence
    `decode_prefix` has no default. Without any prefix at decode a model answers with the average of right and wrong.
    """

    name: ClassVar[str] = "mistake"
    sides: ClassVar[int] = 1

    decode_prefix: Literal["correct", "incorrect"]
    """Which prefix stands in front of the answer when decoding; say "correct" unless you study mistakes."""
    correct_prefix: str = "[CORRECT RATIONALE]"
    """Stands before right rationales."""
    incorrect_prefix: str = "[INCORRECT RATIONALE]"
    """Stands before wrong rationales."""
    prefix_in: Literal["prompt", "target"] = "target"
    """Where it stands: right behind the question, or in front of the rationale, behind the template."""
    loss_on: Literal["all", "prefix+rationale", "rationale"] = "all"
    """Which tokens are targets: all text, the prefix's and rationale's own characters, or the rationale's. The end
    token always is."""
    template: str = PLAIN
    """Text around the question, with `{question}` once; should end in a line break."""
    wrong_per_right: float | None = None
    """Wrong rationales per right one of a problem; None takes all."""

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


Task = CompletionTask | MistakeTask | ChatTask | PairTask
"""Any task; on the command line `task:completion-task`, `task:mistake-task`, `task:chat-task`, `task:pair-task`."""
