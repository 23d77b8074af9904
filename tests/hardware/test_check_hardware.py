"""The hardware check is honest: what is broken fails, what was skipped is no pass, and it stops in time."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax import check_hardware
from mtjax.errors import ExitCode
from mtjax.hardware import attention as attention_check
from mtjax.hardware import clock, losses, machine, scale, speed, training
from mtjax.hardware.report import Line, Report, judged, measured
from mtjax.model import attention, kernels
from mtjax.objectives import base, dco, dpo, rise
from mtjax.training.checkpoint import Checkpoints
from tests.devices import ONE_DEVICE, only_one_device

SMALL = scale.small()


def failed(lines):
    return [line.what for line in lines if line.state == "FAIL"]


# The report.


def test_only_what_keeps_to_its_bound_passes():
    assert judged("a", "b", 1.0, 1.0).state == "pass"
    assert judged("a", "b", 1.1, 1.0).state == "FAIL"
    assert judged("a", "b", float("nan"), 1.0).state == "FAIL"
    assert judged("a", "b", float("inf"), 1.0).state == "FAIL"
    assert judged("a", "b", 1.1, 1.0, at_least=True).state == "pass"
    assert judged("a", "b", 0.9, 1.0, at_least=True).state == "FAIL"
    assert judged("a", "b", float("nan"), 1.0, at_least=True).state == "FAIL"


def raises():
    yield judged("second", "one", 0, 1)
    raise RuntimeError("no such kernel\nand more")


@pytest.mark.parametrize(
    ("lines", "code", "verdict"),
    [
        ([judged("a", "x", 0, 1)], ExitCode.DONE, "passed"),
        ([judged("a", "x", 0, 1), Line("a", "y", "n/a"), measured("a", "z", 3)], ExitCode.DONE, "passed"),
        ([judged("a", "x", 0, 1), Line("a", "y", "skip")], ExitCode.INCOMPLETE, "INCOMPLETE"),
        ([judged("a", "x", 0, 1), judged("a", "y", 2, 1)], ExitCode.CHECK_FAILED, "FAILED"),
    ],
)
def test_the_verdict(lines, code, verdict, tmp_path, capsys):
    file = tmp_path / "report.json"
    assert Report(None, file, {"date": "today"}).run([("a", lambda: iter(lines))]) == code
    said = capsys.readouterr().out
    assert f"\n{verdict}: 1 passed" in said
    found = json.loads(file.read_text())
    assert (found["verdict"], found["date"]) == (verdict, "today")
    assert [line["state"] for line in found["lines"]] == [line.state for line in lines]


def test_a_check_that_raises_fails_and_the_rest_runs(tmp_path, capsys):
    third = [judged("third", "one", 0, 1)]
    checks = [("second", raises), ("third", lambda: iter(third))]
    assert Report(None, None, {}).run(checks) == ExitCode.CHECK_FAILED
    said = capsys.readouterr().out
    assert "FAIL  second       runs to its end: RuntimeError: no such kernel\n" in said
    assert "2 passed, 1 failed" in said


def test_it_stops_in_time_whatever_runs_and_skips_the_rest(tmp_path):
    program = f"""
import pathlib, time
from mtjax.hardware.report import Report, judged
def long():
    yield judged("long", "first", 0, 1)
    time.sleep(60)
    yield judged("long", "second", 0, 1)
Report(0.3, pathlib.Path({str(tmp_path / "r.json")!r}), {{}}).run([("long", long), ("rest", long)])
"""
    began = time.monotonic()
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert said.returncode == ExitCode.INCOMPLETE, said.stderr
    assert time.monotonic() - began < 30
    found = json.loads((tmp_path / "r.json").read_text())
    assert [(line["check"], line["state"]) for line in found["lines"]] == [
        ("long", "pass"), ("long", "skip"), ("rest", "skip"),
    ]  # fmt: skip
    assert "INCOMPLETE: 1 passed, 0 failed, 2 skipped" in said.stdout


def test_wrong_options_are_refused(capsys, tmp_path):
    for words, says in (
        (["--only=kernels"], "--only=kernels: expected names of machine, products"),
        (["--minutes=0"], "minutes"),
        (["tpu"], "expected options alone"),
        ([f"--json={tmp_path / 'no' / 'r.json'}"], "is not a folder"),
    ):
        assert check_hardware.main(words) == ExitCode.BAD_INPUT
        assert says in capsys.readouterr().err


# What is broken fails.


def test_a_clock_that_does_not_wait_fails(monkeypatch):
    """With a clock by which time hardly passes while it should wait."""
    ticks = iter(np.arange(0, 1, 1e-6))
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(ticks))
    lines = list(machine.check_products(dataclasses.replace(SMALL, product=64)))
    assert failed(lines) == ["clock: 32 products take longer than 4"]


def test_wrong_products_fail(monkeypatch):
    real = jnp.matmul
    monkeypatch.setattr(machine.jnp, "matmul", lambda a, b, **more: real(a, b, **more) * 1.001)
    name = "bfloat16, error against float64"
    assert name in failed(machine._right("bfloat16", jnp.bfloat16, "default"))
    monkeypatch.undo()
    assert failed(machine._right("bfloat16", jnp.bfloat16, "default")) == []


ONE = dataclasses.replace(SMALL, length=128, attention=((8, True, True),))
PLAIN = dataclasses.replace(SMALL, length=128, attention=((8, False, False),))


def broken(monkeypatch, name, change):
    """Attention is called with changed arguments where it is the kernel of this name."""
    packed = attention.packed_attention
    call = lambda config, *rest: packed(*(change(config, *rest) if config.attention == name else (config, *rest)))
    monkeypatch.setattr(attention_check.attention, "packed_attention", call)


def across_segments(config, q, k, v, segments, window):
    """It sees other texts too."""
    return config, q, k, v, jnp.ones_like(segments), window


def test_a_mask_that_lets_other_texts_through_fails(monkeypatch):
    assert failed(attention_check.check_attention(PLAIN, ())) == []
    broken(monkeypatch, "plain", across_segments)
    lines = failed(attention_check.check_attention(PLAIN, ()))
    assert lines == ["plain float32, head_dim 8", "plain bfloat16, head_dim 8"]


def wider_window(config, q, k, v, segments, window):
    """It sees one token too many."""
    return dataclasses.replace(config, window=config.window + 1), q, k, v, segments, window + 1


def without_cap(config, *rest):
    """It leaves the soft cap out."""
    return dataclasses.replace(config, score_cap=None), *rest


def wrong_gradient(config, q, *rest):
    """Its value is right, its gradient a tenth too large."""
    return config, 1.1 * q - jax.lax.stop_gradient(0.1 * q), *rest


@pytest.mark.slow
@pytest.mark.parametrize("name", list(kernels.TABLE))
def test_a_broken_kernel_fails(name, monkeypatch):
    """Right as it is; each break of what it takes is found, in every type."""
    takes = kernels.TABLE[name]
    case = dataclasses.replace(SMALL, length=256, attention=((8, takes.window, takes.cap),))
    monkeypatch.setattr(kernels, "unavailable", lambda *_: None)
    lines = list(attention_check.check_attention(case, (name,)))
    assert failed(lines) == []
    assert sum(line.what.startswith(name) and line.state == "pass" for line in lines) == len(takes.types)
    breaks = [across_segments, wrong_gradient, *[wider_window] * takes.window, *[without_cap] * takes.cap]
    for change in breaks:
        with monkeypatch.context() as patch:
            broken(patch, name, change)
            found = failed(attention_check.check_attention(case, (name,)))
        assert all(what.startswith(name) for what in found)
        assert any("float32" in what for what in found) or ("float32" not in takes.types and found), change


def broken_losses(subject):
    """A way to break each objective, as a function of a monkeypatch."""
    if subject == "nll":
        real = base.weighted_nll
        wrong = lambda scores, batch, weights: (lambda out: (out[0]._replace(total=1.001 * out[0].total), out[1]))(
            real(scores, batch, weights)
        )
        return lambda patch: patch.setattr(base, "weighted_nll", wrong)
    if subject == "dpo":
        real = dpo.dpo_loss
        return lambda patch: patch.setattr(dpo, "dpo_loss", lambda a, b, **more: real(a, b - 0.01, **more))
    if subject == "rise":  # the gate stays open
        real = rise.rise_loss
        return lambda patch: patch.setattr(rise, "rise_loss", lambda a, b, c, **more: real(a - 1e3, b - 1e3, c, **more))
    return lambda patch: patch.setattr(dco, "_weight", lambda logprob, n: jnp.ones_like(logprob))  # cross-entropy's


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nll", "dpo", "rise", "dco"])
def test_a_wrong_loss_or_gradient_fails(name, monkeypatch):
    subject = losses.subjects()[name]
    compare = lambda: failed(losses._compare(name, subject, losses.MODEL, losses.LOSS, losses.GRADIENT))
    assert compare() == []
    broken_losses(name)(monkeypatch)
    found = compare()
    if name == "dco":
        assert found == ["dco: gradient of 12 leaves"]  # the loss is right, and its gradient alone is not
    else:
        assert f"{name}: loss" in found


@pytest.mark.slow
def test_wrong_chunks_fail(monkeypatch):
    assert failed(losses.check_chunks()) == []
    from mtjax.model import policy

    real = policy.token_scores
    more = lambda logits: logits + 1e-4 * jnp.arange(logits.shape[-1])
    shifted = lambda logits, *rest: real(tuple(more(each) for each in logits), *rest)
    monkeypatch.setattr(policy, "token_scores", shifted)
    assert len(failed(losses.check_chunks())) == 4


@pytest.mark.slow
def test_devices_that_differ_fail(monkeypatch):
    """All rows but those of the first device are lost on a mesh."""
    assert failed(training.check_parity()) == []
    from mtjax.training import step

    real = step.place_batch
    lost = lambda batch, mesh: real(
        batch if mesh is None else batch._replace(weights=batch.weights * (np.arange(len(batch.weights)) < 2)[
            (slice(None), *[None] * (batch.weights.ndim - 1))]), mesh
    )  # fmt: skip
    monkeypatch.setattr(step, "place_batch", lost)
    assert len(failed(training.check_parity())) == 4


@pytest.mark.slow
def test_a_resume_that_changes_one_bit_fails(monkeypatch):
    with only_one_device():
        assert failed(training.check_resume(SMALL)) == []
        real = Checkpoints.restore_latest

        def changed(self, like):
            found = real(self, like)
            if found is None:
                return None
            step, state = found
            scale = state.params["final_norm"]["scale"]
            params = {**state.params, "final_norm": {"scale": jnp.nextafter(scale, jnp.inf)}}
            return step, state._replace(params=params)

        monkeypatch.setattr(Checkpoints, "restore_latest", changed)
        assert failed(training.check_resume(SMALL)) == ["numbers that differ after a save and a resume"]


@pytest.mark.slow
def test_samples_that_are_not_what_is_scored_fail(monkeypatch):
    with only_one_device():
        assert failed(training.check_sampling(SMALL)) == []
        real = training.make_engine

        def wrong(*words, **options):
            draw = real(*words, **options)
            return lambda *rest: (
                answer._replace(logprobs=tuple(x + 0.01 for x in answer.logprobs)) for answer in draw(*rest)
            )

        monkeypatch.setattr(training, "make_engine", wrong)
        assert failed(training.check_sampling(SMALL)) == ["drawn and scored log-probabilities differ by"]


@pytest.mark.slow
def test_a_step_that_is_not_waited_for_fails(monkeypatch):
    """A model whose step takes longer than its dispatch."""
    model = dataclasses.replace(SMALL.speed[0].model, width=256, mlp_width=1024, layers=4)
    wide = dataclasses.replace(SMALL, speed=(dataclasses.replace(SMALL.speed[0], model=model, rows=(8,)),))
    with only_one_device():
        monkeypatch.setattr(clock, "wait", lambda value: value)
        lines = list(speed.check_speed(wide))
    assert "tiny, nll, clock: a step waited for over one of 4 together" in failed(lines), lines[0].text


@pytest.mark.slow
def test_settings_that_do_not_run_fail_and_a_full_device_is_told(monkeypatch):
    calls = []

    def raises(of, name, rows, remat, asked):
        calls.append(asked)
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory" if len(calls) == 1 else "a fault of the compiler")

    monkeypatch.setattr(speed, "time_step", raises)
    lines = list(speed.check_speed(SMALL))
    assert [line.state for line in lines[:2]] == ["info", "FAIL"]  # nothing ran: that is a failure all the same
    assert failed(lines)[1:] == ["tiny, dpo: 2 rows a device, remat none, auto", "tiny, dpo"]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 4])
def test_the_whole_check_passes_here(tmp_path, devices):
    """As a user runs it; the time is that of a cold cache."""
    flags = f"{ONE_DEVICE['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "mtjax.check_hardware", f"--json={tmp_path / 'r.json'}"]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=580)
    assert said.returncode == ExitCode.DONE, said.stdout + said.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["verdict"] == "passed"
    states = {line["check"]: set() for line in found["lines"]}
    for line in found["lines"]:
        states[line["check"]].add(line["state"])
    assert set(states) == {
        "machine", "products", "attention", "losses", "chunks", "parity", "resume", "input", "sampling", "speed",
        "memory",
    }  # fmt: skip
    assert "pass" in states["parity"] if devices > 1 else states["parity"] == {"n/a"}
    assert found["packages"]["jax"] == jax.__version__
    assert pathlib.Path(tmp_path / "r.json").stat().st_size < 50_000
