"""Filters of wrong steps, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.mistakes.filters import (
    EDIT_TELL_TALES,
    TELL_TALES,
    box_on_one_side,
    identical,
    levenshtein,
    still_true,
    tell_tale,
    too_far,
    unboxed_pair,
)


def test_identical_but_for_white_space():
    assert identical("48/2 = 24", "48/2  = 24\n")
    assert not identical("48/2 = 24", "48/2 = 25")


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("12 + 7", "12 - 7", 1)],
)
def test_levenshtein_by_hand(a, b, distance):
    assert levenshtein(a, b) == distance


def table(a, b):
    """The textbook recurrence."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        rows.append([i])
        for j, y in enumerate(b, 1):
            rows[i].append(min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (x != y)))
    return rows[-1][-1]


@given(st.text("ab1", max_size=30), st.text("ab1", max_size=30))
def test_levenshtein_equals_the_recurrence(a, b):
    assert levenshtein(a, b) == levenshtein(b, a) == table(a, b)


def test_too_far_keeps_what_lies_strictly_below():
    assert too_far(3, 3)
    assert not too_far(3, 4)
    assert not too_far(3, None)


def test_tell_tale_phrases():
    assert tell_tale("How many?", "Oh, I made a mistake.")
    assert tell_tale("How many?", "let’s correct this")  # curly apostrophe, lower case
    assert tell_tale("How many?", "import python")
    assert not tell_tale("How many?", "This is wrong.")
    assert tell_tale("How many?", "This is wrong.", (*TELL_TALES, *EDIT_TELL_TALES))
    # A question about right and wrong may be answered in its own words.
    assert not tell_tale("Which answer is correct?", "The correct one is B.")
    assert not tell_tale("How many were Wrong?", "3 were wrong", EDIT_TELL_TALES)


def test_boxes_come_off_both_sides_or_neither():
    assert box_on_one_side(r"so \boxed{24}", "so 26")
    assert unboxed_pair(r"so \boxed{24}", "so 26") == ("so 24", "so 26")
    assert unboxed_pair("so 24", r"so \boxed{\frac{1}{2}}") == ("so 24", r"so \frac{1}{2}")
    both = (r"so \boxed{24}", r"so \boxed{26}")
    assert unboxed_pair(*both) == both
    assert unboxed_pair("so 24", "so 26") == ("so 24", "so 26")


def test_still_true_by_hand():
    assert still_true("12 + 7 = 19", "7 + 12 = 19")
    assert still_true("60 * 1 = 60 miles", "60 / 1 = 60 miles")
    assert not still_true("12 + 7 = 19", "12 + 7 = 18")
    assert not still_true("12 + 7 = 19", "11 + 8 = 19")  # other numbers
    assert not still_true("12 + 7 = 19", "7 = 7 * 1")
    assert not still_true("no equation", "none here")
    assert not still_true("Of 30, 30/3 = 10", "Of 32, 30/3 = 10")
