"""The state of any optimizer lives where its parameters live, and eight devices compute what one does."""

import functools

import jax
import numpy as np
import optax
import pytest

from mtjax.distributed.sharding import MeshSpec, device_bytes, make_mesh
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.optim import OPTIMIZERS, OptimConfig, make_optimizer
from mtjax.optim.averages import AVERAGES
from mtjax.optim.optimizers.adafactor import Adafactor
from mtjax.planning.program import placed
from mtjax.training.checkpoint import Checkpoints, abstract_state
from mtjax.training.state import TrainState, init_state, state_shardings

CONFIG = DecoderConfig(vocab_size=16, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, mlp_width=24, init_scale=0.2)
MODEL = make_language_model(CONFIG)
START = jax.device_get(jax.jit(MODEL.init)(jax.random.key(0)))
MESH = {"data": 1, "fsdp": 4, "tensor": 2}


def named(name):
    """A registered optimizer; Adafactor factors these small matrices too."""
    own = Adafactor(min_size=2, momentum=0.9) if name == "adafactor" else OPTIMIZERS[name]()
    decay = 0.0 if name == "prodigy" else 0.1
    rate = getattr(OPTIMIZERS[name], "usual_rate", 0.02)
    return make_optimizer(OptimConfig(rate, schedule="constant", optimizer=own, weight_decay=decay), 5)


def partitioned():
    """As a user may write it in a config: another optimizer for the embedding."""
    labels = lambda params: {name: "embed" if name == "embed" else "rest" for name in params}
    return optax.partition({"embed": optax.sgd(0.1, momentum=0.9), "rest": optax.adamw(0.02)}, labels)


def masked():
    """The same by a mask."""
    layers = lambda params: {name: name == "layers" for name in params}
    return optax.chain(optax.masked(optax.trace(0.9), layers), optax.adafactor(0.02, min_dim_size_to_factor=2))


def parts():
    """All settings that treat parts of the parameters apart."""
    own = {"rates": (("head/*", 0.5),), "clip_parts": (("embed/*", 0.1),), "frozen": ("layers/mlp/*",)}
    return make_optimizer(OptimConfig(0.02, schedule="constant", optimizer="muon", layer_decay=0.5, **own), 5)


MAKERS = {name: functools.partial(named, name) for name in OPTIMIZERS}
for average in AVERAGES:
    settings = {"optimizer": "sgd", "average": AVERAGES[average]()}
    MAKERS[average] = functools.partial(make_optimizer, OptimConfig(0.02, schedule="constant", **settings), 5)
MAKERS |= {"partition": partitioned, "masked": masked, "parts": parts}


def gradients():
    rng = np.random.default_rng(3)
    return [jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), START) for _ in range(5)]


def run(optimizer, mesh, folder=None):
    """The state after five updates; with a folder, saved, dropped and restored after the third."""
    state = init_state(MODEL, optimizer, jax.random.key(0), mesh, START)
    places = None if mesh is None else state_shardings(MODEL, optimizer, mesh)

    @functools.partial(jax.jit, out_shardings=places)
    def update(state, gradient):
        own = optax.with_extra_args_support(optimizer).update
        updates, opt_state = own(gradient, state.opt_state, state.params, gradient_of=lambda params: params)
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)

    for number, gradient in enumerate(gradients()):
        state = update(state, gradient)
        if number == 2 and folder is not None:
            checkpoints = Checkpoints(folder, 2, {})
            checkpoints.save(3, state)
            checkpoints.close()
            state = Checkpoints(folder, 2, {}).restore_latest(abstract_state(state))[1]
    return state


# With plain moments, factored ones, products of matrices, a Hessian; an average; parts. The others are slow.
QUICK = ("adamw", "adafactor", "muon", "sophia", "ema", "parts")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MAKERS])
def test_eight_devices_equal_one_and_a_resumed_run_is_the_same(name, tmp_path):
    mesh = make_mesh(MeshSpec(**MESH))
    one, many = run(MAKERS[name](), None), run(MAKERS[name](), mesh)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    jax.tree.map(close, jax.device_get(many), jax.device_get(one))
    resumed = run(MAKERS[name](), mesh, tmp_path / "checkpoints")
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(many))


@pytest.mark.parametrize("name", MAKERS)
def test_state_is_split_like_its_parameters(name):
    """A leaf with the path and the shape of a parameter lives where that parameter lives; no large one is whole."""
    places = state_shardings(MODEL, MAKERS[name](), make_mesh(MeshSpec(**MESH)))
    shapes = jax.eval_shape(lambda: init_state(MODEL, MAKERS[name](), jax.random.key(0), None, START)).opt_state
    ends = lambda path: "/".join(part.key for part in path if isinstance(part, jax.tree_util.DictKey))
    own = jax.tree_util.tree_leaves_with_path(places.params)
    params = {ends(path): (x.shape, place) for (path, place), x in zip(own, jax.tree.leaves(START), strict=True)}
    same = 0
    for (path, leaf), place in zip(
        jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(places.opt_state), strict=True
    ):
        shape, wanted = next((found for end, found in params.items() if ends(path).endswith(end)), ((), None))
        if leaf.shape == shape and wanted is not None:
            same += 1
            assert place.spec == wanted.spec, ends(path)
        elif "kernel" in ends(path) and leaf.size > CONFIG.width * CONFIG.layers:
            assert place.shard_shape(leaf.shape) != leaf.shape, ends(path)
    assert same > 3 or name == "sgd"


@pytest.mark.parametrize("name", MAKERS)
def test_the_bytes_of_a_plan_are_those_of_the_arrays(name):
    """What `mtjax.plan` counts for a device, from shapes alone, is what each of eight devices holds."""
    mesh, optimizer = make_mesh(MeshSpec(**MESH)), MAKERS[name]()
    shapes = jax.eval_shape(lambda: init_state(MODEL, optimizer, jax.random.key(0))).opt_state
    planned = device_bytes(placed(shapes, state_shardings(MODEL, optimizer, mesh).opt_state))
    state = init_state(MODEL, optimizer, jax.random.key(0), mesh, START)
    for number in range(8):
        shards = (leaf.addressable_shards[number].data.nbytes for leaf in jax.tree.leaves(state.opt_state))
        assert sum(shards) == planned


def test_factored_rows_and_columns_lose_their_axis():
    places = state_shardings(MODEL, named("adafactor"), make_mesh(MeshSpec(**MESH)))
    found = {
        jax.tree_util.keystr(path): place.spec
        for path, place in jax.tree_util.tree_leaves_with_path(places.opt_state)
        if "mlp" in jax.tree_util.keystr(path) and "up" in jax.tree_util.keystr(path)
    }
    fsdp = ("fsdp", "expert", "context")
    own = places.params["layers"]["mlp"]["up"]["kernel"].spec
    assert tuple(own) == (None, fsdp, "tensor")
    rows = next(tuple(spec) for name, spec in found.items() if ".v_row" in name)
    columns = next(tuple(spec) for name, spec in found.items() if ".v_col" in name)
    assert sorted([rows, columns], key=str) == sorted([(None, fsdp), (None, "tensor")], key=str)
