"""Paper 10, Tulu 3: DPO on means per token, rewards of verified answers, and decontamination by shared 8-grams."""

import random
import unicodedata

import numpy as np
import pytest

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.data.selection.deduplicate import Deduplicate
from mtjax.evaluation.rewards.verdict import VerdictReward
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.contamination import Contamination, OverlapIndex
from mtjax.objectives.dpo import dpo_tulu3
from mtjax.sampling.sampler import Sample
from tests.objectives.fakes import batch_of, outcome


def test_a_text_twice_as_long_with_the_same_mean_has_the_same_loss():
    once, twice = [(([one] * n, [two] * n)) for n in (2, 4) for one, two in ((-1.0, -2.0),)]
    reference = [(([-1.25] * n, [-1.75] * n)) for n in (2, 4)]
    losses = []
    for policy_row, reference_row in zip((once, twice), reference, strict=True):
        batch, policy = batch_of(policy_row)
        losses.append(outcome(dpo_tulu3(), policy, batch, batch_of(reference_row)[1]).loss.value)
    np.testing.assert_allclose(losses, np.log1p(np.exp(-5 * 0.5)), rtol=1e-5)


def test_the_reward_of_an_answer_without_an_end_is_replaced():
    reward, problem = VerdictReward(10.0, 0.0, unfinished=-10.0), Problem("p", "17 + 5 =", "22")
    found = [reward(problem, Sample("22"), verdict) for verdict in (Verdict.RIGHT, Verdict.WRONG)]
    assert [*found, reward(problem, Sample("22", finished=False), Verdict.RIGHT)] == [10.0, 0.0, -10.0]


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


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text.replace(" ", "\n"),
        lambda text: text.replace(" ", ", "),
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text),
        lambda text: text.replace("twenty five", "twenty-five").replace("café-owner", "café owner"),
        lambda text: text.replace("croissants", "crois\u00adsants").replace("Monday", "Mon\u200bday"),
        lambda text: text.replace(" -", " \u2212").replace("'", "\u2019"),
    ],
)
def test_the_same_question_in_other_signs_is_the_same(change):
    test = "Éloïse's café-owner friend bought twenty five croissants on Monday, gave away 5 - 3 and ate the rest"
    (flag,) = check([change(test)], [test]).flags
    assert flag.score == 1
    same = Deduplicate()([Problem("a", test), Problem("b", change(test))], 0).items
    assert [problem.id for problem in same] == ["a"]


def test_other_operators_are_other_questions():
    texts = [
        "Find x \u2264 3",
        "Find x \u2265 3",
        "Find x 3",
        "What is 5 \u2212 3?",
        "What is 5 3?",
        "What is 3\u00b2?",
        "What is 32?",
    ]
    problems = [Problem(str(n), text) for n, text in enumerate(texts)]
    assert Deduplicate()(problems, 0).items == problems
