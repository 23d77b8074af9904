r"""Filters of wrong steps, each a pure function that says whether a pair is spoilt, and `unboxed`, which mends one."""

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from mtjax.data.tasks.pair import unboxed
from mtjax.mistakes.text.equations import equations
from mtjax.mistakes.text.lexer import number_of, numbers_in

__all__ = ["EDIT_TELL_TALES", "TELL_TALES", "box_on_one_side", "first_difference", "identical", "levenshtein"]
__all__ += ["still_true", "tell_tale", "too_far", "unboxed", "unboxed_pair"]

TELL_TALES = ("a mistake", "Let's correct", "The correct", "Let's reconsider", "python")
"""Phrases that give a solution away (RISE's released code has these and more like them; the rest is not published
in our sources)."""

EDIT_TELL_TALES = ("mistakenly", "incorrect", "wrong")
"""Phrases that give an edited step away, besides `TELL_TALES`."""


def identical(right: str, wrong: str) -> bool:
    """Whether the two texts are the same but for white space: such a pair has no gradient."""
    return right.split() == wrong.split()


def levenshtein(a: str, b: str) -> int:
    """Edit distance: the smallest number of characters to insert, delete or replace.

    >>> levenshtein("48 / 2 = 24", "48 * 2 = 96")
    3
    """
    return Levenshtein.distance(a, b)


def first_difference(a: str, b: str) -> int:
    """The place of the first character in which two texts differ; the shorter length if one begins the other."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def too_far(right: str, wrong: str, alpha: int | None) -> bool:
    """Whether the edit distance is not below alpha (RISE keeps `LD < alpha`; its alpha is not published, so there is
    no default). None keeps everything."""
    return alpha is not None and levenshtein(right, wrong) >= alpha


def tell_tale(question: str, text: str, phrases: Sequence[str] = TELL_TALES) -> bool:
    """Whether a text admits an error. Never, where the question itself speaks of "wrong" or "correct".

    Case does not count.
    """
    asked = question.lower()
    if "wrong" in asked or "correct" in asked:
        return False
    said = text.lower().replace("’", "'")
    return any(phrase.lower() in said for phrase in phrases)


def box_on_one_side(right: str, wrong: str) -> bool:
    r"""Whether only one of two texts has a `\boxed`: a shortcut that has nothing to do with being right."""
    return ("\\boxed" in right) != ("\\boxed" in wrong)


def unboxed_pair(right: str, wrong: str) -> tuple[str, str]:
    r"""Both texts without `\boxed{...}` where one has none; unchanged where both or neither have.

    RISE's released code unwraps the rejected side alone.
    """
    return (unboxed(right), unboxed(wrong)) if box_on_one_side(right, wrong) else (right, wrong)


def still_true(right: str, wrong: str) -> bool:
    """Whether the edited step says what the right one says: its equations are true, with the same results in the same
    order, and it has the same numbers. Nothing can be said without an equation: then it is not still true.
    """
    before, after = equations(right), equations(wrong)
    numbers = lambda text: sorted(number_of(token) for token in numbers_in(text))
    if not before or len(before) != len(after) or numbers(right) != numbers(wrong):
        return False
    return all(new.true and new.value == old.value for old, new in zip(before, after, strict=True))
