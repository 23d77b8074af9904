"""`mtjax.sweep` and `mtjax.plot`: the runs of a grid, resumed and compared; runs are written by hand, not trained."""

import dataclasses
import json
import pathlib
import re
import signal
import types

import numpy as np
import pytest

from mtjax import config, plot, sweep
from mtjax.errors import ExitCode, InputError
from mtjax.experiments import curves
from mtjax.experiments import sweep as sweeping
from mtjax.reporting.intervals import Interval, seeds_interval
from mtjax.reporting.plots import Curve
from mtjax.reporting.terminal_plot import terminal_plot

TINY = pathlib.Path(__file__).parent.parent.parent / "configs" / "tiny.py"
GRID = ["--grid", "optim.learning_rate=1e-3,5e-3", "--seeds=2", "--steps=40"]


def write_run(folder, settings, losses):
    folder.mkdir(parents=True, exist_ok=True)
    config.write_snapshot(folder, settings)
    lines = [{"step": step, "loss": loss, "learning_rate": 0.1} for step, loss in enumerate(losses, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def started(monkeypatch):
    """The runs that were started, by name; each writes its folder at once. One called in `failing` ends with code 5."""
    seen = types.SimpleNamespace(names=[], failing=set(), stop_after=None)

    tiny = config.read_file(TINY)

    def popen(words, stdout, **_):
        given = dict(word.lstrip("-").split("=", 1) for word in words[4:])
        folder = pathlib.Path(given["run_dir"])
        optim = dataclasses.replace(tiny.optim, learning_rate=float(given["optim.learning_rate"]))
        settings = dataclasses.replace(tiny, optim=optim, seed=int(given["seed"]), run_dir=str(folder))
        seen.names.append(folder.name)
        if folder.name in seen.failing:
            stdout.write(b"step 1\nerror: the loss is NaN\n")
            return types.SimpleNamespace(poll=lambda: 5, returncode=5)
        write_run(folder, settings, [3 - 100 * settings.optim.learning_rate + settings.seed, 1.0 + settings.seed])
        if len(seen.names) == seen.stop_after:
            signal.raise_signal(signal.SIGTERM)
        return types.SimpleNamespace(poll=lambda: 0, returncode=0, send_signal=lambda number: None)

    monkeypatch.setattr(sweeping.subprocess, "Popen", popen)
    return seen


def test_a_sweep_goes_on_after_a_stop_and_a_failure_and_compares_its_runs(tmp_path, started, capsys):
    words = [str(TINY), *GRID, f"--output={tmp_path / 's'}"]
    names = [f"learning_rate={rate},seed={seed}" for rate in ("1e-3", "5e-3") for seed in (0, 1)]
    started.stop_after, started.failing = 2, {names[0]}
    assert sweep.main(words) == ExitCode.STOPPED
    assert f"failed: {names[0]} ended with code 5: error: the loss is NaN" in capsys.readouterr().out
    assert started.names == names[:2]
    started.failing = set()
    assert sweep.main(words) == ExitCode.DONE
    assert started.names[2:] == [names[0], *names[2:]]  # what was done is not done again
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith("learning_rate=")}
    assert rows[names[3]] == ["0.005", "1", "2", "2.000"]
    # The mean of 1 and 2; s = 0.7071, t of one degree of freedom 12.706: 1.5 +- 12.706 * 0.7071 / sqrt(2) = 6.353.
    assert re.search(r"^0\.001 +2 +1\.500 \[-4\.853, 7\.853\]$", said, re.MULTILINE)
    records = [json.loads(line) for line in (tmp_path / "s" / "runs.jsonl").read_text().splitlines()]
    assert [record["results"]["loss"] for record in records] == [1.0, 2.0, 1.0, 2.0]
    assert "optim.learning_rate" in (tmp_path / "s" / "plots" / "report.html").read_text()
    assert (tmp_path / "s" / "plots" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert sweep.main([str(TINY), f"--output={tmp_path / 's'}"]) == ExitCode.BAD_INPUT
    assert "begun with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--grid", "optim.learning_rate"], "expected a setting and its values"),
        (["--grid", "optim.learning_rat=1"], "optim.learning_rate"),
        (["--grid", "steps=1,1"], "are called steps=1"),
        (["--run_dir=x"], "use --output"),
        (["--seeds=0"], "seeds"),
    ],
)
def test_a_bad_sweep_is_refused_before_anything_is_trained(tmp_path, started, capsys, words, says):
    assert sweep.main([str(TINY), f"--output={tmp_path / 's'}", *words]) == ExitCode.BAD_INPUT
    assert says in capsys.readouterr().err
    assert not started.names
    assert not (tmp_path / "s").exists()


def test_plot_draws_runs_and_their_differences(tmp_path, capsys):
    tiny = config.load(TINY)
    for name, words in {"a": [], "b": ["objective:nll", "--batch_size=8"]}.items():
        write_run(tmp_path / name, config.load(TINY, words) if words else tiny, [3.0, 2.0, 1.0])
    evaluation = {"metrics": {"plain": {"pass@1": {"mean": 0.5, "low": 0.4, "high": 0.6, "level": 0.95}}}}
    (tmp_path / "b" / "evaluation").mkdir()
    (tmp_path / "b" / "evaluation" / "evaluation.json").write_text(json.dumps(evaluation))
    assert plot.main([str(tmp_path / "a"), str(tmp_path / "b")]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "batch_size" in said
    assert "0.500 [0.400, 0.600]" in said
    assert "loss over step" in said
    assert {file.name for file in (tmp_path / "plots").iterdir()} >= {"report.html", "loss.png", "loss-dark.png"}
    for words, says in {
        (str(tmp_path / "a"), str(tmp_path / "a")): "given twice",
        (str(tmp_path),): "is not a run folder",
        (str(tmp_path / "a"), "--metrics", "los"): "did you mean 'loss'?",
        (str(tmp_path / "a"), "--x=epoch"): "no run has the metric 'epoch'",
        (): "usage:",
    }.items():
        assert plot.main(list(words)) == ExitCode.BAD_INPUT
        both = capsys.readouterr()
        assert says in both.err + both.out


def test_curves_over_seeds_and_smoothing_by_hand():
    lines = lambda *losses: [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]
    of = lambda name, seed, *losses: curves.RunLog(name, pathlib.Path(name), {"seed": seed}, lines(*losses), {})
    runs = [of("a", "0", 4.0, 2.0, 3.0), of("b", "1", 2.0, 2.0)]
    assert runs[0].curve("loss", smooth=2) == Curve((1, 2, 3), [4.0, 3.0, 2.5])
    assert curves.curves_of(runs)["loss"] == {"2 seeds": Curve([1, 2], [3.0, 2.0], [2.0, 2.0], [4.0, 2.0])}
    assert curves.curves_of(runs, each=True)["loss"]["b"] == Curve((1, 2), [2.0, 2.0])
    long = [of("a", "0", *np.linspace(2, 1, 100))]
    assert curves.results(long[0])["loss"] == pytest.approx(np.linspace(2, 1, 100)[-10:].mean())


def test_the_interval_over_seeds_by_hand():
    # Mean 2, s = 1, t of two degrees of freedom 4.3027: 2 +- 4.3027 / sqrt(3) = 2.4841.
    found = seeds_interval([1.0, 2.0, 3.0])
    assert found == Interval(2.0, pytest.approx(-0.4841, abs=1e-4), pytest.approx(4.4841, abs=1e-4), 0.95)
    with pytest.raises(InputError, match="one seed has no interval"):
        seeds_interval([1.0])


def test_a_terminal_plot_by_hand():
    text = terminal_plot("loss", {"up": Curve([0, 10], [0.0, 2.0]), "flat": Curve([0, 10], [1.0, float("nan")])},
                         width=14, height=3)  # fmt: skip
    assert text.splitlines() == ["loss", "2 |          a", "  |b", "0 |a", "  0        10", "a up", "b flat"]
    assert terminal_plot("x", {"none": Curve([], [])}) == "x: nothing to draw"
