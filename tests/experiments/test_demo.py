"""The demo end to end at a toy size, and its accounting."""

import numpy as np
import pytest

from mtjax.data.answers import Verdict, check_answer
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.experiments.config import Demo, Overfit
from tests.experiments.tiny import EASY, SETUP, findings, report


def tiny(folder, **changes):
    settings = {
        "mine_source": Arithmetic(count=24, seed=1, **EASY),
        "overfit": Overfit(
            source=Arithmetic(count=8, seed=5, **EASY),
            test_source=Arithmetic(count=8, seed=6, **EASY),
            n=4,
            steps=4,
            looks=2,
            samples=4,
            ks=(1, 4),
        ),
        "output": str(folder),
    }
    return Demo(**(SETUP | settings | changes))


def test_end_to_end_with_equal_budgets(tmp_path, capsys):
    found = findings("demo", tiny(tmp_path / "report"))
    outcome, arms = found.outcome, found.outcome.arms
    positions = {name: [run.cost["positions"] for run in runs] for name, runs in arms.trained.items()}
    equal = 4 * 16 * 96  # steps, rows, positions of a row
    for name in ("right only", "right and wrong, no prefix", "mistake tuning"):
        assert positions[name] == [equal, equal]
    for tuning, control in zip(arms["mistake tuning"], arms["right only, equal right tokens"], strict=True):
        # The control stops at the first step that reaches the goal, so it is over by less than a step's worth.
        goal, seen = tuning.cost["right_tokens"], control.cost["right_tokens"]
        assert control.cost["updates"] == len(control.losses)
        assert goal <= seen + 1e-6 or len(control.losses) == 4
        assert seen - goal < 2 * seen / len(control.losses)
    assert all(run.behind_wrong is not None for run in arms["mistake tuning"])
    # What was mined is what the checker says.
    for problem in outcome.mined.problems:
        assert all(check_answer(text, problem.answer) is Verdict.RIGHT for text in problem.right)
        assert all(check_answer(text, problem.answer) is Verdict.WRONG for text in problem.wrong)
    page, numbers = report(found)
    text = page.read_text()
    assert "<img" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    start = numbers["arms"]["start"]["1"][0][0]
    np.testing.assert_allclose(start, arms["start"][0].end.right.mean())
    # The coverage picture: both arms from one start, looked at twice.
    small = numbers["overfit"]["curves"]
    assert {name: list(steps) for name, steps in small.items()} == {
        "cross-entropy": ["0", "2", "4"],
        "DCO, N = 4": ["0", "2", "4"],
    }
    assert small["cross-entropy"]["0"] == small["DCO, N = 4"]["0"]
    assert numbers["overfit"]["verdict"] in text
    said = capsys.readouterr().out
    assert "right only, equal right tokens" in said
    assert "pass@1" in said


def test_a_missed_stop_rule_fails_and_says_so(tmp_path):
    with pytest.raises(InputError, match="the stop rule was not met.*after 10 steps"):
        findings("demo", tiny(tmp_path, start_steps=10, target=(0.9, 1.0)))


def test_impossible_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="target"):
        tiny(tmp_path, target=(0.7, 0.3))
    with pytest.raises(InputError, match="ks"):
        tiny(tmp_path, ks=(1, 8))
