"""Each judged line of the hardware check fails when its subject is broken: what `test_check_hardware.py` has not."""

import dataclasses
import json
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax import check_hardware
from mtjax.data import batches
from mtjax.errors import ExitCode, InputError
from mtjax.hardware import attention as attention_check
from mtjax.hardware import losses, machine, speed, training
from mtjax.hardware.report import Line, Report, measured, worst
from mtjax.model import attention
from mtjax.training.checkpoint import Checkpoints
from tests.devices import only_one_device
from tests.hardware.test_check_hardware import PLAIN, SMALL, across_segments, broken, failed

LITTLE = dataclasses.replace(SMALL, copied=2**16)


# The verdict.


@pytest.mark.parametrize("lines", [[], [measured("a", "x", 1)], [Line("a", "x", "n/a"), measured("a", "y", 1)]])
def test_a_report_without_a_pass_is_no_pass(lines, capsys):
    code = Report(None, None, {}).run([("a", lambda: iter(lines))])
    assert code == (ExitCode.INCOMPLETE if lines else ExitCode.CHECK_FAILED)
    said = capsys.readouterr().out
    assert "\npassed" not in said
    assert ("FAIL  a            runs to its end: RuntimeError: it gave no line" in said) == (not lines)


def test_what_only_leaves_out_is_told(tmp_path, capsys):
    file = tmp_path / "r.json"
    assert check_hardware.main(["--only=machine", f"--json={file}"]) == ExitCode.DONE
    assert "9 checks left out by --only" in capsys.readouterr().out
    left_out = json.loads(file.read_text())["left out"]
    assert left_out == [
        "products", "attention", "losses", "chunks", "parity", "resume", "sampling", "speed", "drawing",
    ]  # fmt: skip


# Machine and products.


def test_a_wrong_sum_over_devices_fails(monkeypatch):
    assert failed(machine.check_machine(LITTLE)) == []
    real = jnp.sum
    monkeypatch.setattr(machine.jnp, "sum", lambda x: real(x[: x.size // 2]))
    assert failed(machine.check_machine(LITTLE)) == [f"a sum over {jax.device_count()} devices, relative error"]


def test_a_rate_above_the_nominal_peak_fails(monkeypatch):
    monkeypatch.setattr(machine, "peak_flops", lambda devices: 1e3)
    found = failed(machine.check_products(dataclasses.replace(SMALL, product=64)))
    assert {f"{name}, 64 x 64" for name in ("bfloat16", "float32", "float32, highest precision")} <= set(found)


# A number that is none, in any place.


def test_the_worst_of_errors_is_nan_where_one_is():
    assert worst([1.0, 3.0, 2.0]) == 3.0
    for errors in ([np.nan, 1.0], [1.0, np.nan], [1.0, np.nan, 2.0]):
        assert np.isnan(worst(errors))


@jax.custom_vjp
def nan_behind(x):
    """Its value is right, its gradient NaN."""
    return x


nan_behind.defvjp(lambda x: (x, None), lambda _, g: (jnp.full_like(g, jnp.nan),))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_gradient_of_nan_in_queries_keys_or_values_fails(place, monkeypatch):
    def change(config, *arrays):
        return config, *arrays[:place], nan_behind(arrays[place]), *arrays[place + 1 :]

    broken(monkeypatch, "plain", change)
    lines = failed(attention_check.check_attention(PLAIN, ()))
    assert lines == ["plain float32, head_dim 8", "plain bfloat16, head_dim 8"]


@pytest.mark.slow
@pytest.mark.parametrize("leaf", ["embed", "final_norm"])
def test_a_gradient_of_nan_in_one_leaf_fails(leaf, monkeypatch):
    real = losses.make_policy
    spoilt = lambda model, params, **more: real(model, {**params, leaf: jax.tree.map(nan_behind, params[leaf])}, **more)
    monkeypatch.setattr(losses, "make_policy", spoilt)
    subject = losses.subjects()["nll"]
    found = failed(losses._compare("nll", subject, losses.MODEL, losses.LOSS, losses.GRADIENT))
    assert found == ["nll: gradient of 12 leaves"]


@pytest.mark.slow
def test_parameters_of_nan_on_a_mesh_fail(monkeypatch):
    real = training._update

    def update(model, objective, batch, mesh):
        loss, norm, params = real(model, objective, batch, mesh)
        scale = params["final_norm"]["scale"] * (1 if mesh is None else np.nan)
        return loss, norm, {**params, "final_norm": {"scale": scale}}

    monkeypatch.setattr(training, "_update", update)
    assert len(failed(training.check_parity())) == 4


# Losses with the platform's own kernel.


@pytest.mark.slow
def test_a_loss_with_a_broken_kernel_fails(monkeypatch):
    """Of the four objectives, which are computed by plain attention, none does."""
    packed = attention.packed_attention

    def call(config, *rest):
        return packed(*(across_segments(config, *rest[:5]) if config.attention == "auto" else (config, *rest)))

    monkeypatch.setattr(attention, "packed_attention", call)
    found = failed(losses.check_losses())
    assert found == ["nll: gradient of 12 leaves with blocked attention"]


# A run, resumed.


@pytest.mark.slow
def test_equal_runs_that_differ_and_a_resume_that_begins_anew_fail(monkeypatch):
    with only_one_device():
        real = training.tiny_run
        other_seed = lambda folder, steps: dataclasses.replace(real(folder, steps), seed=int(folder.name == "again"))
        with monkeypatch.context() as patch:
            patch.setattr(training, "tiny_run", other_seed)
            assert failed(training.check_resume(SMALL)) == ["numbers that differ between two equal runs"]
        # From its first step again: the end has the right bytes all the same.
        monkeypatch.setattr(Checkpoints, "restore_latest", lambda self, like: None)
        assert failed(training.check_resume(SMALL)) == ["steps too many or too few after the resume"]


@pytest.mark.slow
def test_a_run_that_waits_for_its_data_fails(monkeypatch):
    real = batches.assemble

    def slow(*words):
        time.sleep(1.5)
        return real(*words)

    monkeypatch.setattr(batches, "assemble", slow)
    with only_one_device():
        assert failed(training.check_resume(SMALL)) == ["share of the time that steps waited for data"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["short", "nan"])
def test_samples_that_end_early_or_have_no_number_fail(fault, monkeypatch):
    real = training.make_engine

    def wrong(*words, **options):
        draw = real(*words, **options)
        for_all = {
            "short": lambda a: a._replace(tokens=a.tokens[:-1], logprobs=a.logprobs[:-1]),
            "nan": lambda a: a._replace(logprobs=(float("nan"), *a.logprobs[1:])) if a.request == 2 else a,
        }
        return lambda *rest: map(for_all[fault], draw(*rest))

    monkeypatch.setattr(training, "make_engine", wrong)
    with only_one_device():
        found = failed(training.check_sampling(SMALL))
    assert found == [{"short": "tokens drawn", "nan": "drawn and scored log-probabilities differ by"}[fault]]


# Speed and memory, by the numbers that a step gives.


def timed(**more):
    """A step of 10 ms."""
    found = speed.Timed("", 0.01, 0.01, 1e4, 0.4, 2**20, 2**20)
    return lambda of, name, rows, remat, asked: found._replace(
        words=speed._words(rows, remat, "blocked" if asked == "auto" else asked), **more
    )


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({}, None),
        ({"share": 1.2}, "MFU is below 1"),
        ({"share": float("nan")}, "MFU is below 1"),
        ({"together": 0.001}, "clock: a step waited for over one of 4 together"),
        ({"together": 0.1}, "clock: a step waited for over one of 4 together"),
        ({"together": float("nan")}, "clock: a step waited for over one of 4 together"),
    ],
)
def test_an_impossible_rate_or_time_fails(more, what, monkeypatch):
    monkeypatch.setattr(speed, "time_step", timed(**more))
    found = failed(speed.check_speed(SMALL))
    assert found == ([] if what is None else [f"tiny, {name}, {what}" for name in ("nll", "dpo")])


def test_a_kernel_that_the_machine_lacks_is_not_possible_and_no_failure(monkeypatch):
    monkeypatch.setattr(speed, "time_step", timed())

    def choice(config, length):
        if config.attention == "plain":
            raise InputError("model.attention='plain' cannot be used: JAX does not find the library")
        return attention.choice_for(config, length)

    monkeypatch.setattr(speed, "choice_for", choice)
    lines = list(speed.check_speed(SMALL))
    assert not failed(lines)
    assert [line.what for line in lines if line.state == "n/a" and line.check == "speed"] == [
        f"tiny, {name}: {rows} rows a device, remat none, plain" for name, rows in (("nll", 4), ("dpo", 2))
    ]


@pytest.mark.parametrize(("used", "state"), [(0, "n/a"), (1000, "pass"), (1250, "pass"), (1300, "FAIL")])
def test_a_device_that_takes_more_than_the_compiler_said_fails(used, state, monkeypatch):
    device = types.SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": used} if used else None)
    monkeypatch.setattr(speed.jax, "local_devices", lambda: [device])
    assert speed._memory([500, 1000]).state == state
