"""Checkpoints elsewhere than in the run folder, and of something else than what is run."""

import json
import shutil

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from mtjax import train
from mtjax.errors import ExitCode
from mtjax.training import checkpoint

SMALL = ["configs/tiny.py", "--model.width=16", "--model.layers=1", "--data.source.count=40", "--batch_size=8"]
SMALL += ["--held_out.source.count=20", "--held_out.batches=1", "--no_tensorboard", "--no_self_check"]
pytestmark = pytest.mark.usefixtures("one_device")


def test_an_address_reaches_orbax_as_it_is(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(ocp, "CheckpointManager", lambda folder, options: asked.append(str(folder)))
    for place in checkpoint.folders_of(tmp_path / "run", "gs://bucket/run"):
        checkpoint.Checkpoints(place)
    for place in checkpoint.folders_of(tmp_path / "run"):
        checkpoint.Checkpoints(place)
    assert asked[:2] == ["gs://bucket/run/checkpoints", "gs://bucket/run/best"]
    assert asked[2:] == [f"{tmp_path}/run/checkpoints", f"{tmp_path}/run/best"]


def test_a_new_machine_goes_on_from_checkpoints_elsewhere(tmp_path, capsys):
    run, elsewhere = tmp_path / "run", tmp_path / "bucket"
    command = [*SMALL, f"--run_dir={run}", f"--checkpoint.folder={elsewhere}"]
    assert train.main([*command, "--steps=2"]) == 0
    assert not (run / "checkpoints").exists()
    assert (elsewhere / "checkpoints" / "2").is_dir()
    shutil.rmtree(run)  # the machine is gone
    capsys.readouterr()
    assert train.main([*command, "--steps=3", "--optim.learning_rate=0.5"]) == ExitCode.BAD_INPUT
    assert "optim.learning_rate was" in capsys.readouterr().err  # it knows what run that was
    assert train.main([*command, "--steps=3"]) == 0
    assert "steps 3 to 3" in capsys.readouterr().out
    logged = lambda place: [json.loads(line)["step"] for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert logged(run) == logged(elsewhere) == [0, 1, 2, 3]  # those of the machine that is gone, too
    assert train.main([*command, "--steps=1", "--overwrite"]) == 0
    assert checkpoint.saved_steps(elsewhere / "checkpoints") == [1]
    assert logged(run) == logged(elsewhere) == [0, 1]


def test_a_log_that_cannot_be_copied_is_a_note_and_the_run_goes_on(tmp_path, capfd):
    run, elsewhere = tmp_path / "run", tmp_path / "bucket"
    (elsewhere / "metrics.jsonl").mkdir(parents=True)  # nothing can take its place
    assert train.main([*SMALL, f"--run_dir={run}", f"--checkpoint.folder={elsewhere}", "--steps=1"]) == 0
    assert f"note: metrics.jsonl could not be copied to {elsewhere} (IsADirectoryError: " in capfd.readouterr().err
    assert checkpoint.saved_steps(elsewhere / "checkpoints") == [1]


def test_a_checkpoint_of_another_objective_is_refused_with_its_first_leaf(tmp_path, capsys):
    run = tmp_path / "run"
    assert train.main([*SMALL, f"--run_dir={run}", "--steps=1"]) == 0
    kept = run / "checkpoints" / checkpoint.MADE_BY
    assert json.loads(kept.read_text())["objective"] == "MistakeTuning"
    # The snapshot says nothing of it: someone has changed that.
    snapshot = run / "config.py"
    text = snapshot.read_text().replace("incorrect_weight=1.0", "incorrect_weight=0.5")
    assert text != snapshot.read_text()
    snapshot.write_text(text)
    capsys.readouterr()
    code = train.main([*SMALL, f"--run_dir={run}", "--steps=2", "--objective.incorrect_weight=0.5"])
    assert code == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert "is of another objective: 'objective.incorrect_weight' is 1.0 there and 0.5 here" in said


def test_a_save_that_fails_is_one_sentence(tmp_path, monkeypatch):
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
    monkeypatch.setattr(checkpoints.manager, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(checkpoint.StorageError, match="at step 3, or before it, in .*No space.*stay as they were"):
        checkpoints.save(3, {"a": jnp.zeros(2)})
    checkpoints.close()


@pytest.mark.slow
def test_a_folder_is_named_without_dots_that_orbax_refuses(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    assert str(checkpoint.place_of("../run")) == str(tmp_path.resolve() / "run")
    assert str(checkpoint.place_of("gs://bucket/run")) == "gs://bucket/run"
