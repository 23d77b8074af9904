r"""Filters of wrong steps: pure functions that find unusable pairs, and `unboxed_pair`, which repairs one kind."""

from collections.abc import Sequence
from fractions import Fraction

from rapidfuzz.distance import Levenshtein

from mtjax.data.tasks.pair import unboxed
from mtjax.mistakes.text.equations import Equation, equations
from mtjax.mistakes.text.lexer import number_of, numbers_in, sign_of

TELL_TALES = ("a mistake", "Let's correct", "The correct", "Let's reconsider", "python")
"""Phrases that give a solution away (from RISE's released code; the rest of its list is not published)."""

EDIT_TELL_TALES = ("mistakenly", "incorrect", "wrong")  # Phrases that give an edited step away, besides `TELL_TALES`.


def identical(right: str, wrong: str) -> bool:
    """Whether the two texts differ in white space at most: such a pair has no gradient."""
    return right.split() == wrong.split()


levenshtein = Levenshtein.distance  # Edit distance: the fewest characters to insert, delete or replace.


def first_difference(a: str, b: str) -> int:
    """The place of the first character in which two texts differ; the shorter length if one begins the other."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def too_far(distance: int | None, alpha: int | None) -> bool:
    """Whether an edit distance is not below alpha (RISE's filter; its value is not published). None keeps all."""
    return alpha is not None and (distance or 0) >= alpha


def tell_tale(question: str, text: str, phrases: Sequence[str] = TELL_TALES) -> bool:
    """Whether a text admits an error, in any case; never if the question itself has "wrong" or "correct"."""
    asked, said = question.lower(), text.lower().replace("’", "'")
    return not ("wrong" in asked or "correct" in asked) and any(phrase.lower() in said for phrase in phrases)


def box_on_one_side(right: str, wrong: str) -> bool:
    r"""Whether only one of two texts has a `\boxed`, which tells the sides apart whatever is in it."""
    return ("\\boxed" in right) != ("\\boxed" in wrong)


def unboxed_pair(right: str, wrong: str) -> tuple[str, str]:
    r"""Both texts without `\boxed{...}` if only one has it, otherwise unchanged (RISE's code unwraps the rejected)."""
    return (unboxed(right), unboxed(wrong)) if box_on_one_side(right, wrong) else (right, wrong)


def still_true(right: str, wrong: str) -> bool:
    """Whether the edited step has true equations with the right step's results in their order, and its numbers.

    False if the right step has no equation, because then nothing is known.
    """
    before, after = equations(right), equations(wrong)
    numbers = lambda text: sorted(number_of(token) for token in numbers_in(text))
    if not before or len(before) != len(after) or numbers(right) != numbers(wrong):
        return False
    return all(new.true and new.value == old.value for old, new in zip(before, after, strict=True))


FARTHEST = 2  # A false result of more than this times, or less than this part of, the true one is seen at a glance.
FARTHEST_CARRIED = 5  # The same for a result that follows from an error, compared to the right step's result.
NEAR = 2  # Results that differ by no more than this are never far apart: 1 and 3.


def far_apart(a: Fraction, b: Fraction, times: int) -> bool:
    """Whether two values differ by more than a factor (sign aside) and by more than `NEAR`."""
    one, other, unit = a.numerator * b.denominator, b.numerator * a.denominator, a.denominator * b.denominator
    low, high = sorted((abs(one), abs(other)))  # in units of 1 / unit: whole numbers compare faster than fractions
    return high > low * times and abs(one - other) > NEAR * unit


def glaring(equation: Equation) -> bool:
    """Whether an equation is false at a glance: `36/3 = 52`.

    Its right side is more than `FARTHEST` times off, or on the impossible side of every operand: a sum or product of
    positive whole numbers below its largest operand, a difference or quotient above it.
    """
    if not equation.false:
        return False
    value, signs = equation.value, {sign_of(token) for token in equation.operators}
    largest = max(number_of(token) for token in equation.operands)
    plain = ("number", "operator", "currency")
    whole = not equation.percents and all(token.kind in plain for token in equation.tokens)
    whole = whole and all(number_of(token) >= 1 for token in equation.operands)
    if whole and ((signs in ({"+"}, {"*"}) and value < largest) or (signs <= {"-", "/"} and value > largest)):
        return True
    readings = ((left, n) for left in equation.values for n in (1, 100)[: 1 + equation.percents])
    return all(left is None or far_apart(left * n, value, FARTHEST) for left, n in readings)


def implausible(right: str, wrong: str) -> bool:
    """Whether the size of a number gives an edit away.

    True for a false equation that is `glaring`, and for a result more than `FARTHEST_CARRIED` times the right one's.
    """
    before, after = equations(right), equations(wrong)
    if any(map(glaring, after)):
        return True
    pairs = zip(before, after, strict=True) if len(before) == len(after) else ()
    return any(far_apart(old.value, new.value, FARTHEST_CARRIED) for old, new in pairs)
