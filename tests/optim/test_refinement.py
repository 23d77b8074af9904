"""Refined schedules by their golden values, and the command that makes one from a run."""

import json

import numpy as np
import pytest

from mtjax import refine as command
from mtjax.config import load, write_snapshot
from mtjax.errors import ExitCode, InputError
from mtjax.optim.refinement import refine
from mtjax.optim.schedules.refined import Refined

NORMS = np.array([4, 2, 1, 1, 1, 1, 2, 2, 0.5, 0.5])


def test_golden_values():
    """specs/losses-and-optim.md 7."""
    second = [0.049805, 0.195312, 0.71875, 0.65625, 0.59375, 0.53125, 0.128906, 0.125, 1, 0]
    first = [0.296875, 0.5625, 1, 0.875, 0.75, 0.625, 0.28125, 0.25, 0.5, 0]
    np.testing.assert_allclose(refine(NORMS, 2, smoothing=0), second, atol=1e-6)
    np.testing.assert_allclose(refine(NORMS, 1, smoothing=0), first, atol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_constant_norms_give_linear_decay_to_zero(power, smoothing):
    found = refine(np.full(400, 3.7), power, smoothing)
    np.testing.assert_allclose(found, 1 - np.arange(400) / 399, atol=1e-12)
    few = refine(np.full(400, 3.7), power, smoothing, points=50)
    np.testing.assert_allclose(few, 1 - np.arange(50) / 49, atol=1e-12)


def test_the_scale_of_the_norms_does_not_matter_and_one_small_norm_is_smoothed_away():
    norms = np.random.default_rng(0).uniform(1, 2, 300)
    np.testing.assert_allclose(refine(norms, 1), refine(1e4 * norms, 1), rtol=1e-9)
    spiked = norms.copy()
    spiked[150] = 1e-3
    assert refine(spiked, 1, smoothing=0).argmax() == 150
    np.testing.assert_allclose(refine(spiked, 1), refine(norms, 1), atol=0.05)


@pytest.fixture
def run(tmp_path):
    """A run folder with 40 steps, whose norms fall by half in the middle."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_snapshot(folder, load("configs/tiny.py", [f"--run_dir={folder}"]))
    lines = [{"step": n, "loss": 1.0, "grad_norm": 2.0 - (n > 20), "grad_norm_l1": 8.0} for n in range(1, 41)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_command_writes_what_a_run_reads(run, tmp_path, capsys):
    file = tmp_path / "schedule.json"
    assert command.main([str(run), f"--output={file}", "--points=50"]) == ExitCode.DONE
    assert "50 rates from the L1 norms of 40 steps" in capsys.readouterr().out
    words = ["optim.schedule:refined", f"--optim.schedule.file={file}"]
    schedule = load("configs/tiny.py", words).optim.schedule
    np.testing.assert_allclose(schedule.rates, 1 - np.arange(50) / 49, atol=1e-6)
    file.unlink()  # the run keeps the rates
    assert schedule == Refined(schedule.rates)
    assert command.main([str(run), f"--output={file}", "--norm=l2", "--smoothing=0", "--points=40"]) == ExitCode.DONE
    np.testing.assert_allclose(
        json.loads(file.read_text())["rates"], refine(np.repeat([2.0, 1.0], 20), 2, 0), atol=1e-6
    )


def test_bad_input_is_one_error(run, tmp_path, capsys):
    (run / "metrics.jsonl").write_text("".join(json.dumps({"step": n, "loss": 1.0}) + "\n" for n in range(30)))
    assert command.main([str(run)]) == ExitCode.BAD_INPUT
    assert "has 0 gradient norms (30 lines lack 'grad_norm_l1'" in capsys.readouterr().err
    assert command.main([]) == ExitCode.BAD_INPUT
    for text, says in ((None, "no such file"), ("{}", "cannot be read"), ("[1]", "cannot be read")):
        file = tmp_path / "other.json"
        if text is not None:
            file.write_text(text)
        with pytest.raises(InputError, match=says):
            Refined(file=str(file))
