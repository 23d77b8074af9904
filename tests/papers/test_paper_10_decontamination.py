"""Paper 10, Tülu 3: decontamination by the share of words in 8-grams that one training question shares."""

import random

import pytest

from mtjax.data.problem import Problem
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.contamination import Contamination, OverlapIndex


def words(start, count):
    return [f"w{n}" for n in range(start, start + count)]


def check(train, test, **settings):
    as_problems = lambda texts: [Problem(f"p{n}", text, "1") for n, text in enumerate(texts)]
    subject = Subject(lambda: iter(as_problems(train)), against=lambda: iter(as_problems(test)))
    return Contamination(**settings)(subject)


def test_half_of_the_words_is_not_enough_and_more_is():
    test = " ".join(words(0, 100))
    half, more = " ".join([*words(0, 50), *words(500, 9)]), " ".join([*words(0, 51), *words(500, 9)])
    assert not check([half], [test]).flags
    (flag,) = check([more], [test]).flags
    assert flag.score == pytest.approx(0.51)
    assert flag.fix == "drop"


def test_halves_in_two_training_questions_do_not_add_up():
    test = " ".join(words(0, 100))
    parts = [" ".join([*words(0, 45), "x"]), " ".join(["x", *words(45, 45)])]
    assert not check(parts, [test]).flags


def test_an_overlap_of_eight_words_is_caught_and_one_of_seven_is_not():
    test = " ".join(words(0, 40))
    eight, seven = " ".join(["a", *words(5, 8), "b"]), " ".join(["a", *words(5, 7), "b"])
    assert [flag.number for flag in check([seven, eight], [test], share=0).flags] == [1]
    assert OverlapIndex([test], 8).matches(eight)[0].covered == pytest.approx(8 / 40)


def test_a_question_with_other_numbers_is_caught_by_the_words_around_them():
    test = "Tom has 12 apples and gives 5 of them away, how many apples are left with Tom now?"
    assert check([test.upper()], [test]).flags
    (flag,) = check([test.replace("12", "13").replace("5", "6")], [test]).flags
    assert flag.score == pytest.approx(11 / 18)  # the words after the last number


def test_a_short_question_must_be_equal():
    assert check(["2 + 3 = ?"], ["2 + 3 ="]).flags
    assert not check(["so 2 + 3 = 5", "2 + 4 ="], ["2 + 3 ="]).flags


def test_every_planted_overlap_and_no_other():
    rng = random.Random(0)
    vocabulary = [f"v{n}" for n in range(400)]
    text = lambda: " ".join(rng.choices(vocabulary, k=30))
    test, train = [text() for _ in range(50)], [text() for _ in range(500)]
    planted = {}
    for n in range(0, 500, 20):  # 20 consecutive words of a test question, inside of other words
        source = test[n // 20].split()
        train[n] = " ".join([*rng.choices(vocabulary, k=5), *source[5:25], *rng.choices(vocabulary, k=5)])
        planted[n] = n // 20
    found = check(train, test)
    assert {flag.number for flag in found.flags} == set(planted)
    assert found.facts[0].startswith("25 of 50 other questions (50.0%) are matched: more than the tolerated 2%")
    assert found.tables[0].rows == [["over 50%", 25], ["over 70%", 0], ["over 90%", 0]]
