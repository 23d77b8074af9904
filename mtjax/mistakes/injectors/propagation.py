"""An error carried through the rest of a solution: later steps go on from the wrong value, and are right given it."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from mtjax.mistakes.text.equations import Equation, equations
from mtjax.mistakes.text.lexer import decimals, number_of, numbers_in, sign_of

UNMARKED = frozenset(Fraction(n) for n in (0, 1, 2, 100))
"""Values too common to tell by themselves whether a later number means the one that changed."""

_ANSWER = re.compile(r"^(?:####|Answer:|A:)", re.MULTILINE)


def write_number(value: Fraction, like: str, *, digits: int, commas: bool = False) -> str | None:
    """A value written like another number: its decimals, its thousands separators.

    None where it would look odd there: negative, more than `digits` digits before the point, a fraction in place of a
    whole number, or more decimals than two and than `like` has.

    >>> write_number(Fraction(2500), "1,000", digits=4), write_number(Fraction(5, 2), "12.50", digits=4)
    ('2,500', '2.50')
    """
    places = decimals(like)
    if value < 0 or value >= 10**digits:
        return None
    most = max(places, 2) if places else 0
    needed = next((n for n in range(most + 1) if (value * 10**n).denominator == 1), None)
    if needed is None:
        return None
    shown = places if places == 2 else needed
    whole, part = divmod(int(value * 10 ** max(shown, needed)), 10 ** max(shown, needed))
    short = len(like.partition(".")[0]) < 4
    text = f"{whole:,}" if whole >= 1000 and ("," in like or (commas and short)) else str(whole)
    if max(shown, needed):
        text += f".{part:0{max(shown, needed)}d}"
    return text[1:] if like.startswith(".") and text.startswith("0.") else text


def readings(equation: Equation) -> tuple[int, Fraction] | None:
    """How an equation reads as true: which of its `values` counts, and the factor from it to the number as printed."""
    for i, left in enumerate(equation.values):
        for factor in (Fraction(1), Fraction(100)) if equation.percents else (Fraction(1),):
            if left is not None and left * factor == equation.value:
                return i, factor
    return None


def canonical(equation: Equation, right: str | None = None) -> str:
    """The equation as a calculator mark holds it: `48/2=24`."""
    left = "".join(
        sign_of(token) if token.kind == "operator" else token.text.replace(",", "")
        for token in equation.tokens
        if token.kind != "currency"
    )
    return f"{left}={(right or equation.right.text).replace(',', '')}"


def rewrite(
    text: str, equation: Equation, edits: Sequence[tuple[int, int, str]], right: str | None = None
) -> tuple[str, Equation] | None:
    """The equation's stretch of `text` with characters replaced, and perhaps another number on its right.

    A calculator mark follows. Returns the new stretch and the equation it reads as; None where it no longer reads as
    one equation, or where the mark says something else than the text beside it.

    Args:
        text: where the equation stands.
        equation: one of `equations(text)`.
        edits: `(start, end, new)` on its left side, as positions in `text`.
        right: what to print on the right; None leaves the number.
    """
    mark = equation.mark
    changes = [*edits, *([(*mark, "")] if mark else [])]
    changes += [(equation.right.start, equation.right.end, right)] if right is not None else []
    bare = replace_all(text[equation.start : equation.end], changes, equation.start)
    found = equations(bare)
    if len(found) != 1 or (found[0].start, found[0].end) != (0, len(bare)):
        return None
    new = found[0]
    if mark is None:
        return bare, new
    said = re.sub(r"\s", "", text[mark[0] + 2 : mark[1] - 2])
    tail = "=" + equation.right.text.replace(",", "")
    if said == canonical(equation):
        inner = canonical(new)
    elif not edits and said.endswith(tail):
        inner = said.removesuffix(tail) + "=" + new.right.text.replace(",", "")
    else:
        return None
    return bare[: new.right.start] + f"<<{inner}>>" + bare[new.right.start :], new


def replace_all(text: str, edits: Iterable[tuple[int, int, str]], offset: int = 0) -> str:
    """`text` with `(start, end, new)` applied; positions count from `offset`, and do not overlap."""
    for start, end, new in sorted(edits, reverse=True):
        text = text[: start - offset] + new + text[end - offset :]
    return text


@dataclasses.dataclass
class Flow:
    """Values that have changed so far, while a solution is read on.

    A later number of such a value is replaced, the equations it stands in are worked out anew, and their results
    change in turn. Where it is not certain that a number means the changed one, the flow ends.
    """

    changes: dict[Fraction, Fraction]  # Old value to new value.
    unsure: set[Fraction]  # Values that stand elsewhere too: of these, a later number may be meant either way.
    digits: int  # Most digits that a number may have before its point.
    commas: bool = False  # Whether the solution writes thousands separators.
    latest: dict[Fraction, Fraction] = dataclasses.field(default_factory=dict)
    """What the latest equation with a result of this old value gives now."""

    def advance(self, text: str) -> str | None:
        """The next stretch of the solution as it reads after the changes; None where that cannot be said."""
        answer = _ANSWER.search(text)
        border = answer.start() if answer else len(text)
        found = equations(text)
        inside = {token.start: eq for eq in found for token in (*eq.operands, eq.right)}
        edits: list[tuple[int, int, str]] = []
        left_alone: set[Fraction] = set()
        operands: list[tuple[int, int, str]] = []
        for token in numbers_in(text):
            value, equation = number_of(token), inside.get(token.start)
            if equation is not None and token.start == equation.right.start:
                if not self._result(text, equation, operands, edits, left_alone):
                    return None
                operands = []
                continue
            if token.start >= border:
                new = self.latest.get(value, value)
            elif value in self.changes:
                if (
                    value in self.unsure
                    or value in UNMARKED
                    or (equation is None and _unread(text, found, token.start))
                ):
                    return None
                new = self.changes[value]
            else:
                left_alone |= {value} if equation is None else set()
                continue
            if new != value:
                written = write_number(new, token.text, digits=self.digits, commas=self.commas)
                if written is None:
                    return None
                (edits if equation is None else operands).append((token.start, token.end, written))
        return replace_all(text, edits)

    def _result(
        self,
        text: str,
        equation: Equation,
        operands: list[tuple[int, int, str]],
        edits: list[tuple[int, int, str]],
        left_alone: set[Fraction],
    ) -> bool:
        """Work one equation out anew; whether that could be done."""
        old = equation.value
        if not operands:
            self.latest[old] = old
            self.unsure |= {old} & self.changes.keys()
            return True
        reading, bare = readings(equation), rewrite(text, equation, operands)
        if reading is None or bare is None:
            return False
        value = bare[1].values[reading[0]]
        if value is None:
            return False
        right = write_number(value * reading[1], equation.right.text, digits=self.digits, commas=self.commas)
        written = rewrite(text, equation, operands, right) if right is not None else None
        if written is None or (value * reading[1] != old and old in left_alone):
            return False  # the result was told before it was worked out
        self.note(old, value * reading[1])
        edits.append((equation.start, equation.end, written[0]))
        return True

    def note(self, old: Fraction, new: Fraction) -> None:
        """Record that a result `old` is now `new`."""
        self.latest[old] = new
        if new != old:
            self.changes[old] = new


def _unread(text: str, found: Sequence[Equation], place: int) -> bool:
    """Whether the line around a place has an equals sign that belongs to no equation that could be read."""
    start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    line = re.sub(r"<<[^<>\n]*>>", "", text[start : end if end >= 0 else None])
    read = sum(start <= equation.start and (end < 0 or equation.end <= end) for equation in found)
    return line.count("=") > read
