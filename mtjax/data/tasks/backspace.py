"""Backspace: right solutions, and wrong tokens in them with the action that takes them back."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from annotated_types import Gt

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import PLAIN, TASKS, Rendered, Span, SpecialTokens, choose_solutions
from mtjax.data.tasks.pair import KINDS
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.validation import PositiveInt, check_types


@TASKS.register("backspace")
@dataclasses.dataclass(frozen=True, kw_only=True)
class BackspaceTask(TemplateTask):
    """Right solutions, and branches off them that end in a backspace: the way back from a wrong token.

    Formula: the actions `a b x <- c` push a, b and a wrong token x, take x back, and push c. What the model sees is the
    stack alone, so one text of actions becomes texts without deleted tokens: `a b c`, all of it trained, and for every
    backspace the stack that it is chosen on and the backspace, `a b x <-`, which alone is trained. `noise_tokens` wrong
    tokens in a row give as many branches, each a token shorter than the one before. Nothing that was taken back is ever
    seen by a later token, and no wrong token is a target.

    The wrong tokens are tokens of the same solution from elsewhere, at places that depend on the problem's id alone. In
    `extras["segment_backspace"]` branches are 1. Wrong solutions are rendered as they are, with polarity 0, for an
    objective that looks at the model's own texts; leave them out of the data for the others. With `objective:nll` this
    is likelihood training with a backspace; `objective:sequence_match` gives the backspace its value.

    `decoder:backspace` obeys the mark when sampling; other decoders write it into their text.

    Source: the action is that of Cundy and Ermon, "SequenceMatch", ICLR 2024 (arXiv 2306.05426). The noise and the
    branches, in place of their masks in one pass, are ours.
    """

    name: ClassVar[str] = "backspace"
    needs: ClassVar[str] = "right or wrong solutions"
    before: ClassVar[Mapping[str, Any]] = TemplateTask.before

    template: str = PLAIN  # Text around the question, with `{question}` once, or `chat` for the chat template.
    mark: str = "\b"  # Text of the token that means backspace; one token, which the solutions do not use.
    rate: Annotated[float, Gt(0)] = 0.05  # Wrong tokens (or runs of them) per token of a right solution; one at least.
    noise_tokens: PositiveInt = 1  # Wrong tokens in a row.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self, "task")

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """The solutions, and the branches of the right ones."""
        if tokenizer is not None and (
            len(ids := tokenizer.encode(self.mark).ids) != 1 or ids[0] == tokenizer.unknown_id
        ):
            raise InputError(
                f"task.mark={self.mark!r} is no single token of {tokenizer.name!r}; choose one that texts do not use, "
                "such as a reserved special token with task.special_tokens=control"
            )
        rendered = []
        for name, solution, right in choose_solutions(problem, None):
            text = self.text(solution, tokenizer)
            if self.mark in text:
                raise InputError(f"{problem.place}: a solution has the backspace {self.mark!r} in it; set task.mark")
            extras = {"polarity": float(right), "backspace": 0.0}
            rendered += self.sequences(problem, name, text, extras, tokenizer)
            for number, stack in enumerate(self._stacks(f"{problem.id}/{name}", text, tokenizer) if right else ()):
                extras = {"polarity": 1.0, "backspace": 1.0, "kind": KINDS["step"]}
                branch = f"{name}/back{number}"
                for one in self.sequences(problem, branch, stack + self.mark, extras, tokenizer, ends=False):
                    end = one.text.rindex(self.mark)
                    rendered.append(one._replace(spans=(Span(end, end + len(self.mark), 1.0),)))
        return rendered

    def _stacks(self, key: str, text: str, tokenizer: Tokenizer | None) -> list[str]:
        """The texts on which a backspace is chosen: some right tokens, then wrong ones."""
        pieces = list(text)
        if tokenizer is not None:
            ends = [end for _, end in tokenizer.encode(text).offsets]
            pieces = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        events = max(1, math.floor(self.rate * len(pieces) + 0.5))
        places = sorted(range(len(pieces)), key=lambda place: unit(key, str(place)))
        stacks: list[str] = []
        for place in places:
            elsewhere = [piece for piece in pieces if piece != pieces[place]]
            if not elsewhere or events == 0:
                break
            draw = lambda number, place=place, among=elsewhere: among[int(unit(key, f"{place}/{number}") * len(among))]
            wrong, right = [draw(number) for number in range(self.noise_tokens)], "".join(pieces[:place])
            runs = [right + "".join(wrong[:size]) for size in range(self.noise_tokens, 0, -1)]
            if all(
                self._splits(one, wrong[size - 1], tokenizer)
                for one, size in zip(runs, range(self.noise_tokens, 0, -1), strict=True)
            ):
                stacks += runs
                events -= 1
        return stacks

    def _splits(self, stack: str, last: str, tokenizer: Tokenizer | None) -> bool:
        """Whether the last wrong piece and the backspace are tokens of their own where they stand."""
        if tokenizer is None:
            return True
        offsets = tokenizer.encode(stack + self.mark).offsets
        return len(offsets) > 1 and offsets[-2:] == [
            (len(stack) - len(last), len(stack)),
            (len(stack), len(stack) + len(self.mark)),
        ]

    def ends(self, extras: Mapping[str, float]) -> bool:
        """Solutions are closed by the end token; a branch ends in its backspace."""
        return extras.get("kind", KINDS["full"]) == KINDS["full"]
