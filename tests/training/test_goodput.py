"""The goodput line, and traces of steps: what they count, and what a run writes."""

import dataclasses
import gzip
import json
import shutil
import time
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from mtjax import train
from mtjax.config import load
from mtjax.distributed import hosts
from mtjax.errors import ExitCode, InputError
from mtjax.runs import loop
from mtjax.training.goodput import Goodput
from mtjax.training.trace import FOLDER, Trace, read_span
from tests.devices import only_one_device

SMALL = ["configs/tiny.py", "--model.width=16", "--model.mlp_width=32", "--model.layers=1", "--data.source.count=80"]
SMALL += ["--batch_size=4", "--no_tensorboard", "--no_self_check", "held-out:none", "--checkpoint.every=3"]


def test_every_second_is_counted_once(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    found = Goodput()
    clock[0] += 4
    found.started()
    for seconds in (9, 2, 2):
        with found.step():
            clock[0] += seconds
    with found.of("steps"):
        clock[0] += 1
    with found.of("saving"):
        clock[0] += 1
    clock[0] += 1
    assert str(found) == (
        "goodput  25.0% of 20 s in steps; starting 4.0 s, compiling 9.0 s, saving 1.0 s, the rest 1.0 s"
    )
    found.lose([{"step": 3}, {"step": 5, "time/step": 2.0}], 2)
    assert str(found).endswith("; 3 steps (6.0 s) of an earlier start were lost")


def test_the_wait_for_the_first_step_is_compiling(monkeypatch, tmp_path):
    """And nothing else waits for it: the rates are computed before, as a program of the device is after it."""
    seen, of, started = [], Goodput.of, Goodput.started
    monkeypatch.setattr(Goodput, "of", lambda self, kind: seen.append(kind) or of(self, kind))
    monkeypatch.setattr(Goodput, "started", lambda self: seen.append("started") or started(self))
    monkeypatch.setattr(loop, "learning_rate_at", lambda *_: lambda number: seen.append(f"rate {number}") or 1e-3)
    with only_one_device():
        assert train.main([*SMALL, f"--run_dir={tmp_path / 'run'}", "--steps=2"]) == ExitCode.DONE
    first, second = ["compiling", "rate 1", "compiling"], ["steps", "rate 2", "steps"]
    assert seen == ["rate 1", "started", *first, *second, "saving", "saving"]


@pytest.mark.parametrize("text", ["10", "0:3", "5:4", "a:b", "1:2:3", "-1:4"])
def test_a_span_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="expected the first and the last step, such as 10:15"):
        read_span(text)
    with pytest.raises(InputError, match="profile="):
        dataclasses.replace(load("configs/tiny.py"), profile=text)


def test_two_hosts_on_one_machine_keep_both_traces(tmp_path, monkeypatch):
    """The profiler names its files by machine and second: within one second both would be one file."""
    for host in range(2):
        monkeypatch.setattr(hosts, "_line", SimpleNamespace(cluster=SimpleNamespace(host=host, hosts=2)))
        trace = Trace("1:1", tmp_path)
        with trace.step(1, jnp.zeros(())):
            values = jnp.ones(()) + host
        trace.end(1, values)
    places = {file.relative_to(tmp_path / FOLDER).parts[0] for file in (tmp_path / FOLDER).rglob("*.xplane.pb")}
    assert places == {"process_0", "process_1"}
    monkeypatch.undo()
    assert Trace("1:1", tmp_path).folder.relative_to(tmp_path / FOLDER).parts == ()  # of a single host


@pytest.mark.slow
def test_a_run_traces_the_steps_it_is_asked_for_and_tells_its_goodput(tmp_path, capsys):
    words = [*SMALL, f"--run_dir={tmp_path / 'run'}"]
    with only_one_device():
        assert train.main([*words, "--steps=5", "--profile=2:3"]) == ExitCode.DONE
        said = capsys.readouterr().out
        assert f"profile  2 steps in {tmp_path / 'run' / FOLDER}" in said
        assert "\ngoodput  " in said
        assert "compiling" in said
        (trace,) = (tmp_path / "run" / FOLDER).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
        steps = {event["args"]["step_num"] for event in events if "step_num" in event.get("args", {})}
        assert steps == {"2", "3"}
        # A kill after step 5, of which step 3 is saved: two logged steps are done again.
        log = tmp_path / "run" / "metrics.jsonl"
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "5")
        assert len(log.read_text().splitlines()) == 5
        assert train.main([*words, "--steps=6", "--profile=20:30"]) == ExitCode.DONE
        said = capsys.readouterr().out
        assert "; 2 steps (" in said
        assert "of an earlier start were lost" in said
        assert "profile  " not in said
