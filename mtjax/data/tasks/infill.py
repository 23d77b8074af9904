"""Infilling: texts with spans cut out and written after their end, mixed with texts as they are."""

import dataclasses
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

from annotated_types import Ge, Gt, Le

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import CHAT, TASKS, Rendered, Span, SpecialTokens
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import digest, unit
from mtjax.validation import PositiveInt, check_types


class Marks(NamedTuple):
    """The sentinels of a corrupted text."""

    mask: str  # stands for span `{n}`, from 1
    sep: str  # between the text and its spans
    eom: str  # after each span

    def nth(self, number: int) -> str:
        """The sentinel of span `number`."""
        return self.mask.replace("{n}", str(number))


def draw_spans(size: int, ratio: float, spans: int, drawn: random.Random) -> list[tuple[int, int]]:
    """`(start, end)` of about `spans` spans that cover `ratio` of `size` places, in order, none next to another.

    Fewer spans are drawn where they would not fit; none of a text of one place.
    """
    masked = min(max(1, round(ratio * size)), size - 1)
    spans = min(spans, masked, size - masked + 1)
    if masked < 1 or spans < 1:
        return []
    cuts = sorted(drawn.sample(range(1, masked), spans - 1))
    lengths = [end - start for start, end in zip([0, *cuts], [*cuts, masked], strict=True)]
    places = sorted(drawn.sample(range(size - masked + 1), spans))  # kept places before each span: no two are equal
    found, before = [], 0
    for place, length in zip(places, lengths, strict=True):
        found.append((place + before, place + before + length))
        before += length
    return found


def corrupted(pieces: Sequence[str], spans: Sequence[tuple[int, int]], marks: Marks) -> str:
    """The text of these pieces with a sentinel for each span, and the spans after the separator.

    >>> corrupted("abcdef", [(1, 3), (4, 5)], Marks("<{n}>", "|", "."))
    'a<1>d<2>f|<1>bc.<2>e.'
    """
    shown, behind, last = "", "", 0
    for number, (start, end) in enumerate(spans, start=1):
        shown += "".join(pieces[last:start]) + marks.nth(number)
        behind += marks.nth(number) + "".join(pieces[start:end]) + marks.eom
        last = end
    return shown + "".join(pieces[last:]) + marks.sep + behind


def restored(text: str, marks: Marks) -> str:
    """The text that was corrupted: every span put back. A text without a separator is as it is."""
    shown, _, behind = text.partition(marks.sep)
    for number, span in enumerate(behind.split(marks.eom)[:-1], start=1):
        shown = shown.replace(marks.nth(number), span.removeprefix(marks.nth(number)), 1)
    return shown


@TASKS.register("infill")
@dataclasses.dataclass(frozen=True, kw_only=True)
class InfillTask(TemplateTask):
    """Span corruption within one text, mixed with the text as it is: a model that continues and fills in.

    Formula: with the chance `share` a right solution becomes `kept <mask_1> kept <sep> <mask_1> span <eom>`, else it
    stays; both are trained with plain cross-entropy on all of it. The share of a text that is cut out is drawn
    evenly from `least` to `most`, the number of spans from a Poisson distribution of mean `spans` (one at least), and
    spans are of whole tokens. What is drawn depends on the problem's id and `draws` alone. A text that has one token
    stays. No span crosses a text, so no packed row matters.

    To fill in, decode from `infill_prompt(prefix, suffix)` until `eom`; continuing texts is decoded as ever. The
    question stands before it all, as it is. `extras["segment_infill"]` is 1 where spans were cut.

    Want it for code and other texts that are edited in the middle. The authors find that it costs a little of the
    left-to-right quality, and that a prefix-LM brings nothing.

    Source: Nijkamp et al., "CodeGen2: Lessons for Training LLMs on Programming and Natural Languages", 2023 (arXiv
    2305.02309), for the layout and the even mixture. Its distributions of ratio and spans are not known to us: these
    are ours.
    """

    name: ClassVar[str] = "infill"
    needs: ClassVar[str] = "right solutions, or texts"
    before: ClassVar[Mapping[str, Any]] = TemplateTask.before

    template: str = "{question}\n"  # Text around the question, with `{question}` once; no chat template.
    share: Annotated[float, Ge(0), Le(1)] = 0.5  # Share of the texts that are corrupted; the others are causal.
    least: Annotated[float, Gt(0), Le(1)] = 0.05  # Smallest share of a text to cut out.
    most: Annotated[float, Gt(0), Le(1)] = 0.5  # Largest share of a text to cut out.
    spans: Annotated[float, Gt(0), Le(50)] = 2.0  # Mean of the Poisson distribution of the number of spans.
    draws: PositiveInt = 1  # Sequences of each text, each drawn anew.
    mask: str = "<mask_{n}>"  # Sentinel of span `{n}`.
    sep: str = "<|endoftext|><sep>"  # Between text and spans; the released model writes both.
    eom: str = "<eom>"  # After each span.
    sentinels: bool = True  # Whether sentinels are targets.
    special_tokens: SpecialTokens = "text"  # What special tokens in questions and solutions are: text, or control.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self, "task")
        if self.template == CHAT:
            raise InputError("task.template='chat': the task infill cuts texts, not turns; write a template")
        if self.least > self.most:
            raise InputError(f"task.least={self.least}: expected at most task.most, {self.most}")
        if "{n}" not in self.mask or len({self.mask, self.sep, self.eom, ""}) < 4:
            raise InputError(
                f"task.mask={self.mask!r}, sep={self.sep!r}, eom={self.eom!r}: expected three different texts, and the "
                "number {n} in mask"
            )

    @property
    def marks(self) -> Marks:
        """The sentinels."""
        return Marks(self.mask, self.sep, self.eom)

    def infill_prompt(self, prefix: str, suffix: str) -> str:
        """What to decode from, after the question, to get what stands between two texts, up to `eom`."""
        first = self.marks.nth(1)
        return f"{prefix}{first}{suffix}{self.sep}{first}"

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """`draws` sequences for each right solution."""
        rendered = []
        for number, solution in enumerate(problem.right):
            text = self.text(solution, tokenizer)
            any_mask = re.escape(self.mask).replace(re.escape("{n}"), r"\d+")
            if used := re.search(f"{any_mask}|{re.escape(self.sep)}|{re.escape(self.eom)}", text):
                raise InputError(f"{problem.place}: {used[0]!r} in a text is a sentinel; set task.mask, sep and eom")
            for draw in range(self.draws):
                name = f"right/{number}" + (f"/draw{draw}" if draw else "")
                spans = self._spans(f"{problem.id}/{name}", pieces := _pieces(text, tokenizer))
                made = corrupted(pieces, spans, self.marks) if spans else text
                extras = {"polarity": 1.0, "infill": float(bool(spans))}
                for one in self.sequences(problem, name, made, extras, tokenizer):
                    targets = one.spans if self.sentinels or not spans else self._without_sentinels(one, len(spans))
                    rendered.append(one._replace(spans=tuple(targets)))
        return rendered

    def _spans(self, key: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
        """The spans to cut out of a text; none where it stays."""
        if unit(key, "infill") >= self.share or len(pieces) < 2:
            return []
        drawn = random.Random(digest(key, "spans"))
        ratio, number, left = drawn.uniform(self.least, self.most), 0, drawn.random() / math.exp(-self.spans)
        while left > 1:  # Poisson: draws whose product falls below exp(-mean)
            number, left = number + 1, left * drawn.random()
        return draw_spans(len(pieces), ratio, max(1, number), drawn)

    def _without_sentinels(self, one: Rendered, number: int) -> list[Span]:
        cut = [self.sep, *[self.eom] * number, *(self.marks.nth(n) for n in range(1, number + 1) for _ in range(2))]
        places, start = [], one.prompt_end
        for mark in sorted({*cut}, key=len, reverse=True):
            at = one.text.find(mark, one.prompt_end)
            while at >= 0:
                places.append((at, at + len(mark)))
                at = one.text.find(mark, at + len(mark))
        spans = []
        for first, end in [*sorted(places), (len(one.text), len(one.text))]:
            spans += [Span(start, first, 1.0)] if first > start else []
            start = max(start, end)
        return spans


def _pieces(text: str, tokenizer: Tokenizer | None) -> list[str]:
    """The tokens of a text, as text; its characters without a tokenizer."""
    if tokenizer is None:
        return list(text)
    ends = [*dict.fromkeys(end for _, end in tokenizer.encode(text).offsets if end)]
    ends = ends if ends and ends[-1] == len(text) else [*ends, len(text)]
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]
