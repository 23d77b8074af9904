"""Training steps with the gradients of workers: each one's own, the same on every mesh, and EF21 on top of them."""

import functools
import math
import re

import jax
import numpy as np
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.objectives.kto import Kto
from mtjax.objectives.nll import Nll
from mtjax.objectives.regularizers.base import with_regularizers
from mtjax.objectives.regularizers.load_balance import LoadBalance
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.optim.compression.ef21 import Ef21
from mtjax.training.reference import frozen_reference
from mtjax.training.state import TrainState, init_state, state_shardings
from mtjax.training.step import make_step_program, make_train_step, place_batch
from tests.objectives.fakes import random_batch

MODEL = make_language_model(
    DecoderConfig(vocab_size=16, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, mlp_width=24, init_scale=0.2)
)
START = jax.device_get(jax.jit(MODEL.init)(jax.random.key(0)))
ROWS, NLL = 16, Nll()
STATE = TrainState(np.int32(0), START, ())


def optimizer(compression):
    return make_optimizer(OptimConfig(0.5, schedule="constant", optimizer="sgd", compression=compression), 3)


@functools.cache
def run(compression, axes=(), objective=NLL, micro_batches=1, steps=3):
    """The state after some steps and the metrics of the last."""
    mesh = make_mesh(MeshSpec(**dict(axes))) if axes else None
    against = {"reference": frozen_reference(MODEL, 16)} if objective.needs_reference else {}
    step = make_train_step(
        MODEL, objective, optimizer(compression), micro_batches=micro_batches, mesh=mesh, chunk=16, **against
    )
    state = init_state(MODEL, optimizer(compression), jax.random.key(0), mesh, START)
    for number in range(steps):
        batch = random_batch(rows=ROWS, length=16, seed=number)
        state, metrics = step(state, batch, jax.random.key(number), START if against else None)
    return jax.device_get((state, metrics))


def close(a, b, tolerance=1e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), a, b)


FULL, FEW = Ef21(workers=4, share=1.0), Ef21(workers=4, share=0.1)
EIGHT, MIXED = (("data", 4), ("fsdp", 2)), (("data", 2), ("fsdp", 2), ("tensor", 2))


@pytest.mark.parametrize(
    ("axes", "objective"),
    [(EIGHT, NLL), pytest.param((), NLL, marks=pytest.mark.slow), pytest.param(EIGHT, Kto(), marks=pytest.mark.slow)],
    ids=["nll", "one device", "kto"],
)
def test_sending_everything_is_gradient_descent(axes, objective):
    """With examples of different lengths, and with statistics of the entire batch."""
    plain, found = run(None, objective=objective), run(FULL, axes, objective)
    close(found[0].params, plain[0].params)
    assert found[1]["loss"] == pytest.approx(plain[1]["loss"], rel=1e-5)
    assert found[1]["target_tokens"] == plain[1]["target_tokens"]
    assert found[1]["grad_norm"] == pytest.approx(plain[1]["grad_norm"], rel=1e-4)
    assert found[1]["compression/error"] < 1e-5


def test_each_worker_has_the_gradient_of_its_own_rows():
    """The first estimates, where all is sent, are the workers' gradients: those of runs on their rows alone."""
    state, _ = run(Ef21(workers=4, share=1.0), EIGHT, steps=1)
    batch = random_batch(rows=ROWS, length=16, seed=0)
    whole = float(batch.weights.sum())
    for worker in range(4):
        own = jax.tree.map(lambda x, w=worker: x[4 * w : 4 * w + 4], batch)
        step = make_train_step(MODEL, Nll(), optimizer(None), chunk=16)
        after, _ = step(init_state(MODEL, optimizer(None), jax.random.key(0), None, START), own, jax.random.key(0))
        share = 4 * float(own.weights.sum()) / whole
        # The plain run clips its gradient to norm 1; the estimate tells by how much.
        gradient = jax.tree.map(lambda a, b: (b - np.asarray(a)) / 0.5, after.params, START)
        estimate = jax.tree.map(lambda g, w=worker: g[w], state.opt_state[0].workers)
        norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(estimate))) / share
        close(jax.tree.map(lambda g, s=share, n=norm: g * s * max(n, 1), gradient), estimate, 1e-4)


@pytest.mark.parametrize("axes", [pytest.param(EIGHT, marks=pytest.mark.slow), MIXED], ids=["fsdp", "mixed"])
def test_few_devices_equal_many(axes):
    one, many = run(FEW), run(FEW, axes)
    close(many[0], one[0])
    assert 0.1 < many[1]["compression/error"] < 1
    assert many[1]["compression/share"] == pytest.approx(0.2, abs=0.01)


@pytest.mark.slow
def test_micro_batches_of_workers_change_nothing():
    close(run(FEW, MIXED, micro_batches=2)[0].params, run(FEW)[0].params)


def test_the_state_of_workers_is_split_like_the_parameters_and_over_the_data_axis():
    places = state_shardings(MODEL, optimizer(FEW), make_mesh(MeshSpec(**dict(EIGHT))))
    for gradient, own in zip(*map(jax.tree.leaves, (places.opt_state[0].workers, places.params)), strict=True):
        assert gradient.spec == jax.P("data", *own.spec)
    assert jax.tree.leaves(places.opt_state[0].mean) == jax.tree.leaves(places.params)


def test_the_compiled_step_adds_no_gradient_up_over_the_workers():
    """What is added up are the sums of loss and metrics; what each worker sends is its share of the gradient."""
    mesh, tx = make_mesh(MeshSpec(data=8)), optimizer(Ef21(workers=8, share=0.02))
    program = make_step_program(MODEL, NLL, tx, mesh=mesh, chunk=16)
    state = jax.eval_shape(lambda: init_state(MODEL, tx, jax.random.key(0), None, START))
    with jax.set_mesh(mesh):
        batch = place_batch(random_batch(rows=ROWS, length=16), mesh)
        text = program.lower(state, batch, jax.random.key(0), None, None).compile().as_text()
    sent = {"all-reduce": 0, "all-gather": 0}
    for shapes, name in re.findall(r"= (.*?) (all-reduce|all-gather)(?:-start)?\(", text):
        sizes = re.findall(r"[fsu]32\[([\d,]*)\]", shapes)
        sent[name] += sum(4 * math.prod(int(side) for side in size.split(",") if side) for size in sizes)
    whole = 4 * sum(leaf.size for leaf in jax.tree.leaves(START))
    assert sent["all-reduce"] < 0.1 * whole
    assert 0 < sent["all-gather"] / 8 < 0.05 * whole


def test_what_does_not_fit_is_refused_with_numbers():
    mesh = make_mesh(MeshSpec(**dict(EIGHT)))
    for compression, rows, micro_batches, said in (
        (Ef21(workers=6), 24, 1, "workers=6 must be a multiple of mesh.data=4"),
        (Ef21(workers=8), 24, 1, "batch_size=24 must be a multiple of optim.compression.workers=8 times"),
    ):
        step = make_train_step(MODEL, Nll(), optimizer(compression), micro_batches=micro_batches, mesh=mesh)
        with pytest.raises(InputError, match=said):
            step(STATE, random_batch(rows=rows, length=16), jax.random.key(0))
    buffered = with_regularizers(Nll(), (LoadBalance(form="buffered"),))
    with pytest.raises(InputError, match="set form='global'"):
        make_train_step(MODEL, buffered, optimizer(FEW))
