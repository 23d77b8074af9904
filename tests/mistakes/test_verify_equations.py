"""Equations in running text, by hand: what is read, what it is worth, and what is no equation."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.mistakes.text.equations import equations
from mtjax.mistakes.text.known_numbers import derivable, known_numbers, numbers_in_words
from mtjax.mistakes.text.lexer import number_of, numbers_in


def read(text):
    """(expression text, value, truth) of each equation."""
    said = lambda e: "true" if e.true else "false" if e.false else "rounded"
    return [(text[e.start : e.right.start].rpartition("=")[0].strip(), e.values[1], said(e)) for e in equations(text)]


@pytest.mark.parametrize(
    ("text", "value", "truth"),
    [
        ("12 + 7 = 19", 19, "true"),
        ("12 + 7 = 18", 19, "false"),
        ("She sold 48/2 = 24 clips in May.", 24, "true"),
        ("2 + 3 * 4 = 14", 14, "true"),  # products first
        ("(2 + 3) * 4 = 20", 20, "true"),
        ("10 - 4 - 3 = 3", 3, "true"),  # from the left
        ("100 / 5 / 2 = 10", 10, "true"),
        ("so 2(3 + 4) = 14", 14, "true"),  # a number in front of a bracket multiplies
        ("$12/60 = $0.2", Fraction(1, 5), "true"),
        ("1,250 x 4 = 5,000", 5000, "true"),
        ("80,000+50,000=$130,000", 130000, "true"),
        ("100 / 3 = 33.33", Fraction(100, 3), "rounded"),
        ("10 / 4 = 3", Fraction(5, 2), "rounded"),  # up, to a whole number
        ("10 / 4 = 2", Fraction(5, 2), "rounded"),
        ("10 / 4 = 4", Fraction(5, 2), "false"),
        ("100 / 3 = 33.43", Fraction(100, 3), "false"),
        ("3 boxes x 4 pens/box = 12 pens", 12, "true"),
        ("60 miles / hour * 2 hours = 120 miles", 120, "true"),
        ("5 kg + 3 kg = 9 kg", 8, "false"),
        ("220 – 22 = 198", 198, "true"),  # a dash is a minus
        (".5 * 8 = 4", 4, "true"),
        ("4 \\times 5 = 20", 20, "true"),
        ("In 2020, 5 * 2 = 10", 10, "true"),  # the year belongs to another clause
        ("She had 5 and 3 * 2 = 6", 6, "true"),
        ("3) 5 * 2 = 10", 10, "true"),  # a list's number
        ("48/2 = <<48/2=24>>24", 24, "true"),
        ("48/2 = $<<48/2=24>>25", 24, "false"),  # what is printed counts
    ],
)
def test_what_an_equation_is_worth(text, value, truth):
    ((_, found, said),) = read(text)
    assert (found, said) == (value, truth)


def test_percentages_have_two_readings():
    by_text = {text: read(text)[0][2] for text in (
        "20% of 50 = 10", "60 * 20% = $12", "100% - 25% = 75%", "20/50 = 40%", "20/50*100 = 40%", "20/50 = 40",
        "20% of 50 = 12", "20/50 = 45%", "30% * 50% = 15%",
    )}  # fmt: skip
    assert [text for text, truth in by_text.items() if truth != "true"] == [
        "20/50 = 40",  # 40 may be meant as a percentage, but nothing says so: 0.4 is not 40
        "20% of 50 = 12",
        "20/50 = 45%",
    ]
    assert by_text["20% of 50 = 12"] == by_text["20/50 = 45%"] == "false"


@pytest.mark.parametrize(
    "text",
    [
        "x = 12",
        "Answer: 5 = five",
        "2x + 4 = 10",  # a variable
        "(9/2)x=2700",
        "4 + = 5",
        "5 plus 3 = 8",  # no operator sign: nothing is said of it
        "12 * 5 = 60 / 2",  # the right side goes on
        "4 * 60 = 240 seconds + 30 seconds",
        "5 * 3 = 15 thousand",
        "from 9:30 - 8 = 1:30",  # times of day
        "the 2nd + 3 = 5",
        "3 / 0 = 5",
        "2 * 1 = 1 1/2",
        "",
    ],
)
def test_what_is_not_read(text):
    assert equations(text) == ()


def test_several_equations_and_chains():
    assert read("2 * 5 = 10, so 10 + 4 = 14") == [("2 * 5", 10, "true"), ("10 + 4", 14, "true")]
    assert read("60/3 = 20 = 5 * 4 = 20") == [("60/3", 20, "true"), ("5 * 4", 20, "true")]
    assert [e.word for e in equations("half of 8 + 2 = 10")] == ["of"]


@given(st.text(alphabet="0123456789 +-*/=().,$%xabof\n<>", max_size=40))
def test_any_text_is_read_without_an_error(text):
    for equation in equations(text):
        assert 0 <= equation.start < equation.end <= len(text)
        assert not (equation.true and equation.false)


@given(st.integers(0, 99), st.sampled_from("+-*"), st.integers(0, 99), st.integers(0, 9999))
def test_generated_equations_agree_with_python(a, sign, b, c):
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    (equation,) = equations(f"{a} {sign} {b} = {c}")
    assert equation.true == (value == c)
    assert equation.false == (value != c)


def test_numbers_in_digits_and_in_words():
    assert [number_of(t) for t in numbers_in("the 2nd of 1,200 at 9:30 costs $3.50, .5 off")] == [
        1200, Fraction(7, 2), Fraction(1, 2),
    ]  # fmt: skip
    words = numbers_in_words("twenty-five friends, two hundred and three clips, a dozen, three-fourths, twice")
    assert {25, 203, 12, Fraction(3, 4), 2} <= words
    assert {Fraction(1, 5), Fraction(4, 5), Fraction(6, 5), 20} <= known_numbers("a 20% discount")
    assert {Fraction(3, 8), Fraction(5, 8)} <= known_numbers("3/8 of a pie")


def test_what_can_be_derived():
    known = [Fraction(n) for n in (48, 215)]
    assert derivable(Fraction(48), known)
    assert derivable(Fraction(60), known)  # minutes in an hour
    assert derivable(Fraction(263), known)  # 48 + 215
    assert derivable(Fraction(96), known)  # twice 48
    assert derivable(Fraction(311), known)  # 48 + 215 + 48
    assert not derivable(Fraction(84), known)
    assert not derivable(Fraction(517), known)
