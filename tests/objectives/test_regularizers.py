"""Regularizers by hand, by equality, and added to objectives; test_contract.py runs each beside an objective too."""

import dataclasses
import doctest
import importlib
import math
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mtjax.objectives.regularizers
from mtjax.config import parse, read_file
from mtjax.errors import InputError
from mtjax.model.adapters.loramoe import LoraMoe
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.mixture import Mixture
from mtjax.model.policy import make_policy
from mtjax.objectives import OBJECTIVES, REGULARIZERS, with_regularizers
from mtjax.objectives.dco import Dco
from mtjax.objectives.kto import Kto
from mtjax.objectives.nll import Nll
from mtjax.objectives.regularizers.entropy_bonus import EntropyBonus, entropy
from mtjax.objectives.regularizers.z_loss import ZLoss, squared_log_partition
from mtjax.types import Mean
from tests.objectives.fakes import BigramPolicy, batch_for, random_batch, random_table

every_regularizer = pytest.mark.parametrize("name", list(REGULARIZERS))


def targets_of(batch):
    """Row and time of the tokens that count, by loops."""
    segments, weights = np.asarray(batch.segments), np.asarray(batch.weights)
    rows, length = segments.shape
    live = lambda b, t: segments[b, t] > 0 and segments[b, t] == segments[b, t - 1] and weights[b, t] != 0
    return [(b, t) for b in range(rows) for t in range(1, length) if live(b, t)]


def test_the_golden_z_loss():
    """Logits (2, 0, 0, 0) and (0, 1, 0, -1): logsumexp 2.34075295 and 1.62652338, mean square 4.06235134."""
    z = squared_log_partition(jnp.array([[2.0, 0, 0, 0], [0, 1, 0, -1]]))
    np.testing.assert_allclose(jnp.mean(z), 4.06235134, rtol=1e-6)
    assert squared_log_partition(jnp.zeros(4, jnp.bfloat16)).dtype == jnp.float32


def test_entropy_by_hand():
    """p = (1/2, 1/4, 1/4, 0): 1.5 bits."""
    logits = jnp.array([math.log(2), 0.0, 0.0, -jnp.inf])
    np.testing.assert_allclose(entropy(logits), 1.5 * math.log(2), rtol=1e-6)
    assert np.isfinite(jax.grad(entropy)(logits)).all()


def test_the_means_over_target_tokens():
    batch, table = random_batch(), random_table()
    rows = np.asarray(table, np.float64)[[batch.tokens[b, t - 1] for b, t in targets_of(batch)]]
    partition = np.log(np.exp(rows).sum(-1))
    logprob = rows - partition[:, None]
    for regularizer, values in ((ZLoss(), partition**2), (EntropyBonus(), (np.exp(logprob) * logprob).sum(-1))):
        mean = regularizer(BigramPolicy(table), batch)
        np.testing.assert_allclose(mean.total, values.sum(), rtol=1e-5)
        assert mean.count == len(values)


@every_regularizer
@pytest.mark.parametrize("objective", [Nll(), OBJECTIVES["dpo"](), Kto()])
def test_the_loss_is_the_sum_of_the_means(name, objective):
    batch = batch_for(objective)
    policy, reference = BigramPolicy(random_table()), BigramPolicy(random_table(1))
    regularizer = REGULARIZERS[name](weight=0.3)
    both, metrics = with_regularizers(objective, [regularizer])(policy, batch, reference=reference)
    own, own_metrics = objective(policy, batch, reference=reference)
    added = regularizer(policy, batch)
    np.testing.assert_allclose(both.value, own.value + 0.3 * added.value, rtol=1e-5)
    assert both.count == own.count
    measured = regularizer.metrics(policy, batch).keys() if hasattr(regularizer, "metrics") else set()
    assert metrics.keys() == own_metrics.keys() | {"objective_loss", f"regularizer/{name}"} | measured
    assert metrics["objective_loss"] == own
    assert isinstance(metrics[f"regularizer/{name}"], Mean)


def test_the_wrapper_passes_on_what_the_objective_declares():
    dco = Dco()
    assert with_regularizers(dco, ()) is dco
    for name, cls in OBJECTIVES.items():
        objective = cls()
        wrapped = with_regularizers(objective, (ZLoss(),))
        assert (wrapped.task, wrapped.needs_reference) == (objective.task, objective.needs_reference), name
        assert getattr(wrapped, "by_polarity", False) == getattr(objective, "by_polarity", False)
        assert wrapped.at_reference is None
    assert with_regularizers(dco, (ZLoss(),)).weights == dco.weights
    assert not hasattr(with_regularizers(Nll(), (ZLoss(),)), "weights")


def test_what_is_no_regularizer_is_refused():
    with pytest.raises(InputError, match="expected each of entropy_bonus, .*, z_loss at most once"):
        with_regularizers(Nll(), (ZLoss(), ZLoss(weight=1.0)))
    with pytest.raises(InputError, match="expected each of"):
        with_regularizers(Nll(), (Nll(),))
    with pytest.raises(InputError, match=r"weight=-1"):
        ZLoss(weight=-1.0)


@every_regularizer
def test_a_real_model_gets_a_gradient(name):
    mixture = Mixture(4, 2, 8) if name in ("load_balance", "router_z_loss") else None
    adapter = LoraMoe() if name == "localized_balance" else None
    shape = {"vocab_size": 11, "width": 8, "layers": 1, "heads": 1, "kv_heads": 1, "head_dim": 8}
    model = make_language_model(DecoderConfig(**shape, mixture=mixture, adapter=adapter))
    params, batch = jax.jit(model.init)(jax.random.key(0)), random_batch()
    loss = lambda params: REGULARIZERS[name]()(make_policy(model, params, chunk=8), batch).value
    gradient = jax.jit(jax.grad(loss))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 0


@every_regularizer
def test_it_says_what_it_is(name):
    text = REGULARIZERS[name].__doc__
    for part in ("Formula:", "Want it", "Source:"):
        assert part in text


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(mtjax.objectives.regularizers.__path__)])
def test_the_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(f"mtjax.objectives.regularizers.{name}")).failed == 0


def test_words_of_the_command_line():
    """Any objective takes them: a name has its usual weight unless one is given."""
    tiny = read_file("configs/tiny.py")
    told = lambda *words: parse(tiny, ["--regularizers", *words], "train").regularizers
    assert told("z_loss=1e-3", "entropy-bonus") == (ZLoss(weight=1e-3), EntropyBonus())
    assert told() == ()
    given = dataclasses.replace(tiny, regularizers=(ZLoss(weight=0.5),))
    assert parse(given, ["--steps=3"], "train").regularizers == given.regularizers
    for words, says in (
        (["z_los"], "unknown regularizer 'z_los': did you mean 'z_loss'"),
        (["z_loss=much"], "'z_loss=much': expected NAME or NAME=WEIGHT"),
        (["z_loss=-1"], "weight=-1.0: expected at least 0"),
    ):
        with pytest.raises(InputError, match=says):
            told(*words)
