"""Sequences and pairs by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives import sequences
from mtjax.types import Batch
from tests.objectives.fakes import FixedPolicy, batch_of


def test_sequence_scores_by_hand():
    # Segment 1: weights 2 and 0.5 on -1 and -4; its first token is never predicted. Segment 3: one target of weight -1.
    # Segment 2 has no weight, column 4 no segment; the padding's -9 has none either.
    logprob = jnp.array([[-9.0, -1.0, -4.0, -9.0, -3.0, -9.0, -2.0, -9.0]])
    batch = Batch(
        tokens=jnp.zeros((1, 8), jnp.int32),
        weights=jnp.array([[5.0, 2.0, 0.5, 0.0, 0.0, 5.0, -1.0, 5.0]]),
        segments=jnp.array([[1, 1, 1, 2, 2, 3, 3, 0]]),
        extras={"segment_id": jnp.array([[7, 8, 9, -1]])},
    )
    ours = sequences.sequence_scores(FixedPolicy(logprob).scores(batch), batch)
    np.testing.assert_array_equal(ours.logprob, [[-4, 0, 2, 0]])  # 2 * -1 + 0.5 * -4; -1 * -2
    np.testing.assert_array_equal(ours.length, [[2.5, 0, 1, 0]])
    np.testing.assert_array_equal(ours.live, [[True, False, True, False]])
    np.testing.assert_allclose(ours.mean_logprob, [[-1.6, 0, 2, 0]])


def test_without_columns_there_are_as_many_as_tokens():
    batch, policy = batch_of([-1.0, -2.0])
    bare = batch._replace(extras={})
    np.testing.assert_array_equal(sequences.sequence_scores(policy.scores(bare), bare).logprob[0], [-3, 0, 0, 0, 0, 0])
    with pytest.raises(InputError, match=r"\[1, 2\] columns"):
        sequences.segment_count(
            batch._replace(extras={"segment_id": jnp.zeros((4, 1)), "segment_n": jnp.zeros((4, 2))})
        )


def test_the_histogram_by_hand():
    live = jnp.array([True] * 5 + [False])
    bins = sequences.confidence(jnp.array([-jnp.inf, -100.0, -99.0, -0.5, 0.0, -2.0]), live)
    assert {name: mean.total for name, mean in bins.items() if mean.total} == {
        "confidence/-inf_to_-100": 2,
        "confidence/-100_to_-30": 1,
        "confidence/-1_to_0": 2,
    }
    assert all(mean.count == 5 for mean in bins.values())


def test_pair_metrics_by_hand():
    # Pair 1: sums -4 over 2 and -3 over 1: worse by the sum, better per token (-2 > -3); margin 0.5 - 0.25.
    # Pair 2: -5 against -5: a tie counts as ranked right; margin -1. Pair 3 has no rejected text, row 4 no pair.
    batch, policy = batch_of(([-1.0, -3.0], [-3.0]), ([-5.0], [-5.0]), ([-6.0], []), ([], []))
    ours = sequences.pair_scores(policy, batch, "dpo")
    np.testing.assert_array_equal(ours.live[:, 0], [True, True, False, False])
    metrics = sequences.pair_metrics(
        ours, jnp.array([[0.5], [1.0], [9.0], [9.0]]), jnp.array([[0.25], [2.0], [9.0], [0.0]])
    )
    assert {name: (float(mean.total), float(mean.count)) for name, mean in metrics.items()} == {
        "logprob_chosen": (-9, 2),
        "logprob_rejected": (-8, 2),
        "logprob_per_token_chosen": (-9, 3),
        "logprob_per_token_rejected": (-8, 2),
        "ranking_accuracy": (1, 2),
        "ranking_accuracy_per_token": (2, 2),
        "reward_chosen": (1.5, 2),
        "reward_rejected": (2.25, 2),
        "reward_margin": (-0.75, 2),
        "reward_accuracy": (1, 2),
        "incomplete": (1, 3),
        "confidence/-inf_to_-100": (0, 2),
        "confidence/-100_to_-30": (0, 2),
        "confidence/-30_to_-10": (0, 2),
        "confidence/-10_to_-3": (2, 2),  # of chosen texts: -4 and -5
        "confidence/-3_to_-1": (0, 2),
        "confidence/-1_to_0": (0, 2),
    }


def test_pairs_are_asked_for_by_name():
    batch, policy = batch_of([-1.0])
    with pytest.raises(
        InputError, match=r"'dpo' compares pairs: got tokens of shape \(4, 6\), expected \(B, 2, T\).*'pair'"
    ):
        sequences.pair_scores(policy, batch, "dpo")
    with pytest.raises(InputError, match=r"'dpo' compares with a reference policy, got None"):
        sequences.reference_pairs(None, batch, "dpo")
    with pytest.raises(InputError, match=r"needs extras\['segment_polarity'\].*polarities='both'"):
        sequences.is_right(batch, "kto")


def test_the_reference_gets_no_gradient():
    batch, policy = batch_of(([-1.0], [-2.0]))
    total = lambda x: jnp.sum(sequences.reference_pairs(FixedPolicy(x), batch, "dpo").chosen.logprob)
    assert not np.any(jax.grad(total)(policy.logprob))
