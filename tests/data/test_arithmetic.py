"""Generated arithmetic against Python's own; the checker against planted errors; dropped carries by hand."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.arithmetic_checker import check_steps
from mtjax.data.expressions import Expression, carry_slip, dropped_carry, exact_steps, parse_question, solution_text
from mtjax.data.sources import Arithmetic
from mtjax.errors import InputError

QUESTION = "12 + 7 - 5 ="
SOLUTION = "Step 1: 12 + 7 = 19\nStep 2: 19 - 5 = 14\nAnswer: 14"


def value_of(question):
    return eval(question.removesuffix("="))  # the oracle: nothing of ours


def expressions(operators):
    numbers = st.lists(st.integers(0, 99), min_size=2, max_size=6)
    signs = st.lists(st.sampled_from(operators), min_size=5, max_size=5)
    return st.tuples(numbers, signs).map(lambda drawn: (tuple(drawn[0]), tuple(drawn[1][: len(drawn[0]) - 1])))


def test_by_hand():
    assert parse_question(QUESTION) == Expression((12, 7, 5), ("+", "-"))
    assert solution_text(exact_steps(Expression((12, 7, 5), ("+", "-")))) == SOLUTION
    # the product first: 3 * 4 = 12, then 2 + 12 = 14
    product = solution_text(exact_steps(Expression((2, 3, 4), ("+", "*"))))
    assert product == "Step 1: 3 * 4 = 12\nStep 2: 2 + 12 = 14\nAnswer: 14"


@given(expressions("+-*"))
def test_solutions_agree_with_python_and_with_the_checker(drawn):
    expression = Expression(*drawn)
    assert parse_question(expression.question) == expression
    solution = solution_text(exact_steps(expression))
    assert solution.endswith(f"\nAnswer: {value_of(expression.question)}")
    assert check_steps(expression.question, solution) == (None, True, ())
    for line in solution.split("\n")[:-1]:
        left, right = line.partition(": ")[2].split(" = ")
        assert eval(left) == int(right)


@pytest.mark.parametrize("operators", [("+", "-"), ("+", "-", "*")])
def test_problems_keep_the_settings(operators):
    source = Arithmetic(60, seed=3, operators=operators, min_operands=2, max_operands=5, high=15, max_value=50)
    for number, problem in enumerate(source.problems().items):
        expression = parse_question(problem.question)
        assert 2 <= len(expression.operands) <= 5
        assert all(1 <= operand <= 15 for operand in expression.operands)
        assert set(expression.operators) <= set(operators)
        assert all(0 <= step.value <= 50 for step in exact_steps(expression))
        assert problem.answer == str(value_of(problem.question))
        assert check_steps(problem.question, problem.right[0]) == (None, True, ())
        assert problem == source.problem(number)  # depends on the settings and its number alone
    sizes = {len(parse_question(p.question).operands) for p in source.problems().items}
    assert sizes == {2, 3, 4, 5}


def test_splits_are_disjoint_whatever_the_seeds():
    parts = {
        split: {p.question for p in Arithmetic(150, seed, split, max_operands=3, high=9).problems().items}
        for seed, split in enumerate(["train", "validation", "test"])
    }
    assert not parts["train"] & parts["test"]
    assert not parts["train"] & parts["validation"]
    assert not parts["validation"] & parts["test"]
    assert Arithmetic(5, start=3).problems().items == Arithmetic(8).problems().items[3:]
    assert Arithmetic(5, seed=1).problems().items != Arithmetic(5).problems().items
    assert Arithmetic(5, seed=1).fingerprint() != Arithmetic(5).fingerprint() == Arithmetic(5).fingerprint()


def digitwise(left, operator, right):
    """Dropped carries on the digits as text: an independent oracle."""
    pairs = zip(str(left).zfill(3), str(right).zfill(3), strict=True)
    return int("".join(str(eval(f"{a}{operator}{b}") % 10) for a, b in pairs))


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from("+-"))
def test_dropped_carries(left, right, operator):
    left, right = (max(left, right), min(left, right)) if operator == "-" else (left, right)
    assert dropped_carry(left, operator, right) == digitwise(left, operator, right)


def test_dropped_carries_by_hand():
    assert dropped_carry(12, "+", 19) == 21  # 2 + 9 = 11, write 1; 1 + 1 = 2
    assert dropped_carry(31, "-", 19) == 22  # (1 - 9) mod 10 = 2, the borrow is forgotten: 3 - 1 = 2
    assert dropped_carry(12, "+", 7) == 19  # nothing to carry
    assert dropped_carry(7, "*", 8) == 56
    assert dropped_carry(-3, "+", 9) == 6
    question = "12 + 19 - 1 ="
    followed = "Step 1: 12 + 19 = 21\nStep 2: 21 - 1 = 20\nAnswer: 20"
    assert carry_slip(question, random.Random(0), 1.0) == followed
    assert carry_slip(question, random.Random(0), 0.0).endswith("Answer: 30")
    # 21 - 5 slips to 26, which is 12 + 19 - 5: two slips may cancel
    assert carry_slip("12 + 19 - 5 =", random.Random(0), 1.0).endswith("Answer: 26")
    # 8 + 5 would slip to 3, and 3 - 13 leaves 0..99: that slip is not made
    assert carry_slip("8 + 5 - 13 =", random.Random(0), 1.0).endswith("Answer: 0")
    report = check_steps(question, followed)
    assert (report.first_wrong, report.answer_right) == (0, False)
    assert [error.kind for error in report.errors] == ["calculation"]  # followed through: one error
    with pytest.raises(InputError, match="not generated arithmetic"):
        carry_slip("What is 2?", random.Random(0))


def test_wrong_solutions_are_wrong_and_only_by_slips():
    problems = Arithmetic(200, slip_probability=0.5).problems().items
    wrong = [(p, text) for p in problems for text in p.wrong]
    assert 40 < len(wrong) < 160
    for problem, text in wrong:
        report = check_steps(problem.question, text)
        assert not report.answer_right
        assert {error.kind for error in report.errors} == {"calculation"}
        lines = text.split("\n")
        for error in report.errors:
            left, operator, right = error.found.split(": ")[1].split(" = ")[0].split()
            assert lines[error.step].endswith(f"= {dropped_carry(int(left), operator, int(right))}")
    assert [p.right for p in problems] == [p.right for p in Arithmetic(200).problems().items]


def test_the_planted_habit_is_told():
    problems = Arithmetic(200, slip_probability=0.5, habit_share=0.8).problems()
    assert "80%" in problems.notes[0]
    slipped = sum(not check_steps(p.question, p.right[0]).answer_right for p in problems.items)
    assert 20 < slipped < 160
    clean = Arithmetic(200, slip_probability=0.5).problems().items
    assert [p.question for p in problems.items] == [p.question for p in clean]


@pytest.mark.parametrize(
    ("solution", "first_wrong", "right", "kinds"),
    [
        (SOLUTION, None, True, []),
        (SOLUTION + "\n", None, True, []),
        (SOLUTION.replace("= 19", "= 18"), 0, True, ["calculation", "operand"]),
        (SOLUTION.replace("19 - 5 = 14", "19 + 5 = 24"), 1, True, ["operator", "answer"]),
        (SOLUTION.replace("12 + 7 = 19", "7 + 12 = 19"), 0, True, ["operand"]),
        (SOLUTION.replace("Answer: 14", "Answer: 15"), 2, False, ["answer"]),
        (SOLUTION.replace("\nAnswer: 14", ""), 2, False, ["missing"]),
        ("Step 1: 12 + 7 = 19\nAnswer: 14", 1, True, ["missing"]),
        (SOLUTION.replace("Step 2", "Step 3"), 1, True, ["format"]),
        (SOLUTION.replace("\nA", "\nStep 3: 14 - 0 = 14\nA"), 2, True, ["extra"]),
        (SOLUTION + "\nAnswer: 14", 2, True, ["extra"]),
        (SOLUTION.replace("Answer: 14", "Answer: ?"), 2, False, ["format"]),
        ("", 0, False, ["format", "missing", "missing"]),
    ],
)
def test_planted_errors_are_found(solution, first_wrong, right, kinds):
    report = check_steps(QUESTION, solution)
    assert (report.first_wrong, report.answer_right) == (first_wrong, right)
    assert [error.kind for error in report.errors] == kinds


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_checker_never_raises(question, solution):
    assert check_steps(question, solution).first_wrong is not None
    assert check_steps(QUESTION, solution).first_wrong is not None
    assert check_steps(QUESTION, SOLUTION + solution).answer_right in (True, False)


def test_the_checker_survives_long_numbers_and_other_digits():
    assert not check_steps(QUESTION, SOLUTION.replace("14", "9" * 5000)).answer_right
    assert not check_steps(QUESTION, SOLUTION.replace("Answer: 14", "Answer: \u0661\u0664")).answer_right
    assert check_steps("9" * 5000 + " + 1 =", SOLUTION).errors[0].kind == "question"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"count": 0}, "count=0: expected at least 1"),
        ({"min_operands": 1}, "min_operands=1: expected at least 2"),
        ({"max_operands": 2}, "min_operands is 3; expected at most max_operands, 2"),
        ({"max_operands": 11}, "max_operands=11: expected at most 10"),
        ({"low": 30}, "low is 30; expected at most high, 20"),
        ({"operators": ()}, r"operators is \(\)"),
        ({"min_value": 100}, "min_value is 100"),
        ({"slip_probability": 1.5}, "slip_probability=1.5: expected at least 0 and at most 1"),
        ({"habit_share": 0.5}, "habit_share is 0.5"),
        ({"low": 19, "operators": ("+",), "max_value": 30}, "widen min_value..max_value"),
    ],
)
def test_impossible_settings_are_refused(settings, says):
    with pytest.raises(InputError, match=says):
        Arithmetic(**({"count": 5} | settings)).problems()


def test_the_order_of_sums_and_differences_is_chosen():
    """Training on one order and testing on the other tests an order that was never trained."""
    orders = {}
    for chosen in (True, False, None):
        found = Arithmetic(count=200, max_operands=5, max_value=120, sums_first=chosen).problems().items
        orders[chosen] = {"".join(re.findall("[+-]", problem.question)) for problem in found}
    assert not any("-+" in order for order in orders[True])
    assert all("-+" in re.sub("-+", "-", order) for order in orders[False])
    assert orders[None] == orders[True] | orders[False]
    # Folders that were begun before the setting was there still belong to the same source.
    assert Arithmetic(count=9).fingerprint() == "39191cb755640a10cc0cde4d90902ac02be56a1981f25cc414ee626bb86a4de9"
    with pytest.raises(InputError, match=r"sums_first is False with operators \('\+',\): expected both"):
        Arithmetic(operators=("+",), sums_first=False).problems()
