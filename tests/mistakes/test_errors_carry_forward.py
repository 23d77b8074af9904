"""Carrying an error on: by hand, and where it must stop because nobody can say which number is meant."""

import dataclasses
from fractions import Fraction

import pytest

from mtjax.mistakes.injectors.propagation import Flow, rewrite, write_number
from mtjax.mistakes.injectors.solution import follow_edit, parse_solution
from mtjax.mistakes.text.equations import equations


@pytest.mark.parametrize(
    ("value", "like", "commas", "written"),
    [
        (25, "24", False, "25"),
        (Fraction(5, 2), "24", False, None),  # a fraction where whole numbers stand
        (Fraction(5, 2), "12.50", False, "2.50"),
        (Fraction(5, 2), "1.5", False, "2.5"),
        (Fraction(1, 4), "1.5", False, "0.25"),
        (Fraction(1, 4), ".5", False, ".25"),
        (Fraction(1, 3), "1.5", False, None),
        (2500, "1,000", False, "2,500"),
        (2500, "24", True, "2,500"),  # the solution writes separators
        (2500, "1000", True, "2500"),  # but not here
        (-3, "24", False, None),
        (12345, "24", False, None),  # more digits than anything beside it
        (0, "24", False, "0"),
    ],
)
def test_numbers_are_written_like_their_neighbours(value, like, commas, written):
    assert write_number(Fraction(value), like, digits=4, commas=commas) == written


def flow(old, new, unsure=()):
    return Flow({Fraction(old): Fraction(new)}, {Fraction(n) for n in unsure}, 4, latest={Fraction(old): Fraction(new)})


def test_results_change_in_turn_down_to_the_answer():
    text = "\nHe has 24 left, so 24*2 = 48 in all.\nThat is 48+3 = 51.\n#### 51"
    assert flow(24, 25).advance(text) == "\nHe has 25 left, so 25*2 = 50 in all.\nThat is 50+3 = 53.\n#### 53"


def test_what_does_not_depend_on_the_change_stays():
    text = "\nShe has 7*2 = 14.\n#### 14"
    assert flow(24, 25).advance(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "\nSo 24 + 1 = 26.",  # not true before: it cannot be worked out anew
        "\nSo 24 / 5 = 4.8 and 24 / 7 = 3.43.",  # rounded
        "\nIn all 96: 24*4 = 96.",  # the result is told before it is worked out
        "\nLet x = 24 be the number.",  # an equals sign that is not understood
        "\nSo 20 - 24 = -4.",
    ],
)
def test_the_flow_stops_where_nothing_is_certain(text):
    assert flow(24, 26).advance(text) is None


def test_a_number_that_may_mean_something_else_stops_the_flow():
    text = "\nSo 24 + 7 = 31.\n#### 31"
    assert flow(24, 25).advance(text) == "\nSo 25 + 7 = 32.\n#### 32"
    assert flow(24, 25, unsure=[24]).advance(text) is None  # the question has a 24, too
    assert flow(100, 90).advance("\nThat is 100/5 = 20.") is None  # of a hundred, perhaps
    twice = "\nAnn has 8*3 = 24.\nSo 24 + 7 = 31.\n#### 31"  # another result of the same value
    assert flow(24, 25).advance(twice) is None
    # The answer is the latest result of its value, whoever else has it.
    assert flow(24, 25, unsure=[24]).advance("\n#### 24") == "\n#### 25"


def test_marks_follow_only_where_they_say_the_same():
    text = "48/2 = <<48/2=24>>24 pens"
    (equation,) = equations(text)
    assert rewrite(text, equation, [(0, 2, "50")], "25")[0] == "50/2 = <<50/2=25>>25"
    text = "20% of 50 = <<50*.2=10>>10"
    (equation,) = equations(text)
    assert rewrite(text, equation, [], "12")[0] == "20% of 50 = <<50*.2=12>>12"  # the result is in both
    assert rewrite(text, equation, [(0, 2, "30")]) is None
    assert rewrite(text, equation, [(0, 3, "")]) is None  # no equation any more


def test_an_edit_of_somebody_else_is_followed():
    solution = parse_solution("Ann has 48 pens.", "Half is 48/2 = 24.\nSo 24 + 3 = 27.\n#### 27")
    assert follow_edit(solution, 0, "Half is 48/2 = 26.") == "\nSo 26 + 3 = 29.\n#### 29"
    assert follow_edit(solution, 0, "Half is 48/2.") is None
    assert follow_edit(solution, 2, "#### 28") is None


def test_limits_come_from_the_problem():
    solution = parse_solution("Ann has 5 pens.", "She has 5+4 = 9.\n#### 9")
    assert solution.digits == 1
    assert dataclasses.replace(solution.flow({}, 0)).digits == 1
    assert not solution.commas
    assert parse_solution("Ann has 1,000 pens.", "5*200 = 1,000").commas
