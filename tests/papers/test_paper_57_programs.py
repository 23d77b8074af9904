"""Paper 57, MBPP and MathQA-Python: right, wrong, looping and crashing programs, and exact pass@k."""

import json

import pytest

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.data.sources.detection import source_of
from mtjax.errors import InputError
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


def test_the_sanitized_version_has_its_task_as_prompt_and_its_imports_as_set_up(tmp_path):
    record = {
        "source_file": "Benchmark Questions Verification V2.ipynb", "task_id": 82, "prompt": "Volume of a sphere?",
        "code": "def f(r):\n  return 4 / 3 * math.pi * r**3", "test_imports": ["import math"],
        "test_list": ["assert math.isclose(f(10), 4188.790204786391, rel_tol=0.001)"],
    }  # fmt: skip
    file = tmp_path / "sanitized-mbpp.json"
    file.write_text(json.dumps([record]))
    (problem,) = source_of(str(file)).problems().items
    assert "your task: Volume of a sphere?" in problem.question
    assert problem.answer == f"import math\n{record['test_list'][0]}"
    if not unavailable():
        assert ProgramGrader()(problem, Sample(problem.right[0])) is Verdict.RIGHT
    file.write_text(json.dumps([record | {"test_imports": "import math"}]))
    with pytest.raises(InputError, match="test_imports 'import math'"):
        source_of(str(file)).problems()
