"""Mixtures of experts: slots by hand, blocks against a loop over experts, and what dropping tokens does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh, shardings
from mtjax.errors import InputError
from mtjax.model import mixture
from mtjax.model.adapters.lora import Lora
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
    """Value and gradient, with an expert that nobody asks for, dropped choices, and LoRA on two of the sides."""
    rng = np.random.default_rng(0)
    x, weights = (jnp.asarray(rng.normal(size=(tokens, size)), jnp.float32) for size in (6, 3))
    asked = jnp.asarray(rng.permuted(np.tile([0, 1, 3, 4, 5], (tokens, 1)), axis=1)[:, :3], jnp.int32)  # 5: nobody
    drawn = lambda *shape: jnp.asarray(0.5 * rng.normal(size=(5, *shape)), jnp.float32)
    sides = tuple({"kernel": drawn(*shape)} for shape in ((6, 4), (6, 4), (4, 6)))
    sides[0]["lora"], sides[2]["lora"] = {"a": drawn(6, 2), "b": drawn(2, 4)}, {"a": drawn(4, 2), "b": drawn(2, 6)}

    def loop(x, weights, sides):
        total = 0
        for e in range(5):
            gate, up, down = (side["kernel"][e] for side in sides)
            gate, down = (
                kernel + side["lora"]["a"][e] @ side["lora"]["b"][e]
                for kernel, side in ((gate, sides[0]), (down, sides[2]))
            )
            out = (jax.nn.silu(x @ gate) * (x @ up)) @ down
            total += jnp.sum(jnp.where(asked == e, weights, 0), 1, keepdims=True) * out
        return total

    slots, owner = mixture.blocks_of(asked, 5, tokens * 3 // 5)
    ours = lambda *given: mixture.experts_of_blocks("silu", *given, slots, owner)
    value = lambda fn: jax.jit(jax.value_and_grad(lambda *x: jnp.sum(jnp.sin(fn(*x))), argnums=(0, 1, 2)))
    for a, b in zip(*(jax.tree.leaves(value(fn)(x, weights, sides)) for fn in (ours, loop)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_below_an_adapter_the_backward_pass_has_no_array_for_the_frozen_experts():
    """Only the leaves of the adapter have a sum in the loop over blocks."""
    adapter = Lora(rank=2, targets=("experts.*",))
    config = dataclasses.replace(CONFIG, layers=1, mixture=Mixture(3, 2, 11), remat="full", adapter=adapter)
    model, tokens = make_language_model(config), jnp.arange(6)[None]
    params = jax.eval_shape(model.init, jax.random.key(0))
    loss = lambda own, base: jnp.sum(jnp.sin(model.hidden({"base": base, "adapter": own}, tokens, tokens * 0 + 1)))
    alone, of_all, given = jax.grad(loss), jax.grad(loss, argnums=(0, 1)), (params["adapter"], params["base"])
    zeros = "f32[3,8,11] = broadcast_in_dim"  # where the gradients of gate and up are added
    assert [str(jax.make_jaxpr(fn)(*given)).count(zeros) for fn in (alone, of_all)] == [0, 2]


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
    """Value and gradient, with LoRA; experts split over four devices, rows over eight, the hidden width over two."""
    adapter = Lora(rank=2, targets=("experts.*",))
    model = make_language_model(dataclasses.replace(CONFIG, layers=1, mixture=Mixture(8, 2, 8), adapter=adapter))
    params = jax.jit(model.init)(jax.random.key(0))
    params["adapter"] = jax.tree.map(lambda x: x + 0.1, params["adapter"])
    tokens = jax.random.randint(jax.random.key(1), (8, 6), 0, 16)
    loss = lambda params, tokens: jnp.sum(jnp.sin(model.hidden(params, tokens, jnp.ones_like(tokens))))
    alone = jax.device_get(jax.jit(jax.value_and_grad(loss))(params, tokens))
    mesh = make_mesh(MeshSpec(data=1, expert=4, tensor=2))
    placed = jax.tree.map(jax.device_put, params, shardings(model.axes, mesh))
    assert placed["base"]["layers"]["experts"]["up"].addressable_shards[0].data.shape == (1, 2, 8, 4)
    with jax.set_mesh(mesh):
        together = jax.jit(jax.value_and_grad(loss))(placed, tokens)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 2e-5, 3e-5), jax.device_get(together), alone)


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
