"""Paper 49, GPICL: tasks are projections with permuted labels, seen ones return, and new ones are new."""

import pytest

from mtjax.data.problem import Problem
from mtjax.data.sources.gpicl import Gpicl
from mtjax.data.tasks.in_context import InContextTask


def test_a_task_is_a_projection_and_a_permutation():
    few = Gpicl(tasks=3, count=9)
    assert [few.task(n % 3) for n in (0, 3)] == [few.task(0)] * 2
    assert few.task(0)[0] != few.task(1)[0]
    assert sorted(few.task(0)[1]) == [0, 1, 2, 3]
    assert few.task(0) != Gpicl(tasks=3, split="test").task(0)
    first, again = few.problem(0), few.problem(3)
    assert first.question != again.question
    projection, _ = few.task(0)
    assert len(projection) == few.features
    assert few.letters([[1.0]], [-9.0]) + few.letters([[1.0]], [0.0]) + few.letters([[1.0]], [9.0]) == "aeh"


def test_without_noise_a_text_is_a_table_that_answers_itself():
    for problem in Gpicl(noise=0.0, count=20, levels=26, shots=40).problems().items:
        *lines, asked = problem.question.splitlines()
        table = dict(line.split("=") for line in lines)
        assert table[asked[:-1]] == problem.answer


def test_every_label_of_a_text_is_a_target_and_nothing_else():
    (one,) = InContextTask().render(Problem("p", "ab=1\ncd=0\nab=", "1", ("1",)))
    assert [one.text[span.start : span.end] for span in one.spans] == ["1", "0", "1"]
    assert one.text == "ab=1\ncd=0\nab=1"
    with pytest.raises(Exception, match="without a line break"):
        InContextTask(mark="")
