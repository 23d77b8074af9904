"""Paper 25, LiveAoPSBench: boxed answers, agreement of two rewrites, 8-grams, and a planted break in time."""

import numpy as np

from mtjax.data.answers.checker import extract_answer
from mtjax.data.problem import Problem
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.answers import Answers, agree
from mtjax.mistakes.checks.time_split import TimeSplit, find_break


def test_boxed_answers_with_nested_braces():
    assert extract_answer(r"Thus \boxed{\frac{1}{\sqrt{2}}}.") == r"\frac{1}{\sqrt{2}}"


def test_a_problem_is_kept_if_the_answers_of_two_rewrites_agree():
    same = Problem("same", "q", right=(r"so \boxed{\frac{1}{2}}", r"it is \boxed{0.5}"))
    other = Problem("other", "q", right=(r"so \boxed{3}", r"it is \boxed{4}"))
    silent = Problem("silent", "q", right=("it follows", r"it is \boxed{4}"))
    found = Answers()(Subject(lambda: iter([same, other, silent])))
    assert [(flag.id, flag.fix) for flag in found.flags] == [("other", "drop")]
    assert agree(silent.right) is None


def test_solutions_that_contradict_their_record():
    problem = Problem(
        "p", "How many?", "7",
        right=("3 + 4 = 7\n#### 7", "3 + 4 = 8\n#### 8", "3 + 4 = 9, less 2 is 7\n#### 7"),
        wrong=("3 + 4 = 7\n#### 7", "3 + 5 = 8\n#### 8", "3 + 4 = 9, less 2 is 7\n#### 7"),
    )  # fmt: skip
    found = Answers()(Subject(lambda: iter([problem])))
    assert [(flag.part, flag.fix, flag.to) for flag in found.flags] == [
        ("right/1", "flip", "wrong"), ("right/2", "drop", "wrong"), ("wrong/0", "flip", "right"), ("wrong/2", "", ""),
    ]  # fmt: skip
    assert "false equation: '3 + 4 = 9'" in found.flags[1].reason


def made(after, seed=0, months=12, each=100):
    rng = np.random.default_rng(seed)
    names = [f"2024-{month:02d}" for month in range(1, months + 1) for _ in range(each)]
    rate = np.array([0.8 if name < "2024-08" else after for name in names])
    return names, (rng.random(len(names)) < rate).astype(float)


def test_a_planted_break_is_found_and_none_without_one():
    months, correct = made(0.4)
    fall = find_break(months, correct, trials=199)
    assert fall.month == "2024-08"
    assert fall.p_value <= 0.005
    assert abs(fall.before - 0.8) < 0.06
    assert abs(fall.after - 0.4) < 0.06
    assert find_break(*made(0.8), trials=199).p_value > 0.05
    assert find_break(["2024-01"] * 30, np.ones(30)) is None


def test_the_curve_and_its_slope():
    months, correct = made(0.4)
    problems = [Problem(f"p{n}", "q", "1", success_rate=rate) for n, rate in enumerate(correct)]
    dates = {n: f"{month}-15" for n, month in enumerate(months)}
    found = TimeSplit()(Subject(lambda: iter(problems), dates=dates))
    rows = found.tables[0].rows
    assert [row[0] for row in rows] == sorted(set(months))
    assert rows[0][1] == 100
    assert rows[0][2].mean == np.mean(correct[:100])
    slope = np.polyfit([int(month[5:]) for month in months], correct, 1)[0]
    assert f"{slope:+.4f} a month" in found.facts[0]
    assert "2024-08" in found.facts[1]
