"""Mixtures of experts: slots by hand, blocks against a loop over experts, and what dropping tokens does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh, shardings
from mtjax.errors import InputError
from mtjax.model import mixture
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.mixture import Mixture
from mtjax.model.policy import make_policy
from mtjax.objectives.regularizers.load_balance import expert_metrics
from mtjax.types import Batch, Routing


def test_the_golden_slots():
    """Eight tokens, room for two each: all first choices before any second, left to right (models-and-rest 2.2)."""
    chosen = jnp.array([(0, 1), (0, 1), (0, 2), (0, 3), (1, 0), (0, 1), (2, 0), (0, 3)])
    kept = mixture.within_room(chosen, jnp.ones(8, bool), 4, mixture.room(1.25, 8, 4, 1))
    assert kept[:, 0].astype(int).tolist() == [1, 1, 0, 0, 1, 0, 1, 0]
    assert kept[:, 1].astype(int).tolist() == [1, 0, 1, 1, 0, 0, 0, 1]
    without_first = mixture.within_room(chosen, jnp.arange(8) > 0, 4, 2)
    assert without_first[:, 0].astype(int).tolist() == [0, 1, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("tokens", [1, 37])
def test_blocks_equal_a_loop_over_experts(tokens):
    """Value and gradient, with an expert that nobody asks for and choices that were dropped."""
    rng = np.random.default_rng(0)
    x, weights = (jnp.asarray(rng.normal(size=(tokens, size)), jnp.float32) for size in (6, 3))
    asked = jnp.asarray(rng.permuted(np.tile([0, 1, 3, 4, 5], (tokens, 1)), axis=1)[:, :3], jnp.int32)  # 5: nobody
    kernels = tuple(jnp.asarray(rng.normal(size=(5, *shape)), jnp.float32) for shape in ((6, 4), (6, 4), (4, 6)))

    def loop(x, weights, kernels):
        total = 0
        for e in range(5):
            gate, up, down = (kernel[e] for kernel in kernels)
            out = (jax.nn.silu(x @ gate) * (x @ up)) @ down
            total += jnp.sum(jnp.where(asked == e, weights, 0), 1, keepdims=True) * out
        return total

    slots, owner = mixture.blocks_of(asked, 5, tokens * 3 // 5)
    ours = lambda *given: mixture.experts_of_blocks("silu", *given, slots, owner)
    value = lambda fn: jax.jit(jax.value_and_grad(lambda *x: jnp.sum(jnp.sin(fn(*x))), argnums=(0, 1, 2)))
    for a, b in zip(*(jax.tree.leaves(value(fn)(x, weights, kernels)) for fn in (ours, loop)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


CONFIG = DecoderConfig(
    vocab_size=16, width=8, layers=2, heads=2, kv_heads=2, head_dim=4, init_scale=0.5,
    mixture=Mixture(4, 2, 8, capacity=0.5, least=1, dense_layers=(0,), shared_width=4),
)  # fmt: skip


def test_full_experts_drop_late_tokens_and_none_where_there_is_room_for_all():
    """With a router skewed to one expert the share of drops grows along the row; with a factor of E it is 0."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(1, 6, 64, 4)) + np.array([2.0, 0, 0, 0]), jnp.float32)
    chosen, live = jax.lax.top_k(logits, 2)[1], jnp.ones((6, 64))
    shares = {}
    for capacity in (1.0, 4.0):
        kept = mixture._kept(Mixture(4, 2, 8, capacity=capacity, group=32), chosen[0], live > 0)
        metrics = expert_metrics(Routing(logits, chosen, kept[None]), live)
        shares[capacity] = [float(metrics[f"experts/dropped_{quarter}of4"].value) for quarter in range(1, 5)]
    assert shares[4.0] == [0, 0, 0, 0]
    first, second, third, fourth = shares[1.0]
    assert first < second  # a group is half of a row
    assert third < fourth


def test_experts_over_eight_devices_equal_one():
    """Value and gradient with experts split over four devices, rows over eight, and the hidden width over two."""
    config = dataclasses.replace(CONFIG, layers=1, mixture=Mixture(8, 2, 8))
    model = make_language_model(config)
    params = model.init(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (8, 6), 0, 16)
    loss = lambda params, tokens: jnp.sum(jnp.sin(model.hidden(params, tokens, jnp.ones_like(tokens))))
    alone = jax.device_get(jax.jit(jax.value_and_grad(loss))(params, tokens))
    mesh = make_mesh(MeshSpec(data=1, expert=4, tensor=2))
    placed = jax.tree.map(jax.device_put, params, shardings(model.axes, mesh))
    assert placed["layers"]["experts"]["up"].addressable_shards[0].data.shape == (1, 2, 8, 4)
    with jax.set_mesh(mesh):
        together = jax.jit(jax.value_and_grad(loss))(placed, tokens)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-5), jax.device_get(together), alone)


def test_loss_and_routing_share_one_pass():
    """The router's logits of the policy are those of `routed`, and asking for both traces the model once."""
    model = make_language_model(CONFIG)
    calls = []
    counted = model._replace(routed=lambda *given: calls.append(1) or model.routed(*given))
    tokens = jnp.arange(12).reshape(2, 6)
    batch = Batch(tokens, jnp.ones(tokens.shape), jnp.ones_like(tokens), {})

    def both(params):
        policy = make_policy(counted, params, chunk=4)
        return policy.scores(batch).logprob.sum() + policy.routing(batch).logits.sum()

    value = jax.jit(both)(model.init(jax.random.key(0)))
    assert np.isfinite(value)
    assert calls == [1]


def test_a_model_without_experts_and_impossible_mixtures_are_refused():
    model = make_language_model(DecoderConfig(vocab_size=16, width=8, layers=1, heads=1, kv_heads=1, head_dim=4))
    tokens = jnp.zeros((1, 4), jnp.int32)
    with pytest.raises(InputError, match=r"no mixture of experts \(model.mixture is None\)"):
        make_policy(model, {}).routing(Batch(tokens, tokens * 1.0, tokens, {}))
    with pytest.raises(InputError, match="per_token=3: expected at most experts=2"):
        Mixture(2, 3)
