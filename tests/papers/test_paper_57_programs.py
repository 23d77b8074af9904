"""Paper 57, MBPP and MathQA-Python: right, wrong, looping and crashing programs, and exact pass@k."""

import pytest

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.coverage import pass_at_k
from mtjax.evaluation.graders.program import ProgramGrader
from mtjax.evaluation.sandbox import Sandbox, unavailable
from mtjax.sampling.sampler import Sample

ADD = Problem("add", "Add one.", "assert f(1) == 2\nassert f(2) == 3")


@pytest.mark.skipif(bool(unavailable()), reason="programs cannot be kept apart here")
@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("[BEGIN]\ndef f(x):\n    return x + 1\n[DONE]", Verdict.RIGHT),
        ("def f(x):\n    return 2", Verdict.WRONG),
        ("def f(x):\n    while True: pass", Verdict.WRONG),
        ("def f(x):\n    return 1 / 0", Verdict.WRONG),
    ],
)
def test_programs(program, verdict):
    assert ProgramGrader(Sandbox(seconds=1))(ADD, Sample(program)) is verdict


def test_pass_at_k_is_exact():
    assert [float(pass_at_k(5, 2, k)) for k in (1, 3, 5)] == pytest.approx([0.4, 0.9, 1.0])
