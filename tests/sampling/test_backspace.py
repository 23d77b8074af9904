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
from mtjax.sampling.loop import make_sampler, row_keys
from mtjax.types import Batch

MARK, END, MOST = 3, 5, 14
MODEL = make_language_model(
    DecoderConfig(
        vocab_size=9, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, mlp_width=16,
        max_length=32,
    )
)  # fmt: skip
PROMPTS = jnp.array([[1, 2, 7, 0], [6, 4, 2, 1], [8, 0, 0, 0]])
LENGTHS = jnp.array([3, 4, 1])


@pytest.fixture(scope="module")
def params():
    """Scaled up, so that what comes next depends on what stands before."""
    return jax.tree.map(lambda x: 20 * x if x.ndim > 1 else x, MODEL.init(jax.random.key(2)))


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
        token = int(jax.random.categorical(jax.random.fold_in(key, step), jax.nn.log_softmax(logits / temperature)))
        if token == MARK:
            stack, backs = stack[:-1], backs + 1
            continue
        stack.append(token)
        if token == END:
            break
    return stack, backs


def test_it_is_the_stack_of_a_loop_without_cache(params):
    config = SamplingConfig(max_new_tokens=MOST, decoder=Backspace(mark_id=MARK), temperature=1.3)
    sample = make_sampler(MODEL, config, end_ids=[END], pad_id=0)
    keys = jnp.stack([row_keys(0, [row] * 6, range(6)) for row in range(3)])
    drawn = sample(params, PROMPTS, LENGTHS, keys)
    total = 0
    for row, number in np.ndindex(3, 6):
        stack, backs = by_hand(params, PROMPTS[row, : LENGTHS[row]].tolist(), keys[row, number], 1.3)
        total += backs
        assert drawn.lengths[row, number] == len(stack)
        assert drawn.tokens[row, number].tolist() == stack + [0] * (MOST - len(stack))
        assert bool(drawn.finished[row, number]) == (stack[-1:] == [END])
        assert not drawn.logprob[row, number, len(stack) :].any()
    assert total > 8
    assert len({tuple(row) for row in drawn.tokens.reshape(-1, MOST).tolist()}) > 8
    # The log-probabilities are those of the policy on the answers that stayed.
    row, number = np.unravel_index(np.argmax(drawn.lengths), drawn.lengths.shape)
    text = [*PROMPTS[row, : LENGTHS[row]].tolist(), *drawn.tokens[row, number, : drawn.lengths[row, number]].tolist()]
    tokens = jnp.zeros((1, 32), jnp.int32).at[0, : len(text)].set(jnp.asarray(text))
    segments = (jnp.arange(32) < len(text)).astype(jnp.int32)[None]
    scores = make_policy(MODEL, params).scores(Batch(tokens, 0.0 * tokens, segments, {})).logprob[0]
    own = drawn.logprob[row, number, : drawn.lengths[row, number]]
    np.testing.assert_allclose(own, scores[LENGTHS[row] : len(text)], atol=1e-5)


def test_without_a_mark_in_reach_it_is_the_plain_decoder(params):
    keys = row_keys(0, [0, 1, 2], [0, 0, 0])
    plain, erasing = (
        make_sampler(MODEL, SamplingConfig(max_new_tokens=MOST, **decoder), end_ids=[END], pad_id=0)
        for decoder in ({}, {"decoder": Backspace(mark_id=1000)})
    )
    for a, b in zip(plain(params, PROMPTS, LENGTHS, keys), erasing(params, PROMPTS, LENGTHS, keys), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_stop_texts_are_refused():
    config = SamplingConfig(max_new_tokens=4, decoder=Backspace(mark_id=MARK), stop=("x",))
    with pytest.raises(InputError, match="a stop text may not stay"):
        make_sampler(MODEL, config, end_ids=[END], decode=str)
