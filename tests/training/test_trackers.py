"""Trackers hold the numbers of metrics.jsonl: each with a stand-in of its package, and with the package where it is."""

import json
import pathlib
import sqlite3
import struct
import sys
import types

import pytest

from mtjax.errors import InputError
from mtjax.training.metrics_log import MetricsLog
from mtjax.training.trackers import TRACKERS, Tracked
from mtjax.training.trackers.mlflow import MlFlow
from mtjax.training.trackers.trackio import Trackio
from mtjax.training.trackers.wandb import Wandb

LINES = [(1, {"loss": 1 / 3, "held_out/confidence/-inf_to_-100": 0.25}), (2, {"loss": 0.1, "time/step": 2.5})]


def logged(folder, tracker):
    """Log the lines, the second one by a run that is resumed; the content of metrics.jsonl by step."""
    for first, (step, values) in enumerate(LINES):
        log = MetricsLog(Tracked(folder, {"optim.learning_rate": "0.001", "long": "x" * 9000}, first), [tracker])
        log.write(step, values)
        log.close()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line.pop("step"): line for line in lines}


class FakeRun:
    """What wandb.init and trackio.init give, as far as it is used."""

    def __init__(self, kept, **settings):
        self.kept, self.settings, self.open = kept, settings, True

    def log(self, values, step):
        assert self.open
        self.kept.setdefault(step, {}).update(values)

    def finish(self):
        self.open = False


@pytest.mark.parametrize(("kind", "tracker"), [("wandb", Wandb(mode="offline")), ("trackio", Trackio())])
def test_what_a_tracker_is_given_is_metrics_jsonl(tmp_path, monkeypatch, kind, tracker):
    kept, runs = {}, []
    package = types.ModuleType(kind)
    package.init = lambda **settings: runs.append(FakeRun(kept, **settings)) or runs[-1]
    monkeypatch.setitem(sys.modules, kind, package)
    assert logged(tmp_path, tracker) == kept
    one, other = (run.settings for run in runs)
    assert one == other  # resumed under the same id
    assert one["config"]["optim.learning_rate"] == "0.001"
    assert not any(run.open for run in runs)


class FakeClient:
    """mlflow's client, as far as it is used; it refuses what a store refuses."""

    def __init__(self, kept):
        self.kept, self.params, self.made = kept, {}, []

    def get_experiment_by_name(self, name):
        return types.SimpleNamespace(experiment_id="7") if self.made else None

    def create_experiment(self, name):
        return "7"

    def create_run(self, experiment, run_name):
        self.made.append(run_name)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=f"id{len(self.made)}"))

    def log_batch(self, run, metrics=(), params=()):
        assert run == "id1"
        assert len(params) <= 100
        self.params |= dict(params)
        for name, value, _, step in metrics:
            self.kept.setdefault(step, {})[name] = value

    def set_terminated(self, run):
        assert run == "id1"


def test_what_mlflow_is_given_is_metrics_jsonl(tmp_path, monkeypatch):
    kept = {}
    client = FakeClient(kept)
    entities = types.SimpleNamespace(Metric=lambda *one: one, Param=lambda *one: one)
    parts = {"mlflow": object(), "mlflow.entities": entities}
    parts["mlflow.tracking"] = types.SimpleNamespace(MlflowClient=lambda tracking_uri: client)
    for name, part in parts.items():
        monkeypatch.setitem(sys.modules, name, part)
    assert logged(tmp_path, MlFlow()) == kept
    assert client.made == [tmp_path.name]
    assert client.params == {"optim.learning_rate": "0.001", "long": "x" * 500}


@pytest.mark.parametrize("name", [name for name in TRACKERS if name != "tensorboard"])
def test_a_missing_package_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"tracker:{name} needs .*pip install '\.\[{name}\]'"):
        MetricsLog(Tracked(tmp_path, {}), [TRACKERS[name]()])


def test_a_run_goes_on_without_a_tracker_that_fails(tmp_path, monkeypatch, capsys):
    class Broken(FakeRun):
        def log(self, values, step):
            raise ConnectionError("no route")

    package = types.ModuleType("wandb")
    package.init = lambda **settings: Broken({}, **settings)
    monkeypatch.setitem(sys.modules, "wandb", package)
    assert logged(tmp_path, Wandb()).keys() == {1, 2}
    said = capsys.readouterr().out
    assert "the tracker wandb failed (ConnectionError('no route')); the run goes on without it" in said


def test_wandb_offline_holds_the_same_numbers(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_SILENT", "true")
    lines, kept = logged(tmp_path, Wandb(mode="offline")), {}
    for file in (tmp_path / "wandb").rglob("*.wandb"):
        for data in leveldb_records(file.read_bytes()[7:]):
            record = wandb_internal_pb2.Record.FromString(data)
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            if items:
                step = items.pop("_step")
                kept[step] = {name: value for name, value in items.items() if not name.startswith("_")}
    assert kept == lines


def leveldb_records(data):
    """The records of a log in LevelDB's format: blocks of 32 KiB, chunks with checksum, length and type."""
    place, record, block = 0, b"", 32768
    while place + 7 <= len(data):
        if (left := block - (place + 7) % block) < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        if kind == 0:
            return
        record += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # complete, or its last part
            yield record
            record = b""


def test_trackio_on_this_machine_holds_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="the extra trackio is not installed")
    run = tmp_path / "run"
    run.mkdir()
    lines, kept = logged(run, Trackio(project="p")), {}
    with sqlite3.connect(tmp_path / "trackio" / "p.db") as database:
        for step, text in database.execute("select step, metrics from metrics"):
            kept[step] = json.loads(text)
    assert kept == lines


def test_mlflow_in_a_file_holds_the_same_numbers(tmp_path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow.tracking import MlflowClient

    lines, kept = logged(tmp_path, MlFlow()), {}
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    for name in {name for values in lines.values() for name in values}:
        for one in client.get_metric_history(pathlib.Path(tmp_path / "mlflow.id").read_text().strip(), name):
            kept.setdefault(one.step, {})[one.key] = one.value
    assert kept == lines
