"""XPO by hand: which text is chosen, the optimism on the reference's text, and DPO without it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.xpo import Xpo
from tests.objectives.fakes import batch_of, outcome

# The policy's text and the reference's: the second wins in the second pair, and none in the third.
POLICY = ([-2.0, -1.0], [-4.0]), ([-3.0], [-1.0, -1.0]), ([-5.0], [-6.0])
REFERENCE = ([-3.0, -2.5], [-2.0]), ([-2.0], [-2.0, -2.0]), ([-1.0], [-1.0])


def with_rewards(batch, rewards):
    """A pair batch as one of groups."""
    column = np.zeros((*batch.tokens.shape[:2], 1), np.float32)
    column[: len(rewards), :, 0] = rewards
    return batch._replace(extras={**batch.extras, "segment_reward": jnp.asarray(column)})


def test_by_hand():
    batch, policy = batch_of(*POLICY)
    _, reference = batch_of(*REFERENCE)
    batch = with_rewards(batch, [[1, 0], [0.2, 0.7], [1, 1]])
    loss, metrics, gradient = outcome(Xpo(beta=0.5, optimism=0.1), policy, batch, reference)
    # Log-ratios 2.5 and -2: the first is chosen, margin 4.5. -1 and 2: the second is chosen, margin 3.
    expected = [math.log1p(math.exp(-0.5 * m)) + 0.1 * logprob for m, logprob in ((4.5, -4.0), (3.0, -2.0))]
    np.testing.assert_allclose(loss.value, np.mean(expected), rtol=1e-6)
    assert loss.count == 2
    said = {
        name: float(metrics[name].value) for name in ("policy_wins", "equal", "logprob_reference", "reward_accuracy")
    }
    assert said == pytest.approx(
        {"policy_wins": 0.5, "equal": 1 / 3, "logprob_reference": -3.0, "reward_accuracy": 1.0}
    )
    # The reference's text: lowered as the rejected one and by the optimism; or raised as the chosen one, less 0.1.
    slopes = [-0.5 / (1 + math.exp(0.5 * m)) for m in (4.5, 3.0)]
    np.testing.assert_allclose(gradient.logprob[0, 0, 1:3], slopes[0], rtol=1e-5)
    np.testing.assert_allclose(gradient.logprob[0, 1, 1], -slopes[0] + 0.1, rtol=1e-5)
    np.testing.assert_allclose(gradient.logprob[1, 1, 1:3], slopes[1] + 0.1, rtol=1e-5)
    assert not gradient.logprob[2].any()


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_without_optimism_it_is_dpo_of_the_better_and_the_worse(kind):
    batch, policy = batch_of(*POLICY)
    _, reference = batch_of(*REFERENCE)
    ours = outcome(Xpo(optimism=0.0, kind=kind), policy, with_rewards(batch, [[1, 0]] * 3), reference)
    dpo = outcome(Dpo(kind=kind), policy, batch, reference)
    np.testing.assert_allclose(ours.loss, dpo.loss, rtol=1e-6)
    np.testing.assert_allclose(ours.gradient.logprob, dpo.gradient.logprob, rtol=1e-6)
    assert Xpo(optimism=0.0, kind=kind).at_reference == Dpo(kind=kind).at_reference
    assert Xpo().at_reference is None


def test_other_groups_are_refused():
    batch, policy = batch_of([-1.0])
    with pytest.raises(InputError, match=r"set data.task:group and data.task.size=2"):
        Xpo()(policy, batch, reference=policy)
    batch, policy = batch_of(*POLICY)
    with pytest.raises(InputError, match="needs extras\\['segment_reward'\\]"):
        jax.eval_shape(lambda: Xpo()(policy, batch, reference=policy)[0])
