"""What every registered objective must obey. A new objective gets these tests by its registration alone."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.objectives import OBJECTIVES, REGULARIZERS, base, with_regularizers
from mtjax.objectives.aot import Aot
from mtjax.objectives.bco import Bco
from mtjax.objectives.dco import Dco, dco_code
from mtjax.objectives.dpo import Dpo, dpo_tulu3, ipo_trl
from mtjax.objectives.ldr import Ldr
from mtjax.objectives.nft import Nft
from mtjax.objectives.npo import Npo
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.objectives.rise import Rise
from mtjax.objectives.topr import Topr
from mtjax.types import Batch, Mean, Remember, add_means
from tests.objectives.fakes import BigramPolicy, Forbidding, batch_for, random_table, rows_of

# Each objective by name with the settings it starts with; after them settings that take another way through the code.
CASES = {name: cls() for name, cls in OBJECTIVES.items()} | {
    "dpo-cdpo": Dpo(label_smoothing=0.1),
    "dpo-robust": Dpo(kind="robust", label_smoothing=0.1),
    "dpo-ipo": Dpo(kind="ipo"),
    "dpo-ipo-trl": ipo_trl(),
    "dpo-hinge": Dpo(kind="hinge"),
    "dpo-tulu3": dpo_tulu3(),
    "dpo-gamma": Dpo(gamma=0.5),
    "dpo-wpo": Dpo(weight="aligned", divergence="js"),
    "dpo-tail-nll": Dpo(kind="apo_zero", tail_weight=0.5, second_weight=0.2, nll_weight=1.0, nll_unit="token"),
    "bco-apo": Bco(kind="apo_zero"),
    "aot-unpaired": Aot(form="unpaired", label_smoothing=0.1),
    "topr-token": Topr(form="token", sampler="recorded"),
    "nft-recorded": Nft(sampler="recorded", omega="odds", reduction="sequence_mean"),
    "ldr-top-k": Ldr(kind="top_k", k=3),
    "npo-nll": Npo(nll_weight=0.5),
    "rise-step": Rise(nll_weight=0.5, nll_reduction="mean"),
    "rise-all": Rise(nll_weight=0.5, nll_on="all", step_weight=2.0),
    "dco-mean": Dco(n=64.0, reduction="token_mean"),
    "dco-step": Dco(n=4.0, granularity="step"),
    "dco-step-mean": Dco(n=4.0, granularity="step", reduction="token_mean"),
    "dco-external": Dco(n=16.0, granularity="external"),
    "dco-code": dco_code(n=16.0),
    "policy-gspo": PolicyGradient(surrogate="gspo", reduction="sequence_mean", kl_weight=0.1, clip_low=0.1),
    "policy-all": PolicyGradient(
        surrogate="sapo",
        reduction="constant",
        length=8,
        old="reference",
        mismatch_cap=2.0,
        entropy_weight=0.1,
        kl_weight=0.1,
        kl="k3_plus",
        whiten="tokens",
    ),
}
# Each regularizer beside an objective of tokens; all of them beside one of pairs and one with statistics of its own.
CASES |= {f"nll+{name}": with_regularizers(OBJECTIVES["nll"](), [cls()]) for name, cls in REGULARIZERS.items()}
EVERY_REGULARIZER = [cls(weight=0.5) for cls in REGULARIZERS.values()]
CASES |= {f"{name}+all": with_regularizers(OBJECTIVES[name](), EVERY_REGULARIZER) for name in ("dpo", "kto")}
# Products of code that other cases take, or that their own tests look at: run by hand.
SLOW = {"dpo-wpo", "dpo-tail-nll", "bco-apo", "aot-unpaired", "topr-token", "nft-recorded", "ldr-top-k"}
marked = lambda name: pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
every_objective = pytest.mark.parametrize("name", [marked(name) for name in sorted(CASES)])
KEY = jax.random.key(0)


def loss_of(objective, table, batch, reference_table=None, whole=None, forbids=False):
    """Loss and metrics of a batch, which may be a part of a `whole` one."""
    policy, reference = Forbidding(BigramPolicy(table), forbids), None
    if objective.needs_reference:
        reference = Forbidding(BigramPolicy(random_table(1) if reference_table is None else reference_table), forbids)
    known = {}
    if hasattr(objective, "statistics"):
        known["statistics"] = objective.statistics(policy, batch if whole is None else whole, reference=reference)
    if hasattr(objective, "pool"):
        entire = batch if whole is None else whole
        pooled = base.pooled_alone(objective, policy, entire, reference, KEY)
        # The rows of this part, by the numbers of their examples.
        ids, every = (x.extras["segment_id"].reshape(x.tokens.shape[0], -1) for x in (batch, entire))
        rows = jnp.argmax(jnp.all(ids[:, None] == every[None], axis=-1), axis=-1)
        known["pooled"] = jax.tree.map(lambda x: x[rows], pooled)
    loss, metrics = objective(policy, batch, reference=reference, key=KEY, **known)
    return loss, {name: mean for name, mean in metrics.items() if not isinstance(mean, Remember)}


class Run(NamedTuple):
    """What an objective made of a batch; the gradients are those of the loss's total."""

    loss: Any
    metrics: Any
    gradient: Any
    reference_gradient: Any


@functools.partial(jax.jit, static_argnums=0)
def compiled(objective, table, reference_table, batch, whole, forbids):
    def total(table, reference_table):
        loss, metrics = loss_of(objective, table, batch, reference_table, whole, forbids)
        return loss.total, (loss, metrics)

    (_, outcome), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(table, reference_table)
    return Run(*outcome, *gradients)


def padded(batch, rows=12):
    """The batch with rows of padding behind, so that all tests of an objective share one compilation."""
    blank = lambda x: np.concatenate([x, np.zeros((rows - x.shape[0], *x.shape[1:]), x.dtype)])
    batch = jax.tree.map(lambda x: blank(np.asarray(x)), batch)
    batch.extras["segment_id"][batch.segments.max(-1) == 0] = -1
    return batch


def run(objective, batch, *, whole=None, reference_table=None, forbids=False):
    reference_table = random_table(1) if reference_table is None else reference_table
    whole = padded(batch if whole is None else whole)
    return compiled(objective, random_table(), reference_table, padded(batch), whole, forbids)


def same(a, b):
    """Equal losses and gradients."""
    close(a.loss, b.loss)
    close(a.gradient, b.gradient)


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@every_objective
def test_loss_and_gradient_are_finite_and_move_something(name):
    out = run(CASES[name], batch_for(CASES[name]))
    assert isinstance(out.loss, Mean)
    assert out.loss.total.dtype == jnp.float32
    assert out.loss.count > 0
    assert np.isfinite(out.loss.total)
    assert np.isfinite(out.gradient).all()
    assert np.abs(out.gradient).max() > 1e-3


@every_objective
def test_tokens_of_zero_weight_that_nothing_depends_on_do_not_matter(name):
    """Overwrite the padding: no weight, and no later token is predicted from it."""
    batch = batch_for(CASES[name])
    other = batch._replace(tokens=jnp.where(batch.segments == 0, 7, batch.tokens))
    same(run(CASES[name], batch), run(CASES[name], other))


@every_objective
def test_tokens_of_zero_weight_may_be_impossible(name):
    """0 * inf is NaN: what is not a target must not enter the sum, however unlikely it is."""
    batch = batch_for(CASES[name])
    same(run(CASES[name], batch), run(CASES[name], batch, forbids=True))


@every_objective
def test_a_batch_of_zero_weights_is_silent(name):
    batch = batch_for(CASES[name])
    out = run(CASES[name], batch._replace(weights=0 * batch.weights))
    assert out.loss == (0, 0)
    np.testing.assert_array_equal(out.gradient, 0 * out.gradient)
    assert all(np.isfinite(metric.value) for metric in out.metrics.values())


@pytest.mark.parametrize("cut", [1, 2, 3])
@every_objective
def test_any_split_of_a_batch_adds_up(name, cut):
    batch = batch_for(CASES[name])
    out = run(CASES[name], batch)
    first = run(CASES[name], rows_of(batch, slice(0, cut)), whole=batch)
    rest = run(CASES[name], rows_of(batch, slice(cut, None)), whole=batch)
    close(out.loss, first.loss.plus(rest.loss))
    close(out.gradient, first.gradient + rest.gradient)


@pytest.mark.parametrize("name", [marked(name) for name in sorted(CASES) if hasattr(CASES[name], "statistics")])
def test_statistics_of_parts_add_up_and_carry_no_gradient(name):
    objective = CASES[name]
    batch = batch_for(objective)

    @jax.jit
    def of(batch):
        def total(table):
            means = objective.statistics(BigramPolicy(table), batch, reference=BigramPolicy(random_table(1)))
            return sum(map(jnp.sum, jax.tree.leaves(means))), means

        gradient, means = jax.grad(total, has_aux=True)(random_table())
        return means, gradient

    parts = [of(padded(rows_of(batch, rows)))[0] for rows in (slice(0, 1), slice(1, None))]
    means, gradient = of(padded(batch))
    assert all(isinstance(mean, Mean) for mean in means.values())
    jax.tree.map(close, means, add_means(*parts))
    assert not np.any(gradient)


@every_objective
def test_the_order_of_rows_does_not_matter(name):
    batch = batch_for(CASES[name])
    same(run(CASES[name], batch), run(CASES[name], rows_of(batch, np.array([2, 0, 3, 1]))))


@every_objective
def test_packed_equals_unpacked(name):
    """Each segment moved to a row of its own, at the start, gives the same loss and gradient."""
    batch = jax.tree.map(np.asarray, batch_for(CASES[name]))
    rows = []
    numbers = batch.extras["segment_polarity"].shape[-1]
    for row in range(batch.tokens.shape[0]):
        for number in range(1, numbers + 1):
            one = rows_of(batch, np.array([row]))
            order = np.argsort(one.segments != number, axis=-1, stable=True)
            own = np.take_along_axis(one.segments == number, order, -1)
            extras = {
                name: np.roll(x, 1 - number, -1) if name.startswith("segment_") else np.take_along_axis(x, order, -1)
                for name, x in one.extras.items()
            }
            tokens, weights = (np.take_along_axis(x, order, -1) for x in (one.tokens, one.weights))
            rows.append(Batch(tokens, weights * own, own.astype(np.int32), extras))
    same(run(CASES[name], batch), run(CASES[name], jax.tree.map(lambda *x: np.concatenate(x), *rows)))


# Objectives that share all of their code but a formula need one of them run step by step.
PLAIN = sorted({(cls.__call__, hasattr(CASES[name], "statistics")): name for name, cls in OBJECTIVES.items()}.values())


@pytest.mark.parametrize("name", PLAIN)
def test_jitted_with_rows_of_padding_equals_plain_without(name):
    batch = batch_for(CASES[name])
    loss, metrics = loss_of(CASES[name], random_table(), batch)
    out = run(CASES[name], batch)
    jax.tree.map(close, (loss, metrics), (out.loss, out.metrics))


@every_objective
def test_no_gradient_reaches_the_reference(name):
    assert not np.any(run(CASES[name], batch_for(CASES[name])).reference_gradient)


@every_objective
def test_the_loss_at_the_reference_is_what_it_says(name):
    said = getattr(CASES[name], "at_reference", None)
    if said is None:
        pytest.skip("it has no closed form")
    out = run(CASES[name], batch_for(CASES[name]), reference_table=random_table())
    close(out.loss.value, said)


@every_objective
def test_metrics_are_means(name):
    metrics = run(CASES[name], batch_for(CASES[name])).metrics
    assert metrics
    assert all(isinstance(metric, Mean) and np.isfinite(metric.value) for metric in metrics.values())


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_it_says_what_it_is(name):
    text = OBJECTIVES[name].__doc__
    assert "Formula:" in text
    assert "Use it" in text or "Want it" in text
