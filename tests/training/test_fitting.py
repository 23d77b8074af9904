"""What a step chooses by the memory of a device: the estimate against XLA, the rule, and a run that keeps it."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.config import load, read_run
from mtjax.distributed.sharding import MeshSpec, device_bytes, make_mesh
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.objectives.nll import Nll
from mtjax.runs import step_settings
from mtjax.runs.loop import train
from mtjax.runs.step_settings import check_batch, fit_of, kept_if_possible, with_chunk
from mtjax.training import fitting
from mtjax.training.fitting import activation_bytes, chunk_for, counts_of, device_memory, fit
from mtjax.training.state import init_state
from mtjax.training.step import make_step_program
from mtjax.types import Batch

ONE = make_mesh(MeshSpec(), jax.devices()[:1])
SHAPE = DecoderConfig(
    vocab_size=512, width=128, layers=8, heads=4, kv_heads=2, head_dim=32, mlp_width=384, attention="blocked"
)
CONFIG = load("configs/tiny.py", ["--batch_size=32", "--mesh.data=1"])


def estimated(shape, tokens, **given):
    model = make_language_model(shape)
    state = jax.eval_shape(lambda: init_state(model, optax.adamw(1e-3), jax.random.key(0)))
    sizes = [sum(x.size * 4 for x in jax.tree.leaves(tree)) for tree in (state.params, state.opt_state)]
    options = {"held": sum(sizes), "gradient": sizes[0], "chunk": 128, "limit": 2**60, "micro_batches": [1]}
    return fit(shape, tokens, 512, ONE, **options | {"remats": ["none"]} | given)


@pytest.mark.parametrize("remat", ["none", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dots", "full"))])
@pytest.mark.parametrize("rows", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_the_estimate_is_above_what_xla_takes_and_not_far_above(remat, rows):
    shape = dataclasses.replace(SHAPE, remat=remat)
    model, optimizer = make_language_model(shape), optax.adamw(1e-3)
    program = make_step_program(model, Nll(), optimizer, chunk=128)
    state = jax.eval_shape(lambda: init_state(model, optimizer, jax.random.key(0)))
    of = lambda dtype: jax.ShapeDtypeStruct((rows, 512), dtype)
    batch = Batch(of(jnp.int32), of(jnp.float32), of(jnp.int32), {})
    used = program.lower(state, batch, jax.eval_shape(lambda: jax.random.key(0))).compile().memory_analysis()
    real = used.argument_size_in_bytes + used.temp_size_in_bytes
    found = estimated(shape, rows * 512, remats=[remat]).bytes
    assert 0.95 * real < found < 2 * real


def test_activations_by_hand():
    shape = DecoderConfig(vocab_size=8, width=2, layers=3, heads=2, kv_heads=1, head_dim=2, mlp_width=5)
    of = lambda remat, **more: activation_bytes(shape, 10, 7, remat, plain=False, **more)
    whole = 8 * 2 + 4 * (2 + 2) * 2 + 7 * 5  # 83 numbers a token and layer
    assert of("none") == 4 * 10 * 3 * whole
    assert of("full") == 4 * 10 * (3 * 2 + whole)
    assert of("dots") == 4 * 10 * (3 * (6 + 8 + 10) + whole)
    assert of("none", tensor=2) == 4 * 10 * 3 * (16 + 16 + 17.5)
    assert activation_bytes(shape, 10, 7, "none", plain=True) == 4 * 10 * 3 * (whole + 2 * 2 * 7)
    half = dataclasses.replace(shape, dtype="bfloat16")
    assert activation_bytes(half, 10, 7, "none", plain=False) == 25 * 3 * whole
    assert activation_bytes(half, 10, 7, "none", plain=False, platform="tpu") == 20 * 3 * whole


def test_less_memory_takes_slower_settings_and_the_smallest_where_none_fits(monkeypatch):
    choose = lambda limit: estimated(
        SHAPE, 8 * 512, limit=limit, remats=["none", "dots", "full"], micro_batches=[1, 2, 4, 8]
    )
    limits = np.linspace(estimated(SHAPE, 8 * 512).bytes, 0, 40).astype(int).tolist()
    found = [choose(limit) for limit in limits]
    costs = [{"none": 3.4, "dots": 3, "full": 3.6}[one.remat] * 8 * 512 + 512 * one.micro_batches for one in found]
    fits = [one.bytes <= limit for one, limit in zip(found, limits, strict=True)]
    assert found[0][:2] == ("dots", 1)
    assert all(np.diff([cost for cost, ok in zip(costs, fits, strict=True) if ok]) >= 0)
    assert fits == sorted(fits, reverse=True)
    assert not fits[-1]
    assert found[-1][:2] == ("full", 8)
    assert "may run out of memory" in str(found[-1])
    assert len({one[:2] for one in found}) > 3
    monkeypatch.setattr(fitting, "platform_of", lambda mesh: "tpu")
    assert choose(limits[0])[:2] == ("none", 1)  # an accelerator keeps what it has room for


@pytest.mark.parametrize(
    ("vocab_size", "positions", "platform", "chunk"),
    [(49_152, 4096, "cpu", 512), (262_144, 4096, "cpu", 128), (262_144, 4096, "tpu", 512), (40, 10**6, "gpu", 2048),
     (49_152, 100, "cpu", 128), (10**8, 4096, "cpu", 64), (64, 1, "cpu", 1)],
)  # fmt: skip
def test_chunk_by_vocabulary_and_positions(vocab_size, positions, platform, chunk):
    assert chunk_for(vocab_size, positions, platform) == chunk


def test_micro_batches_to_choose_from_are_those_that_are_allowed():
    def allowed(count):
        if count == 4:
            raise InputError("not this one")

    assert counts_of(12, allowed, "auto") == [1, 2, 3, 6, 12]
    assert counts_of(12, allowed, 5) == [5]


def test_what_is_set_is_not_chosen():
    shape = dataclasses.replace(SHAPE, remat="dots")
    config = with_chunk(dataclasses.replace(CONFIG, micro_batches=4, chunk=7), shape, ONE)
    assert config.chunk == 7
    assert fit_of(config, shape, ONE, 0, 0, 1)[:2] == ("dots", 4)
    free = with_chunk(dataclasses.replace(CONFIG, micro_batches="auto"), SHAPE, ONE)
    assert fit_of(free, dataclasses.replace(SHAPE, remat="auto"), ONE, 0, 0, 1)[:2] == ("full", 32)


def test_a_choice_that_other_devices_do_not_allow_is_made_anew_and_a_setting_is_refused():
    many = make_mesh(MeshSpec())
    asked, kept = (dataclasses.replace(CONFIG, batch_size=32, micro_batches=count) for count in ("auto", 32))
    assert kept_if_possible(asked, kept, ONE).micro_batches == 32
    assert kept_if_possible(asked, kept, many).micro_batches == "auto"
    four = dataclasses.replace(kept, micro_batches=4)
    assert kept_if_possible(asked, four, many).micro_batches == 4
    assert kept_if_possible(kept, kept, many).micro_batches == 32
    with pytest.raises(InputError, match="multiple of micro_batches=32 times the 8 devices"):
        check_batch(kept, many)


def test_memory_of_a_device_is_a_share_of_the_host():
    assert 2**20 < device_memory(jax.devices()[0]) * jax.local_device_count() <= 2**46
    state = init_state(make_language_model(SHAPE), optax.adamw(1e-3), jax.random.key(0), ONE)
    assert device_bytes(state.params) == sum(x.size * 4 for x in jax.tree.leaves(state.params))


def test_a_run_prints_keeps_and_goes_on_with_its_choice(tmp_path, monkeypatch, capsys):
    overrides = [f"--run_dir={tmp_path / 'run'}", "--batch_size=32", "--no-tensorboard"]
    of = lambda steps: load("configs/tiny.py", [*overrides, f"--steps={steps}", "held_out:none"])
    limit = step_settings.memory_limit
    monkeypatch.setattr(step_settings, "memory_limit", lambda memory, platform: 1)
    train(of(2))
    assert "whole blocks computed again (remat=full)" in capsys.readouterr().out
    kept = read_run(tmp_path / "run")
    assert (kept.model.remat, kept.micro_batches, kept.chunk) == ("full", 4, 512)
    monkeypatch.setattr(step_settings, "memory_limit", limit)  # another machine: the run stays what it was
    train(of(3))
    assert "4 micro-batches" in capsys.readouterr().out
    assert read_run(tmp_path / "run").micro_batches == 4
    assert (pathlib.Path(tmp_path / "run") / "metrics.jsonl").read_text().count("\n") == 3
