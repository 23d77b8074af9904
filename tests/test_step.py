"""The step: any split, any mesh, the same numbers; nothing as large as the logits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.objectives import OBJECTIVES
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig, make_optimizer, make_schedule
from mtjax.reference import frozen_reference
from mtjax.sharding import MeshSpec, make_mesh
from mtjax.step import init_state, make_train_step, state_shardings, strided
from tests.objectives.fakes import random_batch

CONFIG = DecoderConfig(vocab_size=12, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24, init_scale=0.2)
MODEL = make_language_model(CONFIG)
PLAIN = optax.sgd(1.0)  # an update that shows the gradient itself


START = jax.device_get(init_state(MODEL, PLAIN, jax.random.key(0)).params)


OTHER = jax.device_get(MODEL.init(jax.random.key(9)))


def against(objective, model, mesh=None):
    """What makes the reference, and its parameters, placed like the policy's; nothing where none is needed."""
    if not objective.needs_reference:
        return None, None
    places = None if mesh is None else state_shardings(model, PLAIN, mesh).params
    return frozen_reference(model, 16), jax.device_put(OTHER, places)


def run(objective, *, micro_batches=1, mesh=None, optimizer=PLAIN, batch=None):
    batch = random_batch(rows=8, pair=objective.task == "pair") if batch is None else batch
    reference, other = against(objective, MODEL, mesh)
    step = make_train_step(
        MODEL, objective, optimizer, micro_batches=micro_batches, mesh=mesh, reference=reference, chunk=16
    )
    state = init_state(MODEL, optimizer, jax.random.key(0), mesh)
    state, metrics = step(state, batch, jax.random.key(1), other)
    return jax.device_get(state.params), jax.device_get(metrics)


def close(a, b, tolerance=1e-4):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def test_strided_rows_by_hand():
    batch = jax.tree.map(lambda x: x[:6], random_batch(rows=8))._replace(tokens=jnp.arange(6)[:, None])
    assert strided(batch, 2).tokens[..., 0].tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_any_number_of_micro_batches_gives_the_same_update(name):
    whole = run(OBJECTIVES[name]())
    split = run(OBJECTIVES[name](), micro_batches=4)
    close(split, whole)
    np.testing.assert_allclose(split[1]["loss"], whole[1]["loss"], rtol=1e-5)


MESHES = [(8, 1, 1), (1, 8, 1), (4, 1, 2), (2, 2, 2)]


MIXED = [(name, (2, 2, 2)) for name in ("dpo", "kto", "dco", "mistake_tuning")]


@pytest.mark.parametrize(("name", "axes"), [*itertools.product(["nll"], MESHES), *MIXED])
def test_eight_devices_equal_one(name, axes):
    mesh = make_mesh(MeshSpec(*axes))
    one = run(OBJECTIVES[name](), optimizer=make_optimizer(OptimConfig(learning_rate=1e-3), 10))
    eight = run(OBJECTIVES[name](), mesh=mesh, optimizer=make_optimizer(OptimConfig(learning_rate=1e-3), 10))
    close(eight, one)
    np.testing.assert_allclose(eight[1]["loss"], one[1]["loss"], rtol=1e-5)
    np.testing.assert_allclose(eight[1]["grad_norm"], one[1]["grad_norm"], rtol=1e-4)


def test_an_empty_batch_changes_nothing_and_says_so():
    batch = random_batch(rows=8)
    params, metrics = run(Nll(), batch=batch._replace(weights=0 * batch.weights))
    close(params, START, 0)
    assert metrics["empty"] == 1
    assert metrics["loss"] == 0


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_the_whole_step_holds_nothing_as_large_as_the_logits(name):
    """Rows, length and vocabulary are chosen so that no other array has B * T * V elements or more."""
    config = DecoderConfig(vocab_size=3_000, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_width=24)
    model = make_language_model(config)
    objective = OBJECTIVES[name]()
    reference = frozen_reference(model, 16) if objective.needs_reference else None
    step = make_train_step(model, objective, PLAIN, reference=reference, chunk=16)
    state = jax.eval_shape(lambda: init_state(model, PLAIN, jax.random.key(0)))
    batch = random_batch(rows=8, length=64, pair=objective.task == "pair")
    text = jax.jit(step).lower(state, batch, jax.random.key(0), state.params).compile().as_text()
    sizes = [
        int(np.prod([int(n) for n in part.split("]")[0].split(",") if n]))
        for part in text.split("f32[")[1:]
        if part.split("]")[0].replace(",", "").isdigit()
    ]
    assert max(sizes) >= 3_000 * 16  # the head itself: the parser does see arrays
    assert max(sizes) < 8 * 64 * 3_000 / 4


def test_rows_that_do_not_divide_are_refused_with_numbers():
    with pytest.raises(InputError, match=r"batch_size=8 must be a multiple of micro_batches=3 times the 1 devices"):
        run(Nll(), micro_batches=3)


def test_the_schedule_by_hand():
    # Warm-up of 4: 1/4, 2/4, 3/4, 4/4 of the peak; then linear from the peak at step 4 to a tenth at step 14.
    rate = make_schedule(OptimConfig(learning_rate=1.0, warmup_steps=4, schedule="linear"), 14)
    np.testing.assert_allclose([rate(n) for n in range(4)], [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose([rate(4), rate(9), rate(14), rate(99)], [1.0, 0.55, 0.1, 0.1], rtol=1e-6)
    # Cosine at half way: (1 + 0.1) / 2; a later end when schedule_steps says so.
    rate = make_schedule(OptimConfig(learning_rate=1.0, schedule_steps=20), 10)
    np.testing.assert_allclose([rate(0), rate(10), rate(20)], [1.0, 0.55, 0.1], rtol=1e-6)


def test_weight_decay_leaves_norms_alone():
    config = OptimConfig(learning_rate=0.1, weight_decay=0.5, schedule="constant")
    batch = random_batch(rows=8)
    params, _ = run(Nll(), optimizer=make_optimizer(config, 1), batch=batch._replace(weights=0 * batch.weights))
    close(params["final_norm"], START["final_norm"], 0)
    close(params["head"]["kernel"], 0.95 * START["head"]["kernel"], 1e-6)  # 1 - 0.1 * 0.5


def test_rise_sized_learning_rates_move_float32_parameters():
    params, _ = run(Nll(), optimizer=make_optimizer(OptimConfig(learning_rate=5e-7), 1))
    moved = jax.tree.map(lambda a, b: np.mean(a != b), params, START)
    assert moved["head"]["kernel"] > 0.9
