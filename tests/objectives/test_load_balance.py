"""Losses and metrics of a router: golden numbers of papers 41 and 20, and equality over every split of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.objectives import with_regularizers
from mtjax.objectives.nll import Nll
from mtjax.objectives.regularizers.load_balance import LoadBalance, expert_metrics
from mtjax.objectives.regularizers.router_z_loss import RouterZLoss
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from mtjax.types import Batch, LanguageModel, Routing
from tests.objectives.fakes import BigramPolicy

# Two micro-batches of four tokens; four experts, one of which is chosen (models-and-rest 2.1).
FIRST = [(0.7, 0.1, 0.1, 0.1), (0.6, 0.2, 0.1, 0.1), (0.1, 0.7, 0.1, 0.1), (0.2, 0.6, 0.1, 0.1)]
SECOND = [(0.1, 0.1, 0.7, 0.1), (0.1, 0.1, 0.6, 0.2), (0.1, 0.1, 0.1, 0.7), (0.1, 0.1, 0.2, 0.6)]


class Routed(BigramPolicy):
    """A policy whose router has these logits, `[B, T, E]`, in its one layer."""

    def __init__(self, logits, k=1):
        object.__setattr__(self, "logits", jnp.asarray(logits, jnp.float32)[None])
        object.__setattr__(self, "k", k)

    def routing(self, batch):
        chosen = jax.lax.top_k(self.logits, self.k)[1]
        return Routing(self.logits, chosen, jnp.ones(chosen.shape, bool))


def rows(*parts):
    """A policy and a batch with one row for each of `parts`."""
    ones = jnp.ones((len(parts), len(parts[0])), jnp.int32)
    return Routed(np.log(parts)), Batch(ones, jnp.ones(ones.shape), ones, {})


def test_golden_load_balance():
    """Micro 1.6 for each and on average, global 1.0, buffered 1.6 and then 1.0."""
    for part in (FIRST, SECOND):
        np.testing.assert_allclose(LoadBalance()(*rows(part)).value, 1.6, rtol=1e-6)
    both = rows(FIRST, SECOND)
    np.testing.assert_allclose(LoadBalance(form="micro", rows=1)(*both).value, 1.6, rtol=1e-6)
    np.testing.assert_allclose(LoadBalance(form="micro")(*both).value, 1.0, rtol=1e-6)
    np.testing.assert_allclose(LoadBalance()(*both).value, 1.0, rtol=1e-6)
    counts, seen = 0, []
    for part in (FIRST, SECOND):
        regularizer = LoadBalance(form="buffered")
        counts = counts + regularizer.statistics(*rows(part))["counts"].total
        seen.append(float(regularizer(*rows(part), counts=counts).value))
    np.testing.assert_allclose(seen, [1.6, 1.0], rtol=1e-6)
    with pytest.raises(InputError, match="rows=3 does not divide a micro-batch of 2 rows"):
        LoadBalance(form="micro", rows=3)(*both)


def test_the_gradient_goes_through_the_probabilities_alone():
    """dL/dp_ti = E f_i / T for each of T tokens; by the logits x, dL/dx = p (E f - sum_j p_j E f_j) / T."""
    policy, batch = rows(FIRST)
    value = lambda logits: LoadBalance()(Routed(logits), batch).value
    gradient = jax.grad(value)(policy.logits[0])[0]
    p, f = np.array(FIRST), np.array([0.5, 0.5, 0, 0])
    np.testing.assert_allclose(gradient, p * (4 * f - (p * 4 * f).sum(-1, keepdims=True)) / 4, atol=1e-6)


def test_padding_is_no_token_and_k_choices_are_counted():
    policy, batch = rows(FIRST + [(0.25, 0.25, 0.3, 0.2)])
    masked = batch._replace(segments=batch.segments.at[:, 4].set(0))
    np.testing.assert_allclose(LoadBalance()(policy, masked).value, 1.6, rtol=1e-6)
    two = Routed(policy.logits[0], k=2)
    np.testing.assert_allclose(
        LoadBalance(by_token=True)(two, batch).value, 2 * LoadBalance()(two, batch).value, rtol=1e-6
    )


def test_golden_router_z_loss():
    logits = [[[2.0, 0, 0, 0], [0, 1, 0, -1]]]
    ones = jnp.ones((1, 2), jnp.int32)
    mean = RouterZLoss()(Routed(logits), Batch(ones, jnp.ones((1, 2)), ones, {}))
    np.testing.assert_allclose(mean.value, 4.06235134, rtol=1e-6)


def test_metrics_of_experts():
    policy, batch = rows(FIRST, SECOND)
    kept = jnp.array([True, True, True, False])[None, None, :, None]
    routing = policy.routing(batch)._replace(kept=jnp.broadcast_to(kept, (1, 2, 4, 1)))
    metrics = {name: float(mean.value) for name, mean in expert_metrics(routing, jnp.ones((2, 4))).items()}
    assert metrics["experts/max_load"] == 1.0
    assert metrics["experts/unused"] == 0.0
    assert metrics["experts/dropped"] == 0.25
    assert [metrics[f"experts/dropped_{quarter}of4"] for quarter in range(1, 5)] == [0, 0, 0, 1]
    uneven = {
        name: float(mean.value)
        for name, mean in expert_metrics(rows(FIRST)[0].routing(batch), jnp.ones((1, 4))).items()
    }
    assert (uneven["experts/max_load"], uneven["experts/unused"]) == (2.0, 0.5)


def plain_model():
    """Tables for the next token and for the router; a scaled token decides both."""
    init = lambda key: {"next": jax.random.normal(key, (16, 16)), "router": jax.random.normal(key, (16, 4))}
    hidden = lambda params, tokens, segments: params["next"][tokens]

    def routed(params, tokens, segments):
        logits = params["router"][tokens][None]
        chosen = jax.lax.top_k(logits, 2)[1]
        return hidden(params, tokens, segments), Routing(logits, chosen, jnp.ones(chosen.shape, bool))

    logits = lambda params, hidden: hidden
    axes = {"next": (None, None), "router": (None, None)}
    return LanguageModel(None, init, hidden, logits, None, None, axes, routed=routed)


def updated(form, micro_batches, mesh=None):
    """Loss and parameters after one step on eight rows, with padding in some of them."""
    tokens = jax.random.randint(jax.random.key(3), (8, 6), 0, 16)
    segments = jnp.where(jnp.arange(6) < jnp.arange(3, 11)[:, None] % 7 + 1, 1, 0)
    batch = Batch(tokens, jnp.ones(tokens.shape) * (segments > 0), segments, {})
    objective = with_regularizers(Nll(), [LoadBalance(weight=1.0, form=form), RouterZLoss(weight=0.1)])
    model, optimizer = plain_model(), optax.sgd(1.0)
    step = make_train_step(model, objective, optimizer, micro_batches=micro_batches, mesh=mesh)
    state, metrics = step(init_state(model, optimizer, jax.random.key(0), mesh), batch, jax.random.key(1))
    return jax.device_get((metrics, state.params))


def test_the_global_form_has_one_update_for_every_number_of_micro_batches_and_devices():
    metrics, params = updated("global", 1)
    assert metrics["regularizer/load_balance"] > 1
    for mesh in (None, make_mesh(MeshSpec(data=2), jax.devices()[:2])):
        others, other_params = updated("global", 4, mesh)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), other_params, params)
        for name in ("loss", "regularizer/load_balance", "regularizer/router_z_loss", "grad_norm"):
            np.testing.assert_allclose(others[name], metrics[name], rtol=1e-5)


def test_the_buffered_form_sees_the_micro_batches_so_far():
    """In one micro-batch it is the global form; in four it is between that and the micro form."""
    one, four = updated("buffered", 1)[0], updated("buffered", 4)[0]
    whole, micro = updated("global", 1)[0], updated("micro", 4)[0]
    balance = "regularizer/load_balance"
    np.testing.assert_allclose(one["loss"], whole["loss"], rtol=1e-6)
    assert whole[balance] < four[balance] < micro[balance]
