"""What every registered grader must obey, and each by hand."""

import pytest

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.graders import GRADERS
from mtjax.evaluation.graders.steps import StepsGrader
from mtjax.evaluation.grading import grade
from mtjax.registry import summary
from mtjax.sampling.sampler import Sample

every_grader = pytest.mark.parametrize("name", GRADERS)
PROBLEM = Problem("a", "17 + 5 - 3 =", "19")
RIGHT = "Step 1: 17 + 5 = 22\nStep 2: 22 - 3 = 19\nAnswer: 19"
TEXTS = [RIGHT, RIGHT.replace("19", "18"), "", "Answer: 19", "\x00", "Step 1: 17 + 5 = 21\nAnswer: 19", "a" * 5000]


@every_grader
def test_it_says_what_it_is(name):
    assert summary(GRADERS[name])
    assert isinstance(GRADERS[name].needs_gold, bool)


@every_grader
def test_it_gives_a_verdict_for_every_text_and_depends_on_text_and_end_only(name):
    grader = GRADERS[name]()
    found = [grader(PROBLEM, Sample(text)) for text in TEXTS]
    assert all(isinstance(verdict, Verdict) for verdict in found)
    assert found == [grader(PROBLEM, Sample(text, -1.0, 3)) for text in TEXTS]
    cut = [grader(PROBLEM, Sample(text, finished=False)) for text in TEXTS]
    assert all(later in (sooner, Verdict.UNKNOWN) for sooner, later in zip(found, cut, strict=True))
    assert isinstance(grader(Problem("b", "Why?", "because"), Sample("because")), Verdict)


def test_steps_by_hand_and_in_an_evaluation():
    graded = grade([[Sample(text) for text in TEXTS]], [PROBLEM], StepsGrader())
    assert graded.right.tolist() == [[True] + [False] * 6]
    assert graded.answers[0][:4] == ["19", "18", None, "19"]
    assert grade([[Sample("Answer: 19")]], [PROBLEM]).right.all()  # by its answer alone it is right
    assert StepsGrader()(Problem("b", "Why?", "because"), Sample("because")) is Verdict.UNKNOWN
