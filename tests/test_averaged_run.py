"""A run that keeps an average of its parameters: it is measured, resumed, loaded and exported."""

import json

import jax
import numpy as np
import pytest

from mtjax import train
from mtjax.errors import ExitCode, InputError
from mtjax.export import main as export
from mtjax.model import huggingface
from mtjax.runs.loading import load_any
from tests.devices import only_one_device

WORDS = ["configs/tiny.py", "--model.width=16", "--model.mlp_width=32", "--model.layers=1", "--data.source.count=80"]
WORDS += ["--batch_size=4", "--held_out.source.count=30", "--held_out.every=2", "--no_tensorboard", "--no_self_check"]
WORDS += ["--checkpoint.every=3", "--checkpoint.keep=9"]


def run(folder, *words):
    with only_one_device():
        return train.main([*WORDS, f"--run_dir={folder}", *words])


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]


@pytest.fixture(scope="module", params=["optim.average:ema", "optim.optimizer:schedule_free"])
def through(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("averaged")
    choice = [request.param, "--optim.schedule_steps=6", "--optim.learning_rate=0.01"]
    assert run(folder / "run", *choice, "--steps=6") == ExitCode.DONE
    return folder, choice


def test_it_is_measured_beside_the_raw_parameters_and_resumed(through):
    folder, choice = through
    lines = {line["step"]: line for line in metrics(folder / "run")}
    assert lines[0]["average/held_out_loss"] == pytest.approx(lines[0]["held_out_loss"])
    assert lines[6]["average/held_out_loss"] != lines[6]["held_out_loss"]
    assert run(folder / "broken", *choice, "--steps=3") == ExitCode.DONE
    assert run(folder / "broken", *choice, "--steps=6") == ExitCode.DONE
    whole = [line for line in metrics(folder / "run") if line["step"] in (2, 4, 6)]
    assert [line for line in metrics(folder / "broken") if line["step"] in (2, 4, 6)] == whole
    assert metrics(folder / "broken")[-1] == metrics(folder / "run")[-1]


def test_raw_and_average_are_loaded_by_name(through, tmp_path, capsys):
    folder, choice = through
    name = str(folder / "run")
    raw, average, auto = (load_any(name, weights=weights).params for weights in ("raw", "average", "auto"))
    same = lambda a, b: all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    assert not same(raw, average)
    assert same(auto, average if "schedule_free" in choice[0] else raw)
    out = str(tmp_path / "out")
    assert export([name, out, "--weights=average"]) == ExitCode.DONE
    capsys.readouterr()
    assert same(huggingface.load(out)[1], average)
    # The export at the end of a run takes what the other commands take.
    assert run(folder / "run", *choice, "--steps=6", f"--export={tmp_path / 'end'}") == ExitCode.DONE
    assert same(huggingface.load(tmp_path / "end")[1], auto)


def test_a_run_without_an_average_says_so(tmp_path, capsys):
    assert run(tmp_path / "run", "--steps=2") == ExitCode.DONE
    with pytest.raises(InputError, match="keeps no average of its parameters; leave --weights out"):
        load_any(str(tmp_path / "run"), weights="average")
    with pytest.raises(InputError, match="has no average; leave --weights out"):
        load_any("smollm2", weights="average")
