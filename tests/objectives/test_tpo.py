"""TPO by hand: the preference, the gold text's cross-entropy in both units, and its data."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.formats import Reader
from mtjax.data.tasks.triplet import TripletTask
from mtjax.errors import InputError
from mtjax.objectives.tpo import Tpo, tpo_loss
from mtjax.types import Batch
from tests.objectives.fakes import FixedPolicy, outcome

# Gold, chosen and rejected of two triples, and a third one without rejected text.
TRIPLES = [
    ([-1.0, -2.0], [-0.5, -1.5, -2.0], [-3.0]),
    ([-0.4], [-2.5], [-0.5, -0.5]),
    ([-9.0], [-1.0], []),
]


def batch_and_policy():
    logprob = np.full((3, 3, 5), -77.0, np.float32)
    weights, segments = np.zeros((3, 3, 5), np.float32), np.zeros((3, 3, 5), np.int32)
    for place, triple in enumerate(TRIPLES):
        for side, text in enumerate(triple):
            size = len(text)
            logprob[place, side, 1 : 1 + size], weights[place, side, 1 : 1 + size] = text, 1
            segments[place, side, : size + 1] = size > 0
    ids = jnp.broadcast_to(jnp.arange(3)[:, None, None], (3, 3, 1))
    batch = Batch(jnp.zeros((3, 3, 5), jnp.int32), jnp.asarray(weights), jnp.asarray(segments), {"segment_id": ids})
    return batch, FixedPolicy(jnp.asarray(logprob))


def test_by_hand():
    batch, policy = batch_and_policy()
    # Sums: -4 against -3, and -2.5 against -1; beta 0.2 gives -0.2 and -0.3.
    preference = (math.log1p(math.exp(0.2)) + math.log1p(math.exp(0.3))) / 2
    loss, metrics, gradient = outcome(Tpo(beta=0.2, gold_weight=0.5), policy, batch)
    np.testing.assert_allclose(loss.value, preference + 0.5 * 3.4 / 3, rtol=1e-6)  # 3.4 nats over 3 gold tokens
    assert loss.count == 2
    np.testing.assert_allclose(metrics["nll_gold"].value, 3.4 / 3, rtol=1e-6)
    # The third triple has no part in it; a gold token has the slope -0.5 / 3 of the mean, so -1 / 3 of the total.
    assert not gradient.logprob[2].any()
    np.testing.assert_allclose(gradient.logprob[0, 0, 1:3], -1 / 3, rtol=1e-6)
    slope = -0.2 / (1 + math.exp(-0.2))
    np.testing.assert_allclose(gradient.logprob[0, 1, 1:4], slope, rtol=1e-6)
    np.testing.assert_allclose(gradient.logprob[0, 2, 1], -slope, rtol=1e-6)
    # Means: -4/3 against -3, -2.5 against -0.5; beta 2, margin 0.5: 2.8333 and -4.5. Gold by the triple: 1.5 and 0.4.
    loss, _, _ = outcome(Tpo(beta=2.0, kind="mean", nll_unit="triple"), policy, batch)
    expected = [math.log1p(math.exp(-x)) + y for x, y in ((2 * (3 - 4 / 3) - 0.5, 1.5), (-4.5, 0.4))]
    np.testing.assert_allclose(loss.value, np.mean(expected), rtol=1e-6)


def test_far_apart_is_finite_and_other_shapes_are_refused():
    slopes = jax.vmap(jax.value_and_grad(lambda x: tpo_loss(x, 0.0, beta=0.01)))(jnp.asarray([-1e6, 0.0, 1e6]))
    assert np.isfinite(slopes).all()
    batch, policy = batch_and_policy()
    with pytest.raises(InputError, match=r"expected \(B, 3, T\); set data.task:triplet"):
        Tpo()(policy, jax.tree.map(lambda x: x[:, :2], batch))


def test_a_record_of_trl_gives_gold_chosen_and_rejected():
    record = {"prompt": "2 + 2 =", "reference": "4", "chosen": " 4, I think", "rejected": "5"}
    problem = Reader("auto").read(record, "a.jsonl:1", "a.jsonl:1")
    task = TripletTask(anchors="first", prompt_weight=0.0, template="{question}")
    sides = task.render(problem)
    assert [one.text for one in sides] == ["2 + 2 =4", "2 + 2 = 4, I think", "2 + 2 =5"]
    assert len(TripletTask().render(problem)) == 6
