"""Paper 44, Min-K% Prob: the golden value, its ends, and a tiny model that has memorised some texts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.data.membership import lowercase_ratio, min_k, per_zlib, rates
from mtjax.data.problem import Problem
from mtjax.data.tokenizer import load_tokenizer
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.membership import Membership
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.runs.loading import Loaded
from mtjax.runs.text_scores import TextModel
from mtjax.types import Batch

GOLDEN = np.array([-0.1, -5, -2, -0.3, -7, -1, -0.2, -0.4, -3, -0.05])


def test_min_k_by_hand():
    assert min_k(GOLDEN, 20) == -6.0  # the mean of -7 and -5
    assert min_k(GOLDEN, 30) == -5.0
    assert min_k(GOLDEN, 100) == pytest.approx(GOLDEN.mean())
    assert min_k(GOLDEN[:3], 20) == -5.0  # at least one token, where the authors' code gives NaN
    assert np.isnan(min_k(GOLDEN[:0]))


def test_the_baselines_by_hand():
    text = "abcabcabcabcabcabc"
    assert per_zlib(GOLDEN, text) == pytest.approx(GOLDEN.mean() / 13)  # zlib needs 13 bytes for it
    assert lowercase_ratio(np.array([-1.0, -3.0]), np.array([-6.0])) == 3.0
    assert rates(np.array([3.0, 4.0, np.nan]), np.array([1.0, 2.0])) == (1.0, 1.0)
    area, found = rates(np.array([1.0, 3.0]), np.arange(20.0) / 9)
    assert area == pytest.approx((9.5 / 20 + 1) / 2)  # 9 scores below 1 and one equal; all below 3
    assert found == 0.5


def texts(count, seed):
    rng = np.random.default_rng(seed)
    words = ["tom", "has", "two", "red", "hats", "and", "sells", "nine", "old", "cats", "for", "six", "nuts", "Ann"]
    return [" ".join(rng.choice(words, 9)) for _ in range(count)]


@pytest.fixture(scope="module")
def tiny():
    """A model with random weights, and the same one after too many passes over some texts."""
    tokenizer = load_tokenizer("bytes")
    model = make_language_model(DecoderConfig(vocab_size=tokenizer.vocab_size, width=64, layers=1, mlp_width=128))
    params = jax.jit(model.init)(jax.random.key(0))
    seen = texts(16, 0)
    ids = [[tokenizer.bos_id, *tokenizer.encode(text).ids][:48] for text in seen]
    tokens = np.array([own + [tokenizer.pad_id] * (48 - len(own)) for own in ids], np.int32)
    segments = np.array([[1] * len(own) + [0] * (48 - len(own)) for own in ids], np.int32)
    batch = Batch(jnp.asarray(tokens), jnp.asarray(segments > 0, jnp.float32), jnp.asarray(segments), {})
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 200))  # a constant rate ends in a spike on some machines

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            loss = lambda p: -make_policy(model, p).scores(batch).logprob.sum() / batch.weights.sum()
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), length=200)

    (trained, _), losses = train(params)
    assert losses[-1] < 0.3 < losses[0]
    return model, tokenizer, params, trained, seen


def test_texts_that_a_tiny_model_memorised_are_found_and_without_training_nothing_is(tiny):
    model, tokenizer, untrained, trained, seen = tiny
    unseen = texts(16, 1)
    problems = lambda some: iter([Problem(f"p{n}", text) for n, text in enumerate(some)])
    for params, least, most in ((trained, 0.95, 1.0), (untrained, 0.35, 0.65)):
        scorer = TextModel(Loaded(model, params, tokenizer), rows=16)
        subject = Subject(lambda: problems(seen), against=lambda: problems(unseen), score=scorer.logprobs)
        found = Membership()(subject)
        table = {row[0]: row[1:] for row in found.tables[0].rows}
        assert least <= table["min 20%"][0] <= most
        assert 0.3 < table["words alone, no model"][0] < 0.7  # the two sets do not differ in topic
        assert {"perplexity", "zlib", "lower case", "min 5%", "min 60%"} <= table.keys()
    # planted truth in place of other texts
    both = [*seen, *unseen]
    truth = {n: frozenset({"*"}) for n in range(len(seen))}
    scorer = TextModel(Loaded(model, trained, tokenizer), rows=16)
    found = Membership()(Subject(lambda: problems(both), score=scorer.logprobs, truth=truth))
    assert {row[0]: row[1] for row in found.tables[0].rows}["min 20%"] > 0.95
    assert sum(flag.number < 16 for flag in found.flags) / len(found.flags) > 0.9


@pytest.mark.slow
def test_scores_are_those_of_the_policy_whatever_stands_beside(tiny):
    model, tokenizer, params, _, seen = tiny
    scorer = TextModel(Loaded(model, params, tokenizer), rows=16)
    alone = scorer.logprobs([("", seen[0])])[0]
    ids = jnp.asarray([[tokenizer.bos_id, *tokenizer.encode(seen[0]).ids]])
    batch = Batch(ids, jnp.ones(ids.shape), jnp.ones(ids.shape, jnp.int32), {})
    np.testing.assert_allclose(alone, make_policy(model, params).scores(batch).logprob[0, 1:], atol=1e-5)
    after = scorer.logprobs([("", "x"), (seen[0][:9], seen[0][9:]), ("", "")])
    np.testing.assert_allclose(after[1], alone[9:], atol=1e-5)
    assert [len(one) for one in after] == [1, len(ids[0]) - 10, 0]
    assert scorer.embed(["", "ab"]).shape == (2, 64)
    p = scorer.choices([seen[0][:9]], ["ab", "cd"])
    nats = [one.sum() for one in scorer.logprobs([(seen[0][:9], answer) for answer in ("ab", "cd")])]
    np.testing.assert_allclose(p[0, 0], 1 / (1 + np.exp(nats[1] - nats[0])), rtol=1e-5)


def test_scores_of_one_side_alone_have_no_rates():
    assert np.isnan(rates(np.array([np.nan]), np.ones(5))).all()
    assert np.isnan(rates(np.ones(5), np.array([]))).all()
