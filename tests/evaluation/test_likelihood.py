"""Held-out likelihood: by hand, and equal to the direct computation however the answers are batched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.evaluation.metrics import Evaluation, MetricSettings
from mtjax.evaluation.metrics.likelihood import Nats, held_out_loss, make_scorer
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.types import Batch, TokenScores


class HalfPolicy:
    """Gives each token the probability params["p"]."""

    def __init__(self, params):
        self.params = params

    def scores(self, batch):
        logprob = jnp.log(self.params["p"]) * jnp.ones(batch.tokens.shape)
        return TokenScores(logprob, logprob, logprob)


def batch_of(rows, ids, weights=None):
    """One batch from rows of segment numbers."""
    segments = np.array(rows, np.int32)
    weights = np.array(weights if weights is not None else segments > 0, np.float32)
    return Batch(segments + 2, weights, segments, {"segment_id": np.array(ids, np.int32)})


def test_by_hand():
    # Segment 1: two predicted tokens; segment 2: one (its first is not predicted); row 2: weight 2 on one token.
    batch = batch_of([[1, 1, 1, 2, 2, 0], [1, 1, 0, 0, 0, 0]], [[7, 3], [5, -1]], [[1] * 5 + [0], [9, 2, 0, 0, 0, 0]])
    batch.extras["segment_polarity"] = np.array([[1, 0], [1, 1]], np.float32)
    found = held_out_loss(make_scorer(HalfPolicy), {"p": jnp.float32(0.5)}, [batch])
    bit = np.log(2)
    assert found.ids.tolist() == [7, 3, 5]
    np.testing.assert_allclose(found.nats, [2 * bit, bit, 2 * bit], rtol=1e-6)
    np.testing.assert_array_equal(found.weight, [2, 1, 2])
    assert found.only(0).ids.tolist() == [3]
    assert found.only(1).ids.tolist() == [7, 5]
    right = Nats()(Evaluation([], [], scores=found._replace(polarity=np.ones(3))), MetricSettings())
    assert right["nats_per_token"].low == right["nats_per_token"].mean == pytest.approx(bit)
    assert right["nats_per_answer"].mean == pytest.approx(5 * bit / 3)
    both = Nats()(Evaluation([], [], scores=found), MetricSettings())
    assert {name: numbers.mean for name, numbers in both.items()} == pytest.approx(
        {"nats_per_token": bit, "nats_per_answer": 2 * bit, "nats_per_token_wrong": bit, "nats_per_answer_wrong": bit}
    )


def test_an_example_counts_once_and_an_empty_answer_not_at_all():
    params, score = {"p": jnp.float32(0.5)}, make_scorer(HalfPolicy)
    batch = batch_of([[1, 1, 2, 2]], [[0, 1]], [[1, 1, 0, 0]])
    assert held_out_loss(score, params, [batch, batch]).ids.tolist() == [0]


def test_an_impossible_token_of_weight_zero_does_not_matter():
    batch = batch_of([[1, 1, 1]], [[0]], [[0, 0, 0]])
    with pytest.raises(InputError, match="no held-out answer"):
        held_out_loss(make_scorer(HalfPolicy), {"p": jnp.float32(0)}, [batch])


def test_refuses_a_batch_without_ids():
    batch = batch_of([[1, 1]], [[0]])._replace(extras={})
    with pytest.raises(InputError, match="segment_id"):
        held_out_loss(make_scorer(HalfPolicy), {"p": jnp.float32(0.5)}, [batch])


def test_a_packed_model_batch_equals_each_answer_alone_and_compiles_once():
    config = DecoderConfig(
        vocab_size=13, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, mlp_width=16, max_length=16
    )
    model = make_language_model(config)
    made = []

    def policy_of(params):
        made.append(1)
        return make_policy(model, params, chunk=8)

    rng = np.random.default_rng(0)
    answers = [rng.integers(0, 13, size).astype(np.int32) for size in (3, 5, 4, 6)]
    tokens, segments = np.zeros((2, 10), np.int32), np.zeros((2, 10), np.int32)
    for number, answer in enumerate(answers):
        row, column = divmod(number, 2)
        start = len(answers[2 * row]) * column
        tokens[row, start : start + len(answer)] = answer
        segments[row, start : start + len(answer)] = column + 1
    ids = np.arange(4, dtype=np.int32).reshape(2, 2)
    batch = Batch(tokens, (segments > 0).astype(np.float32), segments, {"segment_id": ids})
    alone = np.stack([np.pad(answer, (0, 6 - len(answer))) for answer in answers])
    ones = np.stack([np.arange(6) < len(answer) for answer in answers]).astype(np.int32)
    logits = jax.jit(lambda params: model.logits(params, model.hidden(params, jnp.asarray(alone), jnp.asarray(ones))))
    score = make_scorer(policy_of)
    for seed in (0, 1):
        params = jax.jit(model.init)(jax.random.key(seed))
        found = held_out_loss(score, params, [batch])
        log_p = np.asarray(jax.nn.log_softmax(logits(params)))
        for number, answer in enumerate(answers):
            direct = -sum(log_p[number, t, token] for t, token in enumerate(answer[1:]))
            assert found.nats[number] == pytest.approx(direct, abs=1e-5)
    assert len(made) == 1
