"""The step: any split, any mesh, the same numbers; nothing as large as the logits."""

import dataclasses
import functools
import itertools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.model.value_head import ValueHead
from mtjax.objectives import OBJECTIVES
from mtjax.objectives.nll import Nll
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.optim import OptimConfig, make_optimizer, make_schedule
from mtjax.optim.optimizers.sophia import Sophia
from mtjax.training.reference import frozen_reference
from mtjax.training.state import init_state, state_shardings
from mtjax.training.step import make_train_step, present, strided
from tests.objectives.fakes import batch_for, random_batch

# Every size that a mesh axis splits is a multiple of eight, so that each axis may have all eight devices.
CONFIG = DecoderConfig(
    vocab_size=16, width=16, layers=2, heads=16, kv_heads=8, head_dim=2, mlp_width=24, init_scale=0.2
)
MODEL = make_language_model(CONFIG)
ROOT = pathlib.Path(__file__).parents[2]
PLAIN = optax.sgd(1.0)  # an update that shows the gradient itself


START = jax.device_get(init_state(MODEL, PLAIN, jax.random.key(0)).params)


OTHER = jax.device_get(jax.jit(MODEL.init)(jax.random.key(9)))


def against(objective, model, mesh=None):
    """What makes the reference, and its parameters, placed like the policy's; nothing where none is needed."""
    if not objective.needs_reference:
        return None, None
    places = None if mesh is None else state_shardings(model, PLAIN, mesh).params
    return frozen_reference(model, 16), jax.device_put(OTHER, places)


def with_head(objective, config):
    """The model of a shape, with a value head (without dropout, which differs by micro-batch) where one is needed."""
    head = ValueHead(dropout=0.0) if getattr(objective, "needs_value", False) else None
    return make_language_model(dataclasses.replace(config, value_head=head))


def run(objective, *, micro_batches=1, mesh=None, optimizer=PLAIN, batch=None):
    batch = batch_for(objective, rows=8, length=16) if batch is None else batch
    reference, other = against(objective, MODEL, mesh)
    model = with_head(objective, CONFIG)
    step = make_train_step(
        model, objective, optimizer, micro_batches=micro_batches, mesh=mesh, reference=reference, chunk=16
    )
    state = init_state(model, optimizer, jax.random.key(0), mesh)
    state, metrics = step(state, batch, jax.random.key(1), other)
    return jax.device_get(state.params), jax.device_get(metrics)


def close(a, b, tolerance=1e-4):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def test_strided_rows_by_hand():
    batch = jax.tree.map(lambda x: x[:6], random_batch(rows=8))._replace(tokens=jnp.arange(6)[:, None])
    assert strided(batch, 2).tokens[..., 0].tolist() == [[0, 2, 4], [1, 3, 5]]


@functools.cache
def on_one_device(name):
    return run(OBJECTIVES[name]())


# One of each shape: single sequences, statistics of the batch, pairs. The others are slow, among them a weight of
# entire texts (dco) and distributions of policy and reference (asft).
SHAPES = ("nll", "kto", "rise")


@pytest.mark.parametrize(
    "name", [n if n in SHAPES else pytest.param(n, marks=pytest.mark.slow) for n in sorted(OBJECTIVES)]
)
def test_any_number_of_micro_batches_gives_the_same_update(name):
    whole = on_one_device(name)
    split = run(OBJECTIVES[name](), micro_batches=4)
    close(split, whole)
    np.testing.assert_allclose(split[1]["loss"], whole[1]["loss"], rtol=1e-5)


MESHES = [
    *[{name: 8} for name in ("data", "fsdp", "tensor", "context", "expert")],
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"data": 2, "context": 2, "expert": 2},
    {"fsdp": 2, "tensor": 2, "context": 2},
]
MIXED = MESHES[-1]


def cases():
    """nll on two meshes that have all axes, an objective of each shape on one of them; all else is slow."""
    for name, axes in itertools.product(sorted(OBJECTIVES), MESHES):
        quick = (name == "nll" and axes in MESHES[-2:]) or (name in SHAPES and axes is MIXED)
        label = name + "-" + "-".join(f"{axis}{size}" for axis, size in axes.items())
        yield pytest.param(name, axes, id=label, marks=() if quick else pytest.mark.slow)


def compare(name, axes):
    """The loss and, since the update is the gradient itself, the gradient: on a mesh and on one device."""
    one = on_one_device(name)
    many = run(OBJECTIVES[name](), mesh=make_mesh(MeshSpec(**{"data": 1} | axes)))
    close(many, one)
    np.testing.assert_allclose(many[1]["loss"], one[1]["loss"], rtol=1e-5)
    np.testing.assert_allclose(many[1]["grad_norm"], one[1]["grad_norm"], rtol=1e-4)


@pytest.mark.parametrize(("name", "axes"), [*cases()])
def test_eight_devices_equal_one(name, axes):
    compare(name, axes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nll", "dpo"])
def test_all_five_axes_at_once_equal_one_device(name):
    """Two ways each need 32 devices, which a process of its own simulates."""
    script = (
        "import tests.training.test_step as t; "
        "axes = dict.fromkeys(('data', 'fsdp', 'tensor', 'context', 'expert'), 2); "
        f"t.compare('{name}', axes)"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=32"}
    subprocess.run([sys.executable, "-c", script], env=os.environ | flags, cwd=ROOT, check=True)


@pytest.mark.parametrize("axes", [MIXED])
def test_optimizer_state_and_micro_batches_are_split_like_parameters(axes):
    """Moments lie where their parameters do, a micro-batch sums where they do, and the update is the same."""
    optimizer, mesh = make_optimizer(OptimConfig(learning_rate=1e-3), 10), make_mesh(MeshSpec(data=1, **axes))
    places = state_shardings(MODEL, optimizer, mesh)
    kernel = places.params["layers"]["mlp"]["up"]["kernel"]
    assert kernel.shard_shape((2, 16, 24)) == (2, 4, 12)  # width over fsdp x context, hidden width over tensor
    of_moments = [place for place in jax.tree.leaves(places.opt_state) if place == kernel]
    assert len(of_moments) == 4  # gate and up, first and second moment
    one = run(Nll(), optimizer=optimizer, micro_batches=2)
    close(run(Nll(), optimizer=optimizer, micro_batches=2, mesh=mesh), one)


def test_an_empty_batch_changes_nothing_and_says_so():
    batch = random_batch(rows=8)
    params, metrics = run(Nll(), batch=batch._replace(weights=0 * batch.weights))
    close(params, START, 0)
    assert metrics["empty"] == 1
    assert metrics["loss"] == 0
    assert np.isnan(metrics["entropy"])  # not 0, which would say that the model was certain
    assert present(metrics).keys() == {"empty", "grad_norm", "grad_norm_l1", "target_tokens", "tokens"}


# Those that read rows of logits or hidden states each in a way of their own. The others are slow, of which cringe and
# sequence_match read the best of other tokens.
ROWS = ("nll", "dco", "rise", "aldr", "alphamath")
AT_ONCE = [*sorted(OBJECTIVES), "policy_gradient with entropy"]


@pytest.mark.parametrize("name", [n if n in ROWS else pytest.param(n, marks=pytest.mark.slow) for n in AT_ONCE])
def test_the_whole_step_holds_nothing_as_large_as_the_logits(name):
    """Rows, length and vocabulary are chosen so that no other array has B * T * V elements or more."""
    config = DecoderConfig(vocab_size=3_000, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_width=24)
    objective = OBJECTIVES[name]() if name in OBJECTIVES else PolicyGradient(entropy_weight=0.1)
    model = with_head(objective, config)
    reference = frozen_reference(model, 16) if objective.needs_reference else None
    step = make_train_step(model, objective, PLAIN, reference=reference, chunk=16)
    state = jax.eval_shape(lambda: init_state(model, PLAIN, jax.random.key(0)))
    batch = batch_for(objective, rows=8, length=64)
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


@pytest.mark.slow
def test_sophia_gets_the_hessian_of_the_loss():
    """With frozen parts, micro-batches and a mesh: its estimate is that of the whole loss along the same signs."""
    settings = {"optimizer": Sophia(every=1), "frozen": ("embed/*",), "b2": 0.5, "clip_norm": 0.0}
    config = OptimConfig(0.1, schedule="constant", **settings)
    tx = make_optimizer(config, 3)
    batch = random_batch(rows=8, length=16)

    def state_after(micro_batches, mesh):
        step = make_train_step(MODEL, Nll(), tx, micro_batches=micro_batches, mesh=mesh, chunk=16)
        state = init_state(MODEL, tx, jax.random.key(0), mesh, START)
        return jax.device_get(step(state, batch, jax.random.key(1))[0].opt_state)

    nu_of = lambda state: next(node for node in jax.tree.leaves(state, is_leaf=is_sophia) if is_sophia(node)).nu
    is_sophia = lambda node: isinstance(node, optax.contrib.SophiaState)
    found = nu_of(state_after(2, make_mesh(MeshSpec(data=2, fsdp=2, tensor=2))))

    def loss(some):
        mean = Nll()(make_policy(MODEL, {**START, **some}, chunk=16), batch, reference=None, key=None)[0]
        return mean.total / mean.count

    some = {name: part for name, part in START.items() if name != "embed"}
    key = jax.random.split(jax.random.PRNGKey(0))[1]
    signs = optax.tree.random_like(key, {**some, "embed": {"embedding": optax.MaskedNode()}}, jax.random.rademacher)
    signs = {name: signs[name] for name in some}
    product = jax.jit(lambda p: jax.jvp(jax.grad(loss), (p,), (signs,))[1])(some)
    wanted = jax.tree.map(lambda v, h: 0.5 * v * h, signs, product)
    close({name: found[name] for name in some}, wanted)
