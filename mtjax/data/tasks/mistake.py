"""Mistake tuning's task: right and wrong rationales told apart by a prefix."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from mtjax.data.chat_spans import SLOT
from mtjax.data.messages import Message
from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Span, SpecialTokens, choose_wrong, fill
from mtjax.data.tasks.pair import KINDS
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


@TASKS.register("mistake")
@dataclasses.dataclass(frozen=True, kw_only=True)
class MistakeTask(TemplateTask):
    """Right and wrong rationales, each after a prefix that says which it is (Tong et al., ACL 2024, section 4.2).

    Rationales are the problem's right and wrong solutions, and the chosen and rejected sides of its pairs. Of a pair of
    steps the right steps before it stand between prefix and step, and no end token follows: the solution goes on.
    Injected mistakes (`data.source:mistakes`) are taken whole with `kinds="whole"`, and step by step with `"step"`.

    Formula: one sequence `question + prefix + rationale + end` per rationale, never two rationales in one. The prefix
    ends its line. Where it stands shows only in templates with text after the question: with QUESTION_ANSWER,
    `prefix_in="prompt"` gives `Question: Q [newline] S [newline] Answer: [newline] R` and `"target"` gives
    `Question: Q [newline] Answer: [newline] S [newline] R`. In a chat, the prefix is the last line of the user's last
    message ("prompt"), the first line of the assistant's turn ("target"), or the last line of the system message.

    The paper sums the loss over the whole sequence (`loss_on="all"`), and does not say what to decode from; hence
    `decode_prefix` has no default. Without any prefix at decode a model answers with the average of right and wrong.
    """

    name: ClassVar[str] = "mistake"
    needs: ClassVar[str] = "right or wrong solutions, or pairs"
    prefixes: ClassVar[Mapping[str, bool | None]] = {"right": True, "wrong": False}
    before: ClassVar[Mapping[str, Any]] = {**TemplateTask.before, "strip": True}

    decode_prefix: Literal["correct", "incorrect"]  # Before the answer when decoding; "incorrect" to study mistakes.
    correct_prefix: str = "[CORRECT RATIONALE]"  # Stands before right rationales.
    incorrect_prefix: str = "[INCORRECT RATIONALE]"  # Stands before wrong rationales.
    prefix_in: Literal["prompt", "target", "system"] = "target"
    """Just after the question, or after the template; in a chat in the user's turn, the assistant's turn, or the
    system message. "target" is the default, because every template shows the first words of the assistant as they are
    and not every template has a system message. Chat servers take only the other two."""
    loss_on: Literal["all", "prefix+rationale", "rationale"] = "all"
    """Which tokens are targets: all text, the prefix's and rationale's own characters, or the rationale's. The end
    token always is."""
    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
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
        if self.prefix_in == "system" and not self.is_chat:
            raise InputError("task.prefix_in='system' is for a chat alone; set task.template=chat, or prefix_in=prompt")

    @property
    def many_ends(self) -> bool:  # type: ignore[override]
        """With `loss_on="all"` an end token in the question is a target too."""
        return self.loss_on == "all" or super().many_ends

    def prompt(self, problem: Problem, polarity: bool | None = None, tokenizer: Tokenizer | None = None) -> str:
        """Everything before the rationale; `polarity` True or False asks for that prefix, None for `decode_prefix`."""
        if self.is_chat:
            return super().prompt(problem, polarity, tokenizer)
        self._refuse_conversation(problem)
        question, prefix = self.text(problem.question, tokenizer), self._prefix(polarity)
        if self.prefix_in == "prompt":
            return fill(self.template, f"{question}\n{prefix}")
        return f"{fill(self.template, question)}{prefix}\n"

    def _prefix(self, polarity: bool | None) -> str:
        correct = self.decode_prefix == "correct" if polarity is None else polarity
        return self.correct_prefix if correct else self.incorrect_prefix

    def placed(self, context: list[Message], polarity: bool | None) -> tuple[list[Message], str]:
        prefix = self._prefix(polarity)
        if self.prefix_in == "target":
            return context, f"{prefix}\n"
        role = "system" if self.prefix_in == "system" else "user"
        turn = max((turn for turn, message in enumerate(context) if message.role == role), default=None)
        if turn is None:
            if role == "user":
                raise InputError("the context has no message of the user for the prefix; set task.prefix_in='target'")
            return [Message("system", prefix), *context], ""
        said = context[turn].content
        changed = dataclasses.replace(context[turn], content=f"{said}\n{prefix}" if said else prefix)
        return [*context[:turn], changed, *context[turn + 1 :]], ""

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        rendered = []
        literal = dataclasses.replace(self, strip=False)  # a step goes on from its context, white space included
        for one in _rationales(problem, self.wrong_per_right, self.strip):
            extras = {"polarity": float(one.right)} | ({} if one.whole else {"kind": KINDS["step"]})
            answer = one.messages or literal.text(one.text, tokenizer)
            for sequence in self.sequences(
                problem, one.name, answer, extras, tokenizer, polarity=one.right,
                lead=literal.text(one.before, tokenizer), ends=one.whole, shared=True,
            ):  # fmt: skip
                rendered.append(sequence._replace(spans=self._targets(sequence, problem, one.right, tokenizer)))
        return rendered

    def _targets(
        self, sequence: Rendered, problem: Problem, right: bool, tokenizer: Tokenizer | None
    ) -> tuple[Span, ...]:
        """The targets that `loss_on` asks for."""
        if self.loss_on == "all":
            return (Span(0, len(sequence.text), 1.0),)
        if self.loss_on == "rationale":
            return sequence.spans
        slots = dataclasses.replace(self, correct_prefix=SLOT, incorrect_prefix=f"{SLOT}!")
        start = slots.prompt(problem, right, tokenizer).index(SLOT)
        return (Span(start, start + len(self._prefix(right)), 1.0), *sequence.spans)

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Whole rationales are closed by the end token; a step of a solution is not."""
        return extras.get("kind", KINDS["full"]) == KINDS["full"]


class _Rationale(NamedTuple):
    """A text to train on after a prefix."""

    name: str
    before: str  # the right steps before it
    text: str
    right: bool
    whole: bool  # whether it is a complete solution
    messages: tuple[Message, ...] = ()  # in place of the text, of a pair of conversations


def _rationales(problem: Problem, wrong_per_right: float | None, strip: bool) -> list[_Rationale]:
    """The rationales to train on; equal ones once."""
    cut = (lambda text: text.strip()) if strip else (lambda text: text)
    found = [_Rationale(f"right/{n}", "", cut(text), True, True) for n, text in enumerate(problem.right)]
    found += [_Rationale(f"wrong/{n}", "", cut(text), False, True) for n, text in enumerate(problem.wrong)]
    if problem.pairs:
        for n, pair in enumerate(problem.pairs):
            whole = pair.kind == "full"
            sides = (pair.chosen, pair.rejected)
            chosen, rejected = map(cut, sides) if whole and not pair.context else sides
            found += [_Rationale(f"chosen/{n}", pair.context, chosen, True, whole, pair.chosen_messages)]
            found += [_Rationale(f"rejected/{n}", pair.context, rejected, False, whole, pair.rejected_messages)]
        found = list({one[1:]: one for one in reversed(found)}.values())[::-1]  # the first of each
    wrong = [one.name for one in found if not one.right]
    kept = choose_wrong(problem.id, len(found) - len(wrong), wrong, wrong_per_right)
    return sorted((one for one in found if one.right or one.name in kept), key=lambda one: not one.right)
