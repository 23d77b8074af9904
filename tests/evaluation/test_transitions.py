"""Before and after by kind of slip: by hand, by equality with counting, and on answers of generated arithmetic."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax import transitions as command
from mtjax.data.problem import Problem
from mtjax.data.sources.mined import MinedProblem, Solution, to_json
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.grading import grade
from mtjax.evaluation.transitions import (
    format_transitions,
    label_answer,
    label_graded,
    label_mined,
    slips_table,
    transition_table,
    transitions,
)
from mtjax.sampling.sampler import Sample

QUESTION = "17 + 5 - 3 ="
RIGHT = "Step 1: 17 + 5 = 22\nStep 2: 22 - 3 = 19\nAnswer: 19"
CARRY = "Step 1: 17 + 5 = 12\nStep 2: 12 - 3 = 9\nAnswer: 9"
OPERATOR = "Step 1: 17 + 5 = 22\nStep 2: 22 + 3 = 25\nAnswer: 25"
SHORT = "Step 1: 17 + 5 = 22"


def test_one_answer_a_problem_is_counted():
    before = {"a": ["carry"], "b": ["carry"], "c": ["right"], "d": ["right"]}
    after = {"a": ["right"], "b": ["carry"], "c": ["right"], "d": ["operator"]}
    found = transitions(before, after)
    assert found.kinds == ("right", "carry", "operator")
    # was right: c stays, d becomes operator; was carry: a becomes right, b stays.
    np.testing.assert_allclose(found.table * 4, [[1, 0, 1], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(found.went * 4, [1, 1, 0])
    np.testing.assert_allclose(found.appeared * 4, [1, 0, 1])
    assert found.change("carry").mean == -0.25


def test_several_answers_keep_what_can_stay_and_share_the_rest():
    # Before: 2 right, 1 carry, 1 value of 4; after: 1 right, 3 operator. Stays: 1 right. 3/4 move to operator, from
    # right 1/4, carry 1/4, value 1/4.
    found = transitions(
        {"p": ["right", "carry", "right", "value"]}, {"p": ["operator", "right", "operator", "operator"]}
    )
    table = dict(zip(found.kinds, found.table[:, found.kinds.index("operator")], strict=True))
    assert table == pytest.approx({"right": 0.25, "carry": 0.25, "value": 0.25, "operator": 0})
    assert found.table[0, 0] == 0.25
    # Another number of answers on the other side is no matter: shares are compared.
    same = transitions({"p": ["right", "carry"]}, {"p": ["carry", "right", "right", "carry"]})
    assert not same.went.any()


labels = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from(["right", "carry", "value", "unit"]), min_size=1), min_size=1
)


@given(labels, st.randoms())
def test_the_table_adds_up(before, random):
    after = {name: random.choices(["right", "carry", "other"], k=3) for name in before}
    found = transitions(before, after)
    np.testing.assert_allclose(found.table.sum(axis=1), found.before.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.table.sum(axis=0), found.after.mean(axis=0), atol=1e-12)
    assert (found.table >= -1e-12).all()
    back = transitions(after, before)
    assert back.kinds == found.kinds
    np.testing.assert_allclose(back.table, found.table.T, atol=1e-12)


def test_answers_of_generated_arithmetic_are_labelled_by_their_first_slip():
    assert [label_answer(QUESTION, text) for text in (RIGHT, CARRY, OPERATOR, SHORT)] == [
        "right", "carry", "operator", "missing",
    ]  # fmt: skip
    rows = [[RIGHT, CARRY], ["I do not know", "so 4"]]
    problems = [Problem("a", QUESTION, "19"), Problem("b", "?", "4")]
    graded = grade([[Sample(text) for text in row] for row in rows], problems)
    found = label_graded(["p", "q"], [QUESTION, "What is 2 + 2?"], graded)
    assert found["p"] == ["right", "carry"]
    assert found["q"] == ["unknown", "right"]


def test_mined_solutions_count_as_often_as_they_were_drawn():
    solutions = (Solution(text=RIGHT, verdict="right", count=2), Solution(text=CARRY, verdict="wrong", count=3))
    problem = MinedProblem(number=0, id="p", question=QUESTION, answer="19", drawn=5, solutions=solutions)
    none = MinedProblem(number=1, id="none", question=QUESTION, answer="19")
    assert label_mined([problem, none]) == {"p": ["right"] * 2 + ["carry"] * 3}


def test_tables_show_what_went_and_what_came():
    found = transitions({"a": ["carry"], "b": ["right"]}, {"a": ["right"], "b": ["operator"]})
    rows = {row[0]: row[1:5] for row in slips_table(found).rows}
    assert rows == {"right": (0.5, 0.5, 0.5, 0.5), "carry": (0.5, 0, 0.5, 0), "operator": (0, 0.5, 0, 0.5)}
    assert transition_table(found).rows[0] == ("right", None, None, 0.5)
    text = format_transitions(found)
    assert "went away" in text
    assert "before \\ after" in text
    assert max(map(len, text.splitlines())) < 110


def test_other_problems_on_either_side_are_refused():
    with pytest.raises(InputError, match="1 problems and after 2, such as \\['q'\\]"):
        transitions({"p": ["right"]}, {"p": ["right"], "q": ["right"]})
    with pytest.raises(InputError, match="problem 'p' has no answers"):
        transitions({"p": []}, {"p": ["right"]})
    with pytest.raises(InputError, match="and some"):
        transitions({}, {})


def test_the_command_compares_two_mined_folders(tmp_path, capsys):
    def mined(name, *texts):
        solutions = tuple(Solution(text=text, verdict="right" if text == RIGHT else "wrong") for text in texts)
        one = MinedProblem(number=0, id="p", question=QUESTION, answer="19", drawn=len(texts), solutions=solutions)
        (tmp_path / name).mkdir()
        (tmp_path / name / "solutions.jsonl").write_text(json.dumps(to_json(one)) + "\n")
        return str(tmp_path / name)

    before, after = mined("before", CARRY, OPERATOR), mined("after", RIGHT, OPERATOR)
    assert command.main([before, after, "--level=0.9"]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert re.search(r"right +0.000 +0.500 +0.000 +0.500", said)  # before, after, went away, appeared
    assert re.search(r"carry +0.500 +0.000 +0.500 +0.000", said)
    assert "90% intervals" in said
    for words in ([before], [before, after, "--levl=1"], [before, after, "--level=2"], [before, str(tmp_path / "no")]):
        assert command.main(words) == ExitCode.BAD_INPUT
        assert capsys.readouterr().err.startswith("error: ")
