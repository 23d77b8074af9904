"""LoRAMoE by hand and as a model: bits at the start, what is trained, and the balance's golden values."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model.adapters.loramoe import LoraMoe, expert_weights
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model, without_adapter
from mtjax.model.policy import make_policy
from mtjax.objectives.nll import Nll
from mtjax.objectives.regularizers.base import with_regularizers
from mtjax.objectives.regularizers.localized_balance import LocalizedBalance, agreement, spread_loss
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from tests.objectives.fakes import random_batch

PLAIN = DecoderConfig(vocab_size=16, width=8, layers=2, heads=2, kv_heads=1, head_dim=4, mlp_width=12, init_scale=0.3)
MOE = LoraMoe(experts=4, rank=2, alpha=4.0, dropout=0.0)
BASE = make_language_model(PLAIN)
MODEL = make_language_model(dataclasses.replace(PLAIN, adapter=MOE))
BATCH = random_batch(rows=8, length=12, seed=1)
BATCH = BATCH._replace(extras={**BATCH.extras, "segment_source": BATCH.extras["segment_polarity"]})


@functools.cache
def fresh():
    return jax.device_get(jax.jit(MODEL.init)(jax.random.key(0)))


def moved():
    noise = lambda x: x + 0.3 * np.random.default_rng(x.size).normal(size=x.shape).astype(np.float32)
    return {**fresh(), "adapter": jax.tree.map(noise, fresh()["adapter"])}


def test_with_b_zero_it_is_the_base_bit_for_bit():
    tokens, segments = BATCH.tokens, BATCH.segments
    plain = jax.jit(BASE.hidden)(fresh()["base"], tokens, segments)
    np.testing.assert_array_equal(jax.jit(MODEL.hidden)(fresh(), tokens, segments), plain)


def test_a_map_by_hand():
    """Two experts of rank 1: A = 1, 2; B = 1, -1; router logits log 3 and 0 for x = 1: 0.75 * 1 - 0.25 * 2 = 0.25."""
    leaves = {"a": jnp.array([[[1.0], [2.0]]]), "b": jnp.array([[[1.0]], [[-1.0]]]), "used": jnp.zeros(2)}
    leaves["router"] = jnp.array([[np.log(3.0), 0.0]])
    x = jnp.ones((1, 1))
    np.testing.assert_allclose(LoraMoe.apply(leaves, x, 5 * x, x), [[5.25]], rtol=1e-6)
    first = {**leaves, "used": jnp.zeros(1)}
    np.testing.assert_allclose(LoraMoe.apply(first, x, 5 * x, x), [[6.0]], rtol=1e-6)
    weights = expert_weights(jnp.array([[3.0, 1.0, 2.0, 0.0]]), 2)
    np.testing.assert_allclose(weights, [[1 / (1 + np.exp(-1)), 0, 1 - 1 / (1 + np.exp(-1)), 0]], rtol=1e-6)


def test_golden_values_of_the_balance():
    """specs/models-and-rest.md 2.3."""
    amounts = jnp.array([[2, 1, 0.5, 0.5], [0.6, 0.4, 1.4, 1.6]]) * agreement(jnp.array([0.0, 1.0]), 4, 0.1, "paper")
    np.testing.assert_allclose(amounts, [[2.2, 1.1, 0.45, 0.45], [0.54, 0.36, 1.54, 1.76]], rtol=1e-6)
    sums = (amounts.sum(), (amounts**2).sum(), 8)
    assert float(spread_loss(*sums, "paper")) == pytest.approx(0.41969048, rel=1e-5)
    assert float(spread_loss(*sums, "code")) == pytest.approx(0.45680596, rel=1e-5)
    np.testing.assert_allclose(agreement(jnp.array([1.0]), 4, 0.1, "code"), [[1.1, 1.1, 0.9, 0.9]])


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_the_balance_of_a_model_is_that_of_numpy_and_its_gradient_the_whole_one(variant):
    """From the weights of each map; the gradient of the sums over parts is that of the formula on the entire batch."""
    regularizer, params = LocalizedBalance(variant=variant), moved()

    def formula(params):
        found = make_policy(MODEL, params, chunk=8).expert_weights(BATCH)
        losses = []
        for name, weights in found.items():
            if variant == "code" and not name.endswith("down"):
                continue
            for layer in weights:
                z = []
                for row in range(8):
                    for segment in range(1, 4):
                        amount = jnp.sum(layer[row] * (BATCH.segments[row] == segment)[:, None], 0)
                        if (BATCH.segments[row] == segment).any():
                            own = BATCH.extras["segment_source"][row, segment - 1][None]
                            z.append(amount * agreement(own, 4, 0.1, variant)[0])
                z = jnp.stack(z)
                sample = variant == "code"
                divisor = z.mean() ** 2 + 1e-10 if sample else z.mean()
                losses.append(z.var(ddof=int(sample)) / divisor)
        return sum(losses) / (1 if variant == "code" else len(losses)), len(losses)

    def ours(params):
        mean = regularizer(make_policy(MODEL, params, chunk=8), BATCH)
        return mean.total / mean.count

    (wanted, count), slope = jax.value_and_grad(formula, has_aux=True)(params)
    assert count == (2 if variant == "code" else 6)
    found, own = jax.jit(jax.value_and_grad(ours))(params)
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, own["adapter"], slope["adapter"])


def after_a_step(objective, micro_batches, steps=1):
    tx = make_optimizer(OptimConfig(0.3, schedule="constant", optimizer="sgd", clip_norm=0.0), 9)
    step = make_train_step(MODEL, objective, tx, micro_batches=micro_batches, chunk=8)
    params = {**moved()}
    state = init_state(MODEL, tx, jax.random.key(0), None, params)
    for number in range(steps):
        state, metrics = step(state, BATCH, jax.random.key(number))
    return jax.device_get((state.params, metrics))


def test_any_split_gives_the_same_update_and_only_the_adapter_is_trained():
    objective = with_regularizers(Nll(), (LocalizedBalance(weight=0.5),))
    whole, split = after_a_step(objective, 1), after_a_step(objective, 4)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), split[0], whole[0])
    name = "regularizer/localized_balance"
    assert split[1][name] == pytest.approx(whole[1][name], rel=1e-5)
    jax.tree.map(np.testing.assert_array_equal, whole[0]["base"], fresh()["base"])
    changed = jax.tree.map(lambda a, b: bool((np.asarray(a) != b).any()), whole[0]["adapter"], moved()["adapter"])
    assert all(jax.tree.leaves(changed))


def test_the_balance_separates_the_halves():
    """The loss is smallest where the weights are inverse to the factors: they leave the half that agrees."""
    objective = with_regularizers(Nll(), (LocalizedBalance(weight=5.0, delta=0.5),))
    before, after = (after_a_step(objective, 1, steps)[1] for steps in (1, 20))
    assert after["adapter/agreeing_experts"] < before["adapter/agreeing_experts"] - 0.05
    assert after["regularizer/localized_balance"] < 0.6 * before["regularizer/localized_balance"]
    factors = jnp.array([1.1, 1.1, 0.9, 0.9])
    loss = lambda weights: spread_loss((weights * factors).sum(), ((weights * factors) ** 2).sum(), 4, "paper")
    assert (jax.grad(loss)(jnp.ones(4)) > 0).tolist() == [True, True, False, False]


def test_it_cannot_be_merged_and_settings_are_checked():
    with pytest.raises(InputError, match="loramoe cannot be merged: what it adds depends on the token"):
        without_adapter(MODEL, fresh())
    with pytest.raises(InputError, match="top_k=9: expected at most experts=6"):
        LoraMoe(top_k=9)
    with pytest.raises(InputError, match="bank names 1 LoRA and model.adapter.experts is 6"):
        LoraMoe(bank=("a",))
    with pytest.raises(InputError, match="no adapter that mixes experts: set model.adapter:loramoe"):
        LocalizedBalance()(make_policy(BASE, fresh()["base"]), BATCH)
    with pytest.raises(InputError, match="train on a mixture of sources"):
        LocalizedBalance()(make_policy(MODEL, fresh()), BATCH._replace(extras={}))
