"""A run that was killed and started again is the run that was not, bit for bit."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from mtjax import config as settings
from mtjax import train
from mtjax.data import kept
from mtjax.errors import ExitCode
from mtjax.runs import assembly
from tests.devices import ONE_DEVICE

TINY = "configs/tiny.py"
pytestmark = pytest.mark.usefixtures("one_device")
QUICK = ["--batch_size=4", "--data.source.count=60", "--held_out.source.count=30", "--held_out.every=4"]
QUICK += ["--checkpoint.every=3", "--checkpoint.keep=9", "--no_tensorboard", "--model.width=16"]


def command(folder, *more):
    one_device = {**os.environ, **ONE_DEVICE}
    words = [sys.executable, "-m", "mtjax.train", TINY, f"--run_dir={folder}", *QUICK, *more]
    return subprocess.Popen(words, env=one_device, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]


def wait_for(folder, step):
    """Until the run has written that checkpoint."""
    for _ in range(1200):
        if (folder / "checkpoints" / str(step)).exists():
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint came")


def restore(folder, step):
    from mtjax.training.checkpoint import Checkpoints

    checkpoints = Checkpoints(folder / "checkpoints", 9)
    state = checkpoints.manager.restore(step, args=ocp.args.StandardRestore())
    checkpoints.close()
    return jax.tree.leaves(state)


@pytest.mark.filterwarnings("ignore")  # reading a checkpoint without telling Orbax its shapes warns
def test_killed_and_run_again_equals_run_through(tmp_path):
    through, killed = tmp_path / "through", tmp_path / "killed"
    assert command(through, "--steps=12").wait() == 0
    run = command(killed, "--steps=12")
    wait_for(killed, 3)
    run.send_signal(signal.SIGKILL)
    run.wait()
    again = command(killed, "--steps=12")
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert metrics(killed) == metrics(through)
    assert [line["step"] for line in metrics(killed)] == list(range(13))
    for a, b in zip(restore(through, 12), restore(killed, 12), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sigterm_saves_and_ends_with_75_and_ctrl_c_with_130(tmp_path):
    for sent, code in ((signal.SIGTERM, ExitCode.STOPPED), (signal.SIGINT, ExitCode.INTERRUPTED)):
        folder = tmp_path / sent.name
        run = command(folder, "--steps=100000")
        wait_for(folder, 3)
        run.send_signal(sent)
        said, _ = run.communicate(timeout=120)
        assert run.returncode == code, said
        saved = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
        assert saved == metrics(folder)[-1]["step"]


@pytest.mark.parametrize(
    ("sent", "fresh", "resumed"),
    [(signal.SIGTERM, ExitCode.TERMINATED, ExitCode.STOPPED), (signal.SIGINT, *[ExitCode.INTERRUPTED] * 2)],
)
def test_a_signal_before_the_first_step_says_what_is_saved(tmp_path, monkeypatch, capsys, sent, fresh, resumed):
    def assemble(config):
        signal.raise_signal(sent)

    monkeypatch.setattr(train, "train", assemble)
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        folder = tmp_path / "run"
        assert run_here(folder) == fresh
        assert "stopped  before the first step; nothing was saved" in capsys.readouterr().err
        (folder / "checkpoints" / "40").mkdir(parents=True)
        assert run_here(folder) == resumed
        assert "stopped  step 40 is saved; the same command goes on" in capsys.readouterr().err
        assert run_here(folder, "--overwrite") == fresh  # would start again
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert len({ExitCode.DONE, ExitCode.STOPPED, ExitCode.TERMINATED, ExitCode.INTERRUPTED}) == 4


def run_here(folder, *more):
    return train.main([TINY, f"--run_dir={folder}", *QUICK, *more])


def test_steps_may_be_raised_and_other_settings_are_refused(tmp_path, capsys):
    folder = tmp_path / "run"
    few = ["--batch_size=8", "--optim.schedule=linear"]
    assert run_here(folder, "--steps=2", *few) == 0
    first = metrics(folder)
    assert run_here(folder, "--steps=4", *few) == 0
    assert metrics(folder)[:3] == first
    assert settings.read_file(folder / "config.py").optim.schedule_steps == 2  # the schedule did not stretch
    capsys.readouterr()
    assert run_here(folder, "--steps=4", *few, "--optim.learning_rate=0.1", "--seed=3") == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert "optim.learning_rate was 0.005, is 0.1" in said
    assert "seed was 0, is 3" in said
    assert "--overwrite" in said


def test_a_run_whose_rows_are_packed_otherwise_now_is_refused(tmp_path, capsys, monkeypatch):
    """As after a version that packs otherwise: the settings and the examples are the same, the rows are not."""
    folder, before = tmp_path / "run", kept.pack
    assert run_here(folder, "--steps=2") == 0
    capsys.readouterr()
    monkeypatch.setattr(kept, "pack", lambda lengths, **how: before(lengths, **how | {"key": (7, *how["key"])}))
    assert run_here(folder, "--steps=4") == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(r"was trained to step 2 on something else: data, packing was \d+ rows \(\w+\), is \d+ rows", said)
    assert "examples" not in said
    assert run_here(folder, "--steps=4", "--accept_changed_data") == 0
    assert json.loads((folder / "changes.json").read_text())[0]["after_step"] == 2


def test_the_snapshot_reruns_the_run(tmp_path):
    config = settings.load(TINY, [f"--run_dir={tmp_path / 'run'}", "objective:nll", "--optim.learning_rate=0.25"])
    file = tmp_path / "again.py"
    file.write_text(settings.snapshot(config))
    assert settings.read_file(file) == config
    assert type(config.objective).__name__ == "Nll"


def test_an_exploding_run_names_step_and_examples_and_keeps_its_checkpoint(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    make = assembly.make_train_step

    def poisoned(*args, **kwargs):
        step = make(*args, **kwargs)

        def run(state, batch, key, reference_params):
            if int(state.step) == 4:
                batch = batch._replace(weights=batch.weights * np.float32("nan"))
            return step(state, batch, key, reference_params)

        return run

    monkeypatch.setattr(assembly, "make_train_step", poisoned)
    assert run_here(folder, "--steps=6", "--batch_size=8") == ExitCode.NON_FINITE
    said = capsys.readouterr().err
    assert "step 5: loss=nan" in said
    assert "arithmetic[0:" in said
    assert sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit()) == [3]
    assert [line["step"] for line in metrics(folder)] == [0, 1, 2, 3, 4]


def test_exported_weights_load_again(tmp_path):
    out = tmp_path / "hub"
    assert run_here(tmp_path / "run", "--steps=1", "--batch_size=8", f"--export={out}") == 0
    from mtjax.model import huggingface

    model, _ = huggingface.load(pathlib.Path(out))
    assert model.config.width == 16
    assert (out / "tokenizer.json").exists()


OWN = """
import dataclasses
from typing import ClassVar
from mtjax.config import read_file
from mtjax.objectives import base

@dataclasses.dataclass(frozen=True)
class Own:
    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False
    power: float = 1.0

    def __call__(self, policy, batch, *, reference=None, key=None):
        return base.weighted_nll(policy.scores(batch), batch, batch.weights**self.power)

config = dataclasses.replace(read_file("configs/tiny.py"), objective=Own(2))
"""


def test_the_snapshot_of_an_objective_of_ones_own_reruns_in_another_process(tmp_path):
    def snapshot_of(file):  # elsewhere: here, shape checks at run time know the registered objectives only
        code = f"from mtjax import config\nprint(config.snapshot(config.read_file({str(file)!r})), end='')"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "snapshot.py").write_text(first := snapshot_of(tmp_path / "own.py"))
    assert snapshot_of(tmp_path / "snapshot.py") == first
    assert "power=2" in first
