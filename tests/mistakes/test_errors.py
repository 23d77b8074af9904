"""The injectors: each type by hand on a scripted generator, and what holds for every edit."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.arithmetic_checker import check_steps
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.mistakes.injectors.base import ERROR_TYPES, changed_span, draw, edited, whole_solution
from mtjax.mistakes.injectors.numbers import carry_slips, perturbed
from mtjax.mistakes.injectors.solution import parse_solution, split_steps
from mtjax.mistakes.text.equations import equations
from mtjax.mistakes.verification import verify

GSM = (
    "Natalia sold clips to 48 friends in April, and half as many in May. How many altogether?",
    "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April and May.\n#### 72",
)
MARKED = (GSM[0], "She sold 48/2 = <<48/2=24>>24 in May.\nIn all 48+24 = $<<48+24=72>>72.\n#### 72")
ARITHMETIC = ("12 + 17 - 5 + 3 =", "Step 1: 12 + 17 = 29\nStep 2: 29 - 5 = 24\nStep 3: 24 + 3 = 27\nAnswer: 27")
TERMS = ("She has 12, 30 and 41 pens, and lost 5.", "So 12 + 30 + 41 - 5 = 78 pens.\n#### 78")


def edits(type, given, tries=300):
    """What an injector makes of a solution: {wrong step: (right step, how the solution ends)}."""
    solution = parse_solution(*given)
    found = draw(solution, type, random.Random(type), tries)
    return {d.wrong: (solution.text[d.start : d.end], d.rest) for d in found}


def test_steps_of_both_forms():
    spans = split_steps(ARITHMETIC[1])
    assert [ARITHMETIC[1][s.start : s.end] for s in spans] == ["12 + 17 = 29", "29 - 5 = 24", "24 + 3 = 27", "27"]
    assert [ARITHMETIC[1][s.line : s.start] for s in spans] == ["Step 1: ", "Step 2: ", "Step 3: ", "Answer: "]
    assert [s.answer for s in spans] == [False, False, False, True]
    spans = split_steps(GSM[1])
    assert [GSM[1][s.line : s.start] for s in spans] == ["", "", "#### "]
    text = "Let us see.\nStep 1: One thing.\nAnd more.\n\nStep 2: 4 + 4 = 8"
    spans = split_steps(text)
    assert [text[s.start : s.end] for s in spans] == [" One thing.\nAnd more.", "4 + 4 = 8"]
    assert split_steps("") == split_steps("\n \n") == []


def test_value_changes_one_number_and_leaves_the_rest_of_the_equation():
    found = edits("value", GSM, 500)
    assert found["Natalia sold 48/2 = 25 clips in May."] == (
        "Natalia sold 48/2 = 24 clips in May.",
        "\nNatalia sold 48+25 = 73 clips altogether in April and May.\n#### 73",
    )
    assert "Natalia sold 48/2 = 42 clips in May." in found  # digits swapped
    assert found["Natalia sold 84/2 = 24 clips in May."][1] == GSM[1][GSM[1].index("\n") :]  # the result is as it was
    assert len(found) > 40


def test_value_series_follows_through_the_step_only():
    text = "Of 48 friends half is 48/2 = 24.\nSo 48+24 = 72.\n#### 72"
    found = edits("value_series", (GSM[0], text))
    assert found["Of 38 friends half is 38/2 = 19."][1] == "\nSo 48+19 = 67.\n#### 67"
    assert "Of 49 friends half is 49/2 = 24.5." not in found  # no fraction where whole numbers stand


def test_operator_leaves_the_result_or_follows_it():
    found = edits("operator", ARITHMETIC)
    assert not {"12 - 17 = 29", "24 - 3 = 27"} & found.keys()  # a difference above both of its terms
    assert found["29 + 5 = 34"][1] == "\nStep 3: 34 + 3 = 37\nAnswer: 37"
    assert "12 - 17 = -5" not in found  # no negative number where there are none
    assert not any("*" in wrong or "/" in wrong for wrong in found)
    assert "Natalia sold 48*2 = 96 clips in May." in edits("operator", GSM) | edits(
        "operator", (GSM[0], GSM[1] + "\n100")
    )


def test_swap_only_where_it_changes_the_value():
    assert set(edits("swap", ARITHMETIC)) == {"5 - 29 = 24"}
    assert set(edits("swap", GSM)) == set()  # 24+48 is no mistake, and 2/48 = 24 is seen at a glance
    assert "So 12 + 5 + 41 - 30 = 28 pens." in edits("swap", TERMS)
    assert "So 12 + 30 + 5 - 41 = 6 pens." not in edits("swap", TERMS)  # a thirteenth of the right result
    assert "So 30 + 12 + 41 - 5 = 78 pens." not in edits("swap", TERMS)


def test_dropped_term():
    found = edits("dropped_term", TERMS)
    assert set(found) >= {"So 12 + 41 - 5 = 48 pens.", "So 12 + 30 + 41 = 78 pens.", "So 12 + 30 - 5 = 37 pens."}
    assert found["So 12 + 41 - 5 = 48 pens."][1] == "\n#### 48"
    found = edits("dropped_term", ARITHMETIC)
    assert found["29 + 3 = 32"] == ("29 - 5 = 24", "\nAnswer: 32")  # - 5 is forgotten
    assert found["12 - 5 = 7"] == ("12 + 17 = 29", "\nStep 2: 7 + 3 = 10\nAnswer: 10")


def test_substitution_takes_a_number_of_the_problem():
    found = edits("substitution", ARITHMETIC)
    assert found["29 - 17 = 12"][1] == "\nStep 3: 12 + 3 = 15\nAnswer: 15"
    assert found["29 - 12 = 24"][1] == "\nStep 3: 24 + 3 = 27\nAnswer: 27"
    numbers = {t.text for wrong in found for e in equations(wrong) for t in e.operands}
    assert numbers <= {"12", "17", "5", "3", "29", "24"}


def test_carry_slips_by_hand():
    assert carry_slips([17, 25], "+") == [-10]  # 7 + 5 carries one
    assert carry_slips([11, 25], "+") == [10]  # it does not; one carried all the same
    assert carry_slips([42, 17], "-") == [10]  # 2 - 7 borrows one, forgotten: 35 for 25
    assert carry_slips([199, 201], "+") == [-10, -100]  # 9 + 1 carries, and so does 9 + 0 + 1
    assert set(edits("carry", ARITHMETIC)) >= {"12 + 17 = 39", "29 - 5 = 14"}
    assert carry_slips([3, 4], "+") == []


def test_copied_number_and_what_follows():
    found = edits("copied_number", ARITHMETIC)
    assert found["12 + 18 = 30"] == ("12 + 17 = 29", "\nStep 2: 30 - 5 = 25\nStep 3: 25 + 3 = 28\nAnswer: 28")
    assert any(place == ("27", "") for place in found.values())  # the answer line
    assert "Natalia sold 84/2 = 42 clips in May." in edits("copied_number", GSM)


def test_unit_factor_and_unit_word():
    question, text = "He works 3 hours. How many minutes?", "That is 3*60=180 minutes.\n#### 180"
    assert edits("unit", (question, text))["That is 3*24=72 minutes."][1] == "\n#### 72"
    words = edits("unit", ("He works 60 minutes 3 times.", text))  # the factor is given: no slip of units
    assert {"That is 3*60=180 hours.", "That is 3*60=180 seconds."} >= set(words) > set()


def test_skipped_step_in_prose_and_in_generated_arithmetic():
    assert edits("skipped_step", GSM)["Natalia sold 48+2 = 50 clips altogether in April and May."] == (
        "Natalia sold 48/2 = 24 clips in May.",
        "\n#### 50",
    )
    found = edits("skipped_step", ARITHMETIC)
    assert found["29 - 5 = 24"] == ("12 + 17 = 29", "\nStep 2: 24 + 3 = 27\nAnswer: 27")
    assert found["24 + 3 = 27"] == ("29 - 5 = 24", "\nAnswer: 27")


def test_early_stop_states_the_last_result():
    assert edits("early_stop", GSM) == {"#### 24": (GSM[1].split("\n")[1], "")}
    assert edits("early_stop", ARITHMETIC) == {
        "Answer: 29": ("Step 2: 29 - 5 = 24", ""),
        "Answer: 24": ("Step 3: 24 + 3 = 27", ""),
    }


def test_misread_words_take_their_operator_along():
    question, text = "Ann has 10 pens and Bob 4 more.", "Bob has 4 more: 10 + 4 = 14 pens.\n#### 14"
    found = edits("misread", (question, text))
    assert found["Bob has 4 fewer: 10 - 4 = 6 pens."][1] == "\n#### 6"
    assert edits("misread", ("q", "The first box has 3 pens.")).keys() >= {"The second box has 3 pens."}
    assert edits("misread", ARITHMETIC) == {}


def test_calculator_marks_say_what_stands_beside_them():
    for type in ERROR_TYPES:
        for wrong, (_, rest) in edits(type, MARKED, 25).items():
            for equation in equations(wrong + (rest or "")):
                mark = (wrong + (rest or ""))[equation.mark[0] + 2 : equation.mark[1] - 2]
                assert equations(mark)[0].value == equation.value
                assert equations(mark)[0].values == equation.values
    assert edits("value", MARKED)["She sold 48/2 = <<48/2=25>>25 in May."][1] == (
        "\nIn all 48+25 = $<<48+25=73>>73.\n#### 73"
    )


@given(st.integers(0, 10**6), st.sampled_from(["7", "48", "0.50", "1,250", "33.33", "900", ".25"]))
def test_perturbed_numbers_are_written_alike(seed, text):
    new = perturbed(random.Random(seed), text, 4)
    if new is not None:
        value = Fraction(new.replace(",", ""))
        assert 0 < value < 10**4
        assert value != Fraction(text.replace(",", ""))
        assert not new.lstrip(".").startswith("00")
        assert "," in new or value < 1000 or "," not in text


@pytest.mark.parametrize("type", sorted(ERROR_TYPES))
def test_every_edit_is_one_step_of_the_solution(type):
    for given_ in (GSM, MARKED, ARITHMETIC, TERMS):
        solution = parse_solution(*given_)
        for draft in draw(solution, type, random.Random(0), 20):
            m = edited(solution, draft, id="m", problem_id="p", answer=given_[1].split()[-1])
            assert m.right_solution == solution.text
            assert m.wrong_step != m.right_step
            assert "\n" not in m.wrong_step
            start, end = m.span
            assert m.wrong_step[start:end] == m.after
            assert m.right_step == m.wrong_step[:start] + m.before + m.wrong_step[end:]
            assert m.edit_distance > 0
            assert all(e.value >= 0 for e in equations(m.wrong_solution))


def test_spans_are_whole_numbers_and_words():
    assert changed_span("48/2 = 24.", "48/2 = 25.") == (7, 9, 7, 9)
    assert changed_span("is 1,250.50 now", "is 1,259.50 now") == (3, 11, 3, 11)
    assert changed_span("four more", "four less") == (5, 9, 5, 9)
    assert changed_span("a", "ab") == (0, 1, 0, 2)


def test_the_oracle_of_generated_arithmetic_agrees():
    """Exact steps go on from the wrong value, so the checker finds one first error, at the edited step."""
    for number, problem in enumerate(
        Arithmetic(count=12, seed=5, operators=("+", "-", "*"), max_value=400).problems().items
    ):
        solution = parse_solution(problem.question, problem.right[0])
        assert solution.expressions
        for type in ERROR_TYPES:
            for draft in draw(solution, type, random.Random(number), 3):
                m = edited(solution, draft, id="m", problem_id="p", answer=problem.answer)
                if verify(m).verdict != "proved":
                    continue
                report = check_steps(m.question, m.wrong_solution)
                steps = [s.start if type != "early_stop" else s.line for s in solution.steps]
                assert report.first_wrong == steps.index(len(m.prefix))
                if m.wrong_answer and not report.answer_right:
                    whole = whole_solution(m, id="w")
                    assert verify(whole) == ("proved", "final answer")
                    assert whole.wrong_step[whole.span[0] : whole.span[1]] == whole.after
