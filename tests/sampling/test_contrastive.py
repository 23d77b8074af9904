"""Contrastive decoding: the formula by hand, a Python loop without a cache as oracle, and how it is asked for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.data.tasks import CompletionTask, MistakeTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders import proposal
from mtjax.sampling.decoders.contrastive import Contrastive, contrasted
from mtjax.sampling.decoding import Decoding, asked
from mtjax.sampling.engine import Request, make_engine
from mtjax.sampling.loop import draw_token
from mtjax.sampling.sampler import Contrasted
from mtjax.sampling.texts import sample_texts

END, MOST = 5, 10
MODEL = make_language_model(
    DecoderConfig(vocab_size=9, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_width=16, max_length=64)
)
REQUESTS = [
    Request([1, 2, 7], 0, range(3), [6, 4, 2, 1, 3]),
    Request([6, 4], 1, range(3), [2]),
    Request([*range(8)] * 5, 2, range(2), [8]),
]


@pytest.fixture(scope="module")
def params():
    """Scaled up, so that what comes next depends on what stands before."""
    return jax.tree.map(lambda x: 12 * x if x.ndim > 1 else x, jax.jit(MODEL.init)(jax.random.key(2)))


def test_the_formula_by_hand():
    """p = (.5, .3, .15, .05), q = (.1, .6, .2, .1): the last token is below a fifth of the most likely one."""
    p, q = np.array([[0.5, 0.3, 0.15, 0.05]]), np.array([[0.1, 0.6, 0.2, 0.1]])
    found = np.exp(contrasted(jnp.log(p) + 3, jnp.log(q) - 1, 2.0, 0.2))
    np.testing.assert_allclose(found, [[0.5 * 25, 0.3 / 4, 0.15 * 0.75**2, 0]], rtol=1e-5)
    np.testing.assert_allclose(np.exp(contrasted(jnp.log(p), jnp.log(q), 0.0, 1e-9)), p, rtol=1e-6)
    assert np.isfinite(contrasted(jnp.log(p), jnp.array([[-1e4, 0, 0, 0]]), 1.0, 0.1)[0, 0])
    with pytest.raises(InputError, match="plausible=0"):
        Contrastive(plausible=0.0)


def engine(config, slots=3):
    return make_engine(MODEL, config, slots=slots, end_ids=[END], pad_id=0)


@jax.jit
def logits_of(params, tokens, length):
    """Of the next token, with everything computed again."""
    segments = (jnp.arange(tokens.shape[1]) < length).astype(jnp.int32)[None]
    return MODEL.logits(params, MODEL.hidden(params, tokens, segments)[:, length - 1])


def by_hand(params, request, sample, seed, config):
    """Tokens, own and proposal log-probabilities, with both texts computed again for every token."""
    decoder = config.decoder
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), request.problem), sample)
    tokens, own, proposed = [], [], []
    for step in range(MOST):
        rows = []
        for prompt in (request.ids, request.against):
            ids = [*prompt, *tokens]
            rows.append(logits_of(params, jnp.asarray([ids + [0] * (64 - len(ids))]), len(ids)))
        combined = contrasted(*rows, decoder.weight, decoder.plausible)
        log_probs = proposal(combined, config.temperature, config.top_k, config.top_p)
        token = int(draw_token(jax.random.fold_in(key, step)[None], log_probs)[0])
        tokens.append(token)
        own.append(float(jax.nn.log_softmax(rows[0])[0, token]))
        proposed.append(float(log_probs[0, token]))
        if token == END:
            break
    return tokens, own, proposed


def test_the_engine_draws_what_a_python_loop_draws(params):
    """Prompts of different lengths, refilled slots, two chunks of a prompt; the same answers alone and in any order."""
    config = SamplingConfig(0.8, max_new_tokens=MOST, decoder=Contrastive(1.5, 0.05))
    found = {one[:2]: one for one in engine(config)(params, REQUESTS, 7)}
    assert len(found) == 8
    for (request, sample), answer in found.items():
        tokens, own, proposed = by_hand(params, REQUESTS[request], sample, 7, config)
        assert list(answer.tokens) == tokens
        np.testing.assert_allclose(answer.logprobs, own, atol=1e-4)  # the bound of sampling; 1.2e-5 with AVX-512
        np.testing.assert_allclose(answer.proposal_logprobs, proposed, atol=1e-4)
        assert answer.finished == (tokens[-1] == END)
    again = {(2 - one.request, one.sample): one for one in engine(config)(params, REQUESTS[::-1], 7)}
    alone = list(engine(config)(params, REQUESTS[1:2], 7))
    assert {name: one.tokens for name, one in again.items()} == {name: one.tokens for name, one in found.items()}
    assert all(one.logprobs == found[1, one.sample].logprobs for one in alone)


@pytest.mark.slow
def test_the_two_prompts_may_be_read_in_other_chunks():
    """One waits while the other reads a larger chunk, row by row: equal bits alone, log-probs of the entire text."""
    config = dataclasses.replace(MODEL.config, heads=2, kv_heads=2, head_dim=64, max_length=256)
    model = make_language_model(config)
    params = jax.tree.map(lambda x: 4 * x if x.ndim > 1 else x, jax.jit(model.init)(jax.random.key(2)))
    text = lambda size, first: [first, *[3, 8, 1, size % 4] * 60][:size]
    sizes = [(64, 129), (65, 192), (128, 65), (193, 64)]
    requests = [Request(text(one, 6), number, (0,), text(other, 2)) for number, (one, other) in enumerate(sizes)]
    draw = make_engine(model, SamplingConfig(max_new_tokens=4, decoder=Contrastive()), slots=2, end_ids=[END], pad_id=0)
    together = {one.request: one[2:] for one in draw(params, requests, 0)}
    assert together == {3 - one.request: one[2:] for one in draw(params, requests[::-1], 0)}
    for number, request in enumerate(requests):
        (alone,) = draw(params, [request], 0)
        assert alone[2:] == together[number]
        ids = jnp.asarray([[*request.ids, *alone.tokens]])
        logits = model.logits(params, model.hidden(params, ids, jnp.ones_like(ids)))[0, len(request.ids) - 1 : -1]
        expected = jax.nn.log_softmax(logits)[jnp.arange(len(alone.tokens)), jnp.asarray(alone.tokens)]
        np.testing.assert_allclose(alone.logprobs, expected, atol=1e-4)


def test_without_weight_it_decodes_after_the_first_prompt(params):
    plain = SamplingConfig(0.8, max_new_tokens=MOST)
    none = dataclasses.replace(plain, decoder=Contrastive(0.0, 1e-9))
    single = [one._replace(against=()) for one in REQUESTS]
    assert {one[:3] for one in engine(plain)(params, single, 0)} == {
        one[:3] for one in engine(none)(params, REQUESTS, 0)
    }


def test_two_prompts_for_such_a_decoder_and_one_for_others(params):
    contrast = SamplingConfig(decoder=Contrastive(), max_new_tokens=4)
    with pytest.raises(InputError, match="reads two prompts for each answer, and here is one"):
        list(engine(contrast)(params, [Request([1], 0)], 0))
    with pytest.raises(InputError, match="a second prompt, which the decoder does not read"):
        list(engine(SamplingConfig(max_new_tokens=4))(params, REQUESTS, 0))


def test_a_run_is_asked_with_both_prefixes():
    tokenizer = load_tokenizer("bytes")
    task, problem = MistakeTask(decode_prefix="correct"), Problem("a", "2+3?")
    contrast, plain = SamplingConfig(decoder=Contrastive()), SamplingConfig()
    right, wrong = (task.prompt(problem, polarity, tokenizer) for polarity in (True, False))
    assert asked(task, problem, None, tokenizer, plain) == right
    assert asked(task, problem, None, tokenizer, contrast) == asked(task, problem, True, tokenizer, contrast)
    assert asked(task, problem, True, tokenizer, contrast) == Contrasted(right, wrong)
    assert asked(task, problem, False, tokenizer, contrast) == Contrasted(wrong, right)
    decoding = Decoding(tokenizer, task)
    assert decoding.asked("2+3?", contrast, "wrong") == Contrasted(wrong, right)
    assert decoding.asked("2+3?", plain, "wrong") == wrong
    for refused in (Decoding(tokenizer), Decoding(tokenizer, CompletionTask())):
        with pytest.raises(InputError, match="prefixes of right and wrong answers"):
            refused.asked("2+3?", contrast)
    with pytest.raises(InputError, match="not with --raw"):
        decoding.asked("2+3?", contrast, raw=True)


def test_texts_of_both_prompts():
    """`sample_texts` encodes both; the answer continues the first."""
    model = make_language_model(
        DecoderConfig(vocab_size=264, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, mlp_width=8, max_length=64)
    )
    params, tokenizer = jax.jit(model.init)(jax.random.key(0)), load_tokenizer("bytes")
    config = SamplingConfig(max_new_tokens=4, decoder=Contrastive())
    texts, ids = (
        sample_texts(model, params, tokenizer, [Contrasted(*both)], config, 0)
        for both in (("ab", "xyz"), (encode_prompt(tokenizer, "ab"), encode_prompt(tokenizer, "xyz")))
    )
    assert texts == ids
