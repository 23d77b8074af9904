"""Muon on the parameters of the models: the right matrices, one at a time."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.optim.optimizers.muon import Muon, dimensions, kinds
from mtjax.optim.parameters import path_of

CONFIG = DecoderConfig(vocab_size=16, width=8, layers=2, heads=4, kv_heads=2, head_dim=4, mlp_width=12)
PARAMS = jax.device_get(jax.jit(make_language_model(CONFIG).init)(jax.random.key(0)))
GRADIENT = jax.tree.map(lambda x: np.random.default_rng(x.size).normal(size=x.shape).astype(np.float32), PARAMS)


def by_path(tree, is_leaf=None):
    return {path_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)}


def update(gradient, params, **settings):
    config = OptimConfig(1.0, schedule="constant", clip_norm=0.0, optimizer=Muon(**settings))
    optimizer = make_optimizer(config, 10)
    return jax.jit(optimizer.update)(gradient, optimizer.init(params), params)[0]


def as_matrices(name, stack):
    """The matrices `[layers, inputs, outputs]` of a kernel."""
    inputs = {"out": 2}.get(name.split("/")[-2], 1)
    return np.asarray(stack).reshape(len(stack), int(np.prod(stack.shape[1 : 1 + inputs])), -1)


def test_kernels_of_layers_are_matrices_and_all_else_is_not():
    found = by_path(kinds(PARAMS))
    assert {name for name, kind in found.items() if kind == "matrices"} == {
        *(f"layers/attention/{part}/kernel" for part in ("query", "key", "value", "out")),
        *(f"layers/mlp/{part}/kernel" for part in ("gate", "up", "down")),
    }
    own = by_path(dimensions(PARAMS), is_leaf=lambda x: isinstance(x, optax.contrib.MuonDimensionNumbers))
    numbers = optax.contrib.MuonDimensionNumbers
    assert own["layers/attention/query/kernel"] == numbers((1,), (2, 3))
    assert own["layers/attention/out/kernel"] == numbers((1, 2), (3,))
    assert own["layers/mlp/down/kernel"] == numbers((1,), (2,))


def test_experts_are_matrices_each_and_routers_and_adapters_are_not():
    shapes = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    tree = {
        "layers": {
            "experts": {
                "gate": shapes(2, 3, 4, 5),
                "router": shapes(2, 4, 3),
                "shared_gate": {"kernel": shapes(2, 4, 1)},
            },
            "mlp": {"up": {"a": shapes(2, 4, 1), "b": shapes(2, 1, 5)}},
        },
        "encoder": {"layers": {"attention": {"query": {"kernel": shapes(2, 8, 2, 4), "bias": shapes(2, 2, 4)}}}},
        "head": {"kernel": shapes(4, 9)},
    }
    found = by_path(kinds(tree))
    assert [name for name, kind in found.items() if kind == "matrices"] == [
        "encoder/layers/attention/query/kernel",
        "layers/experts/gate",
    ]
    assert dimensions(tree)["layers"]["experts"]["gate"] == optax.contrib.MuonDimensionNumbers((2,), (3,))


def test_a_stacked_step_equals_the_steps_of_its_layers():
    whole = by_path(update(GRADIENT, PARAMS))
    for layer in range(2):
        one = jax.tree.map(operator.itemgetter(slice(layer, layer + 1)), (GRADIENT["layers"], PARAMS["layers"]))
        alone = by_path(update({"layers": one[0]}, {"layers": one[1]}))
        for name, found in alone.items():
            np.testing.assert_allclose(found[0], whole[name][layer], rtol=2e-4, atol=1e-5)


def test_the_size_of_an_update_and_its_singular_values():
    """Singular values near 1 before the scale, which makes the root mean square about 0.2 times the learning rate."""
    for name, found in by_path(update(GRADIENT, PARAMS)).items():
        if "kernel" not in name or "head" in name:
            continue
        for matrix in as_matrices(name, found):
            values = np.linalg.svd(matrix / (0.2 * np.sqrt(max(matrix.shape))), compute_uv=False)
            assert (values > 0.3).all()
            assert (values < 1.25).all()
            assert 0.1 < np.sqrt(np.mean(matrix**2)) < 0.25


def test_golden_singular_values():
    """Singular values 3 and 1 after five iterations, as in specs/field-objectives.md 5.1."""
    gradient = {"layers": {"mlp": {"up": {"kernel": jnp.diag(jnp.array([3.0, 1.0]))[None]}}}}
    found = update(gradient, jax.tree.map(jnp.zeros_like, gradient), rms=0.0, nesterov=False)
    values = -np.diag(found["layers"]["mlp"]["up"]["kernel"][0])
    np.testing.assert_allclose(values, [0.7530334536, 1.1337062282], rtol=1e-4)


def test_the_rest_is_adamw():
    found = by_path(update(GRADIENT, PARAMS))
    adamw = optax.adamw(1.0, 0.9, 0.95, 1e-8, weight_decay=0.0)
    other = by_path(jax.jit(adamw.update)(GRADIENT, adamw.init(PARAMS), PARAMS)[0])
    for name in ("embed/embedding", "head/kernel", "layers/mlp_norm/scale", "final_norm/scale"):
        np.testing.assert_allclose(found[name], other[name], rtol=1e-6)


def test_weight_decay_reaches_matrices_and_head():
    zeros = jax.tree.map(np.zeros_like, GRADIENT)
    config = OptimConfig(0.1, schedule="constant", optimizer="muon", weight_decay=0.5)
    optimizer = make_optimizer(config, 10)
    found = by_path(jax.jit(optimizer.update)(zeros, optimizer.init(PARAMS), PARAMS)[0])
    for name in ("layers/mlp/up/kernel", "head/kernel"):
        np.testing.assert_allclose(found[name], -0.05 * by_path(PARAMS)[name], atol=1e-7)
    assert not found["embed/embedding"].any()


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_bad_settings_are_refused(momentum):
    with pytest.raises(InputError, match="optim.optimizer.momentum"):
        OptimConfig(optimizer=Muon(momentum=momentum))
