"""An error carried through the rest of a solution: later steps use the wrong value, and are right given it."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from mtjax.mistakes.text.equations import Equation, equations
from mtjax.mistakes.text.lexer import decimals, number_of, numbers_in, sign_of

Edit = tuple[int, int, str]  # Start, end and new text of a replaced stretch.
UNMARKED = frozenset(Fraction(n) for n in (0, 1, 2, 100))  # Too common to show what is meant.
_ANSWER = re.compile(r"^(?:####|Answer:|A:)", re.MULTILINE)


def write_number(value: Fraction, like: str, *, digits: int, commas: bool = False) -> str | None:
    """A value written like another number: its decimals, its thousands separators.

    None if it would look odd there: negative, more than `digits` digits before the point, a fraction in place of a
    whole number, or more decimals than two and than `like` has.

    >>> write_number(Fraction(2500), "1,000", digits=4), write_number(Fraction(5, 2), "12.50", digits=4)
    ('2,500', '2.50')
    """
    places = decimals(like)
    most = max(places, 2) if places else 0
    needed = next((n for n in range(most + 1) if 10**n % value.denominator == 0), None)
    if needed is None or not 0 <= value < 10**digits:
        return None
    shown = 2 if places == 2 else needed
    whole, part = divmod(int(value * 10**shown), 10**shown)
    separated = "," in like or (commas and len(like.partition(".")[0]) < 4)
    text = (f"{whole:,}" if separated else str(whole)) + (f".{part:0{shown}d}" if shown else "")
    return text[1:] if like.startswith(".") and text.startswith("0.") else text


def replace_all(text: str, edits: Iterable[Edit], offset: int = 0) -> str:
    """`text` with edits applied; their positions count from `offset` and do not overlap."""
    for start, end, new in sorted(edits, reverse=True):
        text = text[: start - offset] + new + text[end - offset :]
    return text


def rewrite(
    text: str, equation: Equation, edits: Sequence[Edit], right: str | None = None
) -> tuple[str, Equation] | None:
    """The equation's stretch of `text` after edits on its left side, with `right` (None: as it is) on its right side.

    A calculator mark follows. Returns the new stretch and the equation it reads as; None if it no longer reads as one
    equation, or if the mark differs from the text beside it. `equation` is one of `equations(text)`.
    """
    changes = [*edits, *([(*equation.mark, "")] if equation.mark else [])]
    changes += [(equation.right.start, equation.right.end, right)] if right is not None else []
    bare = replace_all(text[equation.start : equation.end], changes, equation.start)
    found = equations(bare)
    if len(found) != 1 or (found[0].start, found[0].end) != (0, len(bare)):
        return None
    new = found[0]
    if equation.mark is None:
        return bare, new
    mark = re.sub(r"\s", "", text[equation.mark[0] + 2 : equation.mark[1] - 2])
    left, result = _plain(equation)
    if mark == left + result:
        mark = "".join(_plain(new))
    elif not edits and mark.endswith(result):
        mark = mark.removesuffix(result) + _plain(new)[1]
    else:
        return None
    return bare[: new.right.start] + f"<<{mark}>>" + bare[new.right.start :], new


def _plain(equation: Equation) -> tuple[str, str]:
    """Both sides of an equation as a calculator mark holds them: `48/2`, `=24`."""
    kept = (token for token in equation.tokens if token.kind != "currency")
    left = (sign_of(token) if token.kind == "operator" else token.text.replace(",", "") for token in kept)
    return "".join(left), "=" + equation.right.text.replace(",", "")


def recompute(
    text: str, equation: Equation, edits: Sequence[Edit], digits: int, commas: bool
) -> tuple[str, Equation] | None:
    """`rewrite` with the right side computed from the edited left side; None if `write_number` cannot write it."""
    reading, new = equation.reading, rewrite(text, equation, edits)
    value = new[1].values[reading[0]] if reading and new else None
    if reading is None or value is None:
        return None
    right = write_number(value * reading[1], equation.right.text, digits=digits, commas=commas)
    return None if right is None else rewrite(text, equation, edits, right)


@dataclasses.dataclass
class Flow:
    """The values that have changed so far while a solution is read on.

    A later number with such a value is replaced, the equations it is part of are recomputed, and their results change
    in turn. If it is not certain that a number means the changed one, the flow ends.
    """

    changes: dict[Fraction, Fraction]  # Old value to new value.
    unsure: set[Fraction]  # Values that occur elsewhere too: a later number may mean either.
    digits: int  # Most digits that a number may have before its point.
    commas: bool = False  # Whether the solution writes thousands separators.
    latest: dict[Fraction, Fraction] = dataclasses.field(default_factory=dict)  # By old result, the newest one.

    def note(self, old: Fraction, new: Fraction) -> None:
        """Record that a result `old` is now `new`."""
        self.latest[old] = new
        if new != old:
            self.changes[old] = new

    def advance(self, text: str) -> str | None:
        """The next stretch of the solution after the changes; None if it is not certain."""
        answer = _ANSWER.search(text)
        border = answer.start() if answer else len(text)
        found = equations(text)
        inside = {token.start: equation for equation in found for token in (*equation.operands, equation.right)}
        edits: list[Edit] = []
        operands: list[Edit] = []  # edits of the equation that is being read
        left_alone: set[Fraction] = set()
        for token in numbers_in(text):
            value, equation = number_of(token), inside.get(token.start)
            if equation is not None and token.start == equation.right.start:
                if operands:
                    new = recompute(text, equation, operands, self.digits, self.commas)
                    if new is None or (new[1].value != value and value in left_alone):
                        return None  # in the second case, the result is stated before it is computed
                    self.note(value, new[1].value)
                    edits.append((equation.start, equation.end, new[0]))
                    operands = []
                else:
                    self.latest[value] = value
                    self.unsure |= {value} & self.changes.keys()
                continue
            if token.start >= border:
                changed = self.latest.get(value, value)
            elif value not in self.changes:
                left_alone |= {value} if equation is None else set()
                continue
            elif value in UNMARKED | self.unsure or (equation is None and _unread(text, found, token.start)):
                return None
            else:
                changed = self.changes[value]
            if changed != value:
                written = write_number(changed, token.text, digits=self.digits, commas=self.commas)
                if written is None:
                    return None
                (edits if equation is None else operands).append((token.start, token.end, written))
        return replace_all(text, edits)


def _unread(text: str, found: Sequence[Equation], place: int) -> bool:
    """Whether the line around a place has an equals sign that is not part of an equation that was read."""
    start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    line = re.sub(r"<<[^<>\n]*>>", "", text[start : end if end >= 0 else None])
    return line.count("=") > sum(start <= each.start and (end < 0 or each.end <= end) for each in found)
