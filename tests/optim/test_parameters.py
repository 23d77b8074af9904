"""Parts of the parameters by pattern: learning rates, clipping and freezing, each by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.errors import InputError
from mtjax.optim import OPTIMIZERS, OptimConfig, make_optimizer
from mtjax.optim.optimizers.sgd import Sgd
from mtjax.optim.parameters import by_layer

PARAMS = {
    "embed": {"embedding": jnp.ones((3, 2))},
    "layers": {"mlp": {"up": {"kernel": jnp.ones((4, 2, 2))}}, "norm": {"scale": jnp.ones((4, 2))}},
    "final_norm": {"scale": jnp.ones(2)},
    "head": {"kernel": jnp.ones((2, 3))},
}
ONES = jax.tree.map(jnp.ones_like, PARAMS)


def moved(**settings):
    """The negative update for a gradient of ones at learning rate 1."""
    config = OptimConfig(1.0, schedule="constant", optimizer=Sgd(), **({"clip_norm": 0.0} | settings))
    optimizer = make_optimizer(config, 10)
    updates, _ = jax.jit(optimizer.update)(ONES, optimizer.init(PARAMS), PARAMS)
    return jax.tree.map(lambda x: -np.asarray(x), updates)


def test_the_first_pattern_that_fits_gives_the_rate():
    found = moved(rates=(("layers/mlp/*", 0.5), ("layers/*", 0.25), ("head/kernel", 0.0)))
    assert (found["layers"]["mlp"]["up"]["kernel"] == 0.5).all()
    assert (found["layers"]["norm"]["scale"] == 0.25).all()
    assert (found["head"]["kernel"] == 0).all()
    assert (found["embed"]["embedding"] == 1).all()


def test_a_rate_scales_the_weight_decay_too():
    found = moved(rates=(("layers/mlp/*", 0.5),), weight_decay=0.1)
    np.testing.assert_allclose(found["layers"]["mlp"]["up"]["kernel"], 0.55, rtol=1e-6)


def test_rates_fall_from_the_last_layer_to_the_first():
    found = moved(layer_decay=0.5)
    falling = np.array([0.125, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(found["layers"]["norm"]["scale"], np.tile(falling[:, None], (1, 2)))
    np.testing.assert_allclose(found["layers"]["mlp"]["up"]["kernel"][:, 0, 0], falling)
    assert (found["embed"]["embedding"] == 0.0625).all()
    assert (found["head"]["kernel"] == 1).all()
    assert (found["final_norm"]["scale"] == 1).all()


def test_scanned_blocks_of_two_layers_take_turns():
    tree = {"layers": {f"block_{n}": {"scale": jnp.ones((2, 1))} for n in (0, 1)}, "embed": {"embedding": jnp.ones(1)}}
    found = by_layer(0.5)(tree)
    np.testing.assert_allclose(found["layers"]["block_0"]["scale"][:, 0], [0.125, 0.5])
    np.testing.assert_allclose(found["layers"]["block_1"]["scale"][:, 0], [0.25, 1.0])
    assert found["embed"]["embedding"] == 0.0625


def test_a_part_is_clipped_by_its_own_norm():
    """The embedding's gradient has norm sqrt(6); the others together sqrt(16 + 8 + 2 + 6) = sqrt(32)."""
    found = moved(clip_norm=1.0, clip_parts=(("embed/*", 0.5),))
    np.testing.assert_allclose(found["embed"]["embedding"], 0.5 / np.sqrt(6), rtol=1e-6)
    np.testing.assert_allclose(found["head"]["kernel"], 1 / np.sqrt(32), rtol=1e-6)
    free = moved(clip_norm=1.0, clip_parts=(("embed/*", 0.0),))
    assert (free["embed"]["embedding"] == 1).all()


def test_frozen_parameters_stay_and_have_no_state_and_no_part_in_the_norm():
    config = OptimConfig(1.0, schedule="constant", frozen=("layers/*", "embed/*"))
    optimizer = make_optimizer(config, 10)
    state = optimizer.init(PARAMS)
    shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
    assert shapes == {(), (2,), (2, 3)}
    found = moved(clip_norm=1.0, frozen=("layers/*", "embed/*"))
    assert not found["layers"]["norm"]["scale"].any()
    assert not found["embed"]["embedding"].any()
    np.testing.assert_allclose(found["head"]["kernel"], 1 / np.sqrt(8), rtol=1e-6)


@pytest.mark.parametrize("name", ["rates", "clip_parts", "frozen", "weight_decay_exclude"])
def test_a_pattern_that_fits_nothing_is_refused_with_the_names_there_are(name):
    value = ("layer/*",) if name in ("frozen", "weight_decay_exclude") else (("layer/*", 0.5),)
    with pytest.raises(InputError, match=rf"optim.{name}: no parameter fits 'layer/\*', .* there are embed/embedding"):
        moved(**{name: value})


def test_negative_rates_are_refused():
    with pytest.raises(InputError, match="optim.rates: -1.0 for 'head/[*]'; expected a finite number of at least 0"):
        OptimConfig(rates=(("head/*", -1.0),))


def test_parts_have_weight_decays_of_their_own():
    """A part's own decay counts in place of `weight_decay` and of the exceptions, and follows rate and schedule."""
    own = (("head/*", 0.5), ("embed/*", 0.25), ("layers/mlp/*", 0.0))
    found = moved(weight_decay=0.125, weight_decay_parts=own)
    assert (found["head"]["kernel"] == 1.5).all()
    assert (found["embed"]["embedding"] == 1.25).all()
    assert (found["layers"]["mlp"]["up"]["kernel"] == 1).all()
    assert (found["layers"]["norm"]["scale"] == 1).all()
    assert (moved(weight_decay_parts=own, rates=(("head/*", 0.5),))["head"]["kernel"] == 0.75).all()
    assert (moved(weight_decay_parts=own, warmup_steps=4)["head"]["kernel"] == 0.375).all()
    with pytest.raises(InputError, match="no parameter fits 'nowhere"):
        moved(weight_decay_parts=(("nowhere/*", 0.5),))
    with pytest.raises(InputError, match="prodigy has no weight decay apart from its own steps"):
        OptimConfig(optimizer="prodigy", weight_decay_parts=own)


@pytest.mark.parametrize("name", [name for name, cls in OPTIMIZERS.items() if getattr(cls, "decays_apart", True)])
def test_a_decay_of_all_parts_is_the_usual_one(name):
    """For every optimizer: the same update by `weight_decay` and by `weight_decay_parts` for what it decays."""

    def update(**decay):
        optimizer = make_optimizer(OptimConfig(0.1, schedule="constant", optimizer=name, **decay), 10)
        more = {"gradient_of": lambda params: params}
        return optax.with_extra_args_support(optimizer).update(ONES, optimizer.init(PARAMS), PARAMS, **more)[0]

    one, other = update(weight_decay=0.3), update(weight_decay_parts=(("*kernel", 0.3),))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7), other, one)
