"""The coverage experiment end to end at a toy size: both arms from one start a seed, interrupted and not."""

import pathlib

import numpy as np
import pytest

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.experiments.config import Coverage
from tests.experiments.tiny import EASY, SETUP, findings, report


def tiny(folder, **changes):
    settings = {
        "train_source": Arithmetic(count=8, seed=5, **EASY),
        "n": 4,
        "looks": 2,
        "ks": (1, 4),
        "output": str(folder),
    }
    return Coverage(**(SETUP | settings | changes))


@pytest.mark.slow
def test_both_arms_from_a_start_of_each_seed_whatever_kills_them(tmp_path, monkeypatch):
    made = findings("coverage", tiny(tmp_path / "whole"))
    outcome = made.outcome
    page, found = report(made)
    assert list(outcome.arms) == ["start", "cross-entropy", "DCO, N = 4"]
    for records in outcome.arms.trained.values():
        # 4 updates, 16 rows, 96 positions; no reference.
        assert [(r.cost["positions"], r.cost["reference_positions"]) for r in records] == [(4 * 16 * 96, 0)] * 2
    # Seeds are starts of their own, and both arms of a seed begin at its start.
    assert len(outcome.begins) == 2
    np.testing.assert_allclose(found["starts"]["1"], [start.end.right.mean() for start in outcome.arms["start"]])
    assert found["curves"]["cross-entropy"]["0"] == found["curves"]["DCO, N = 4"]["0"]
    ends = np.mean(found["seeds"]["cross-entropy"]["4"])
    np.testing.assert_allclose(found["curves"]["cross-entropy"]["4"]["4"][0], ends)
    text = page.read_text()
    assert found["verdict"] in text
    assert text.count("<img") == 2  # over training, calibration

    # Killed after the second part that is kept, and started again: the same numbers.
    again = tiny(tmp_path / "killed")
    written, replace = [], pathlib.Path.replace

    def kill(path, target):
        if target.parent == tmp_path / "killed" / "arms":
            written.append(target)
            if len(written) == 2:
                raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            findings("coverage", again)
    kept = sorted(path.name for path in (tmp_path / "killed" / "arms").iterdir())
    assert [name for name in kept if name.endswith(".json")] == ["nll-seed0.json"]
    _, resumed = report(findings("coverage", again))
    for numbers in (found, resumed):
        numbers["settings"].pop("output")
    assert resumed == found


def test_impossible_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="n=0"):
        tiny(tmp_path, n=0)
    with pytest.raises(InputError, match="looks=9"):
        tiny(tmp_path, looks=9)
