"""Sampling with a backspace: the stack that a Python loop without a cache keeps, on any shape of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders.backspace import Backspace
from mtjax.sampling.engine import Request, make_engine
from mtjax.sampling.loop import draw_token
from mtjax.types import Batch

MARK, END, MOST = 3, 5, 14
MODEL = make_language_model(
    DecoderConfig(
        vocab_size=9, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_width=16,
        max_length=32,
    )
)  # fmt: skip
PROMPTS = [[1, 2, 7], [6, 4, 2, 1], [8]]


@pytest.fixture(scope="module")
def params():
    """Scaled up, so that what comes next depends on what stands before."""
    return jax.tree.map(lambda x: 20 * x if x.ndim > 1 else x, jax.jit(MODEL.init)(jax.random.key(2)))


@jax.jit
def logits_of(params, tokens, length):
    """Of the next token, with everything computed again."""
    segments = (jnp.arange(tokens.shape[1]) < length).astype(jnp.int32)[None]
    return MODEL.logits(params, MODEL.hidden(params, tokens, segments)[0, length - 1])


def by_hand(params, prompt, key, temperature=1.0):
    """The stack of one row and how many draws were backspaces, in Python."""
    stack, backs = [], 0
    for step in range(MOST):
        row = np.zeros((1, 32), np.int32)
        row[0, : len(prompt) + len(stack)] = [*prompt, *stack]
        logits = logits_of(params, jnp.asarray(row), len(prompt) + len(stack))
        log_probs = jax.nn.log_softmax(logits / temperature)[None]
        token = int(draw_token(jax.random.fold_in(key, step)[None], log_probs)[0])
        if token == MARK:
            stack, backs = stack[:-1], backs + 1
            continue
        stack.append(token)
        if token == END:
            break
    return stack, backs


def draw(params, config, slots):
    """Six answers of each prompt, by prompt and number."""
    requests = [Request(prompt, number, range(6)) for number, prompt in enumerate(PROMPTS)]
    engine = make_engine(MODEL, config, slots=slots, end_ids=[END], pad_id=0)
    return sorted(engine(params, requests, 0), key=lambda answer: answer[:2])


@pytest.mark.parametrize("slots", [5, 18])
def test_it_is_the_stack_of_a_loop_without_cache(params, slots):
    config = SamplingConfig(max_new_tokens=MOST, decoder=Backspace(mark_id=MARK), temperature=1.3)
    drawn, total = draw(params, config, slots), 0
    for answer in drawn:
        prompt = PROMPTS[answer.request]
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), answer.request), answer.sample)
        stack, backs = by_hand(params, prompt, key, 1.3)
        total += backs
        assert list(answer.tokens) == stack
        assert answer.finished == (stack[-1:] == [END])
        # The log-probabilities are those of the policy on the answer that stayed.
        text = [*prompt, *stack]
        tokens = jnp.zeros((1, 32), jnp.int32).at[0, : len(text)].set(jnp.asarray(text))
        segments = (jnp.arange(32) < len(text)).astype(jnp.int32)[None]
        scores = score(params, Batch(tokens, jnp.ones((1, 32)), segments, {}))[0]
        np.testing.assert_allclose(answer.logprobs, scores[len(prompt) : len(text)], atol=2e-5)
    assert total > 8
    assert len({answer.tokens for answer in drawn}) > 8


@jax.jit
def score(params, batch):
    return make_policy(MODEL, params).scores(batch).logprob


def test_without_a_mark_in_reach_it_is_the_plain_decoder(params):
    plain, erasing = (
        draw(params, SamplingConfig(max_new_tokens=MOST, **decoder), 4)
        for decoder in ({}, {"decoder": Backspace(mark_id=1000)})
    )
    assert [answer.tokens for answer in plain] == [answer.tokens for answer in erasing]
    for a, b in zip(plain, erasing, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-6)


def test_stop_texts_are_refused():
    config = SamplingConfig(max_new_tokens=4, decoder=Backspace(mark_id=MARK), stop=("x",))
    with pytest.raises(InputError, match="a stop text may not stay"):
        make_engine(MODEL, config, slots=2, end_ids=[END], decode=str)
