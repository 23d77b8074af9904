"""RISE: the vectors of the spec, the gate, the weights by kind, and the traps."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.config import load
from mtjax.errors import InputError
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.rise import Rise, rise_code, rise_loss, rise_paper
from tests.objectives.fakes import BigramPolicy, batch_of, outcome, random_batch, random_table

# Chosen -12 under the policy and -11 under the reference, rejected -15 and -13: margin (-1) - (-2) = 1, beta 0.4.
VECTOR = 0.5130152524


def spec_batch(kind):
    batch, policy = batch_of(([-5.0, -4.0, -3.0], [-15.0]), kind=[kind])
    _, reference = batch_of(([-4.0, -4.0, -3.0], [-13.0]), kind=[kind])
    return batch, policy, reference


def test_the_vectors_of_the_spec():
    np.testing.assert_allclose(rise_loss(-1.0, -2.0, 12.0, beta=0.4, nll_weight=0.0), VECTOR, rtol=1e-6)
    np.testing.assert_allclose(rise_loss(-1.0, -2.0, 12.0, beta=0.4, nll_weight=0.05), VECTOR + 0.6, rtol=1e-6)
    np.testing.assert_allclose(rise_loss(0.0, 0.0, 12.0, beta=0.4, nll_weight=0.05), 0.6931471806, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        ({}, 1, VECTOR),
        ({"nll_weight": 0.05}, 1, VECTOR + 0.05 * 12),
        ({"nll_weight": 0.05, "nll_reduction": "mean"}, 1, VECTOR + 0.05 * 12 / 3),
        ({"nll_weight": 0.05}, 0, VECTOR),  # the gate is on step pairs alone
        ({"nll_weight": 0.05, "nll_on": "all"}, 0, VECTOR + 0.05 * 12),
    ],
)
def test_a_pair_by_hand(settings, kind, expected):
    batch, policy, reference = spec_batch(kind)
    loss, metrics, _ = outcome(Rise(beta=0.4, **settings), policy, batch, reference)
    np.testing.assert_allclose(loss, [expected, 1], rtol=1e-6)
    assert metrics["step_share"].value == kind
    assert metrics[f"reward_margin_{'step' if kind else 'full'}"].count == 1
    assert metrics["gate_open"] == ((1, 1) if kind or settings.get("nll_on") == "all" else (0, 0))


def test_the_gate_is_of_each_pair_and_not_of_the_mean():
    # r = -1 and +3: open for the first pair alone, though their mean is positive. NLL 2 and 1; no margins.
    batch, policy = batch_of(([-2.0], [-2.0]), ([-1.0], [-1.0]), kind=[1, 1])
    _, reference = batch_of(([-1.0], [-1.0]), ([-4.0], [-4.0]), kind=[1, 1])
    loss, metrics, _ = outcome(Rise(nll_weight=0.5), policy, batch, reference)
    np.testing.assert_allclose(loss, [2 * math.log(2) + 0.5 * 2, 2], rtol=1e-6)
    assert metrics["gate_open"] == (1, 2)


def test_rounding_does_not_open_the_gate():
    # r = -0.0005 is within the margin of 0.001, r = -0.002 is not; the paper's formula opens on both. NLL 2 and 3.
    batch, policy = batch_of(([-2.0], [-1.0]), ([-3.0], [-1.0]), kind=[1, 1])
    _, reference = batch_of(([-1.9995], [-0.9995]), ([-2.998], [-0.998]), kind=[1, 1])
    by_margin = {
        margin: outcome(Rise(nll_weight=0.5, gate_margin=margin), policy, batch, reference) for margin in (1e-3, 0)
    }
    np.testing.assert_allclose(by_margin[1e-3].loss.total, 2 * math.log(2) + 0.5 * 3, rtol=1e-6)
    np.testing.assert_allclose(by_margin[0].loss.total, 2 * math.log(2) + 0.5 * (2 + 3), rtol=1e-6)
    assert [out.metrics["gate_open"].total for out in by_margin.values()] == [1, 2]
    assert rise_paper(beta=0.1, nll_weight=1).gate_margin == 1e-3


def test_the_gate_carries_no_gradient_and_a_closed_one_none_of_the_nll():
    batch, policy = batch_of(([-2.0], [-2.0]), ([-1.0], [-1.0]), kind=[1, 1])
    _, reference = batch_of(([-1.0], [-1.0]), ([-4.0], [-4.0]), kind=[1, 1])
    gradient = outcome(Rise(beta=0.4, nll_weight=0.5), policy, batch, reference).gradient.logprob
    # DPO without a margin: -+ beta / 2 = -+ 0.2; the open gate adds -0.5 to its chosen token
    np.testing.assert_allclose(gradient[:2, :, 1], [[-0.7, 0.2], [-0.2, 0.2]], rtol=1e-6)


def test_identical_pairs_teach_nothing():
    batch, policy = batch_of(([-1.0, -2.0], [-1.0, -2.0]), kind=[1])
    _, reference = batch_of(([-2.0, -2.0], [-2.0, -2.0]), kind=[1])
    for objective in (rise_code(), rise_paper(beta=0.3, nll_weight=0.5)):  # r = 1: the gate is closed
        gradient = outcome(objective, policy, batch, reference).gradient.logprob
        np.testing.assert_array_equal(gradient[:, 0] + gradient[:, 1], 0)


def test_kinds_are_weighed_in_one_mean():
    batch, policy = batch_of(([-5.0, -7.0], [-15.0]), ([-4.0], [-2.0]), kind=[1, 0])
    _, reference = batch_of(([-5.0, -6.0], [-13.0]), ([-4.0], [-3.0]), kind=[1, 0])
    loss, _, _ = outcome(Rise(beta=0.4, step_weight=3, full_weight=0.5), policy, batch, reference)
    np.testing.assert_allclose(loss, [3 * VECTOR + 0.5 * (VECTOR + 0.4), 3.5], rtol=1e-6)


def test_full_pairs_alone_are_dpo_with_a_gated_nll():
    """The baseline that explains most of the published gain."""
    batch = random_batch(pair=True)
    policy, reference = BigramPolicy(random_table()), BigramPolicy(random_table(1))
    loss, _, _ = outcome(Rise(step_weight=0), policy, batch, reference)
    kinds = batch.extras["segment_kind"]
    full = jnp.take_along_axis(1 - kinds, jnp.maximum(batch.segments - 1, 0), -1)
    masked = batch._replace(weights=batch.weights * full)
    np.testing.assert_allclose(loss, outcome(Dpo(beta=0.4), policy, masked, reference).loss, rtol=1e-6)


def test_the_released_code_is_dpo_on_one_mixed_list():
    batch = random_batch(pair=True)
    policy, reference = BigramPolicy(random_table()), BigramPolicy(random_table(1))
    ours = outcome(rise_code(), policy, batch, reference).loss
    np.testing.assert_allclose(ours, outcome(Dpo(beta=0.4), policy, batch, reference).loss, rtol=1e-6)
    assert (rise_code().beta, rise_code().nll_weight) == (0.4, 0)


def test_presets_from_the_command_line():
    """As `docs/recipes/rise.md` has them; the file itself holds a `rise_paper`."""
    words = ["--objective.beta=0.4", "--objective.nll_weight=0", "--data.task.end=none"]
    as_released = load("configs/tiny_rise.py", words)
    assert (as_released.objective, as_released.data.task.end) == (rise_code(), "none")
    assert load("configs/tiny_rise.py").objective == rise_paper(beta=0.1, nll_weight=0.05)


def test_at_the_reference_every_gate_is_closed():
    policy = BigramPolicy(random_table())
    loss, metrics, _ = outcome(rise_paper(beta=0.1, nll_weight=1.0), policy, random_batch(pair=True), policy)
    np.testing.assert_allclose(loss.value, math.log(2), rtol=1e-6)
    assert metrics["gate_open"].total == 0
    assert metrics["gate_open"].count > 0


def test_what_the_paper_leaves_open_must_be_said():
    with pytest.raises(TypeError, match="nll_weight"):
        rise_paper(beta=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0}, "beta=0"),
        ({"nll_weight": -0.1}, "nll_weight=-0.1"),
        ({"gate_margin": -1}, "gate_margin=-1"),
        ({"step_weight": 0, "full_weight": 0}, "both 0: nothing to train"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Rise(**settings)


def test_kinds_are_needed():
    batch, policy = batch_of(([-1.0], [-2.0]))
    del batch.extras["segment_kind"]
    with pytest.raises(InputError, match=r"'rise' needs extras\['segment_kind'\].*task 'pair'"):
        Rise()(policy, batch, reference=policy)
