"""What a report says besides numbers: a proved mistake with its correction, terms, and how it was made."""

from mtjax.data.problem import Problem
from mtjax.experiments.about import made_by, one_mistake, terms

# 5 + 8 is 13; the wrong solution drops the carry and goes on from 3.
RIGHT = "Step 1: 5 + 8 = 13\nStep 2: 13 + 1 = 14\nAnswer: 14"
WRONG = "Step 1: 5 + 8 = 3\nStep 2: 3 + 1 = 4\nAnswer: 4"


def test_a_mistake_is_shown_with_its_first_wrong_step_and_its_correction():
    unread = Problem("a", "5 + 8 + 1 =", wrong=("nothing",))
    unsolved = Problem("b", "5 + 8 + 1 =", wrong=(WRONG,))
    solved = Problem("c", "5 + 8 + 1 =", right=(RIGHT,), wrong=(WRONG,))
    text = one_mistake([unread, unsolved, solved]).text
    assert "`5 + 8 + 1 =`" in text
    assert "Step 1: 5 + 8 = 3    <- right: 5 + 8 = 13\nStep 2: 3 + 1 = 4\n" in text
    assert "(kind: carry)" in text
    assert text.count(RIGHT) == 2  # the correction, and another sample of the model
    assert one_mistake([unsolved]).text.count(RIGHT) == 1
    assert one_mistake([unread]) is None


def test_a_report_says_its_command_and_terms():
    text = made_by("python -m mtjax.recipe configs/demo.py --seeds 0").text
    assert "```\npython -m mtjax.recipe configs/demo.py --seeds 0\n```" in text
    assert "mtjax 0." in text
    assert ", 20" in text
    for word in ("pass@k", "maj@k", "greedy", "forward position", "target token"):
        assert f"**{word}**" in terms().text
