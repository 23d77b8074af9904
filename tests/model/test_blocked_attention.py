"""Attention in blocks equals plain attention, and leaves out the blocks of which nothing is seen."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model import kernels
from mtjax.model.attention import attend, packed_mask
from mtjax.model.blocked_attention import block_of, blocked_attend
from tests.model.test_kernels import BOTH, CONFIG, SLIDES, arrays, check

CAPPED = dataclasses.replace(SLIDES, score_cap=1.5, query_scalar=5, attention="blocked")
FAR = jnp.int32(2**30)


def blocked(query, key, value, segments, window=FAR, cap=None, block=32):
    divisor = math.sqrt(query.shape[-1])
    return blocked_attend(query, key, value, segments, segments, jnp.int32(0), window, divisor, cap, block)


def plain(query, key, value, segments, window=FAR, cap=None):
    return attend(query, key, value, packed_mask(segments, window), cap=cap)


def test_it_equals_plain_attention():
    """Values and gradients with grouped heads, windows, a cap, another divisor, several segments and padding."""
    check(CAPPED, BOTH)


def test_it_equals_plain_attention_on_a_mesh():
    check(CAPPED, BOTH, make_mesh(MeshSpec(data=2, tensor=2, context=2)))


@pytest.mark.parametrize("order", ["descending", "repeated", "large"])
def test_segments_may_have_any_numbers(order):
    query, key, value, _ = arrays(length=128)
    numbers = {"descending": [3, 2, 1, 0], "repeated": [1, 2, 1, 3], "large": [900, 7, 901, 900]}[order]
    segments = jnp.asarray(np.repeat(numbers, 32)[None].repeat(2, 0)).at[1].set(1)
    own = blocked(query, key, value, segments)
    np.testing.assert_allclose(own, plain(query, key, value, segments), atol=2e-6)


def test_blocks_of_which_nothing_is_seen_are_not_read():
    """NaN stays out where no query of the block's rows reaches it: other segments, and what the window left behind."""
    query, key, value, _ = arrays(length=128)
    segments = jnp.asarray(np.repeat([1, 2], 64)[None].repeat(2, 0))
    bad = lambda x: x.at[:, :32].set(jnp.nan)
    expected = plain(query, key, value, segments)
    own = blocked(query, bad(key), bad(value), segments)
    assert np.isnan(own[:, :64]).all()
    assert np.isnan(plain(query, bad(key), bad(value), segments)[:, 64:]).all()
    np.testing.assert_allclose(own[:, 64:], expected[:, 64:], atol=2e-6)
    single = jnp.ones_like(segments)
    own = blocked(query, bad(key), bad(value), single, window=jnp.int32(20))
    expected = plain(query, key, value, single, jnp.int32(20))
    np.testing.assert_allclose(own[:, 64:], expected[:, 64:], atol=2e-6)


def test_scores_of_great_size_stay_finite():
    """Gradients of scores near 1e4 are rounding in float32, times 1e4: only their finiteness says something."""
    query, key, value, segments = arrays(length=96)
    total = lambda attention: lambda query: jnp.sum(jnp.square(attention(1e4 * query, key, value, segments)))
    own, gradient = jax.value_and_grad(total(blocked))(query)
    np.testing.assert_allclose(own, total(plain)(query), rtol=1e-4)
    assert np.isfinite(gradient).all()


def test_bfloat16_stays_bfloat16():
    query, key, value, segments = arrays(length=96)
    narrow = [x.astype(jnp.bfloat16) for x in (query, key, value)]
    own = blocked(*narrow, segments)
    assert own.dtype == jnp.bfloat16
    exact = plain(*(x.astype(jnp.float32) for x in narrow), segments)
    np.testing.assert_allclose(own.astype(jnp.float32), exact, atol=0.03)
    gradients = jax.grad(lambda *x: jnp.sum(blocked(*x, segments).astype(jnp.float32) ** 2), (0, 1, 2))(*narrow)
    assert {x.dtype for x in gradients} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize(
    ("length", "context", "block"),
    [
        (64, 1, None),
        (96, 1, 32),
        (100, 1, None),
        (128, 1, 64),
        (2048, 1, 64),
        (2048, 8, 64),
        (96, 3, 32),
        (96, 2, None),
    ],
)
def test_the_block_divides_what_a_device_has(length, context, block):
    assert block_of(length, context) == block
    choice = kernels.choose("auto", "cpu", kernels.Case(length, context))
    assert choice.name == ("plain" if block is None else "blocked")
    if block is None:
        with pytest.raises(InputError, match=f"model.attention='blocked' cannot be used.*{length}"):
            kernels.choose("blocked", "cpu", kernels.Case(length, context))


def test_a_model_of_two_layers_gives_the_same_hidden_states():
    from mtjax.model.language_model import make_language_model

    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 16, (2, 96)))
    segments = jnp.asarray(np.repeat([1, 2, 0], 32)[None].repeat(2, 0))
    of = lambda asked: make_language_model(dataclasses.replace(CONFIG, attention=asked))
    params = jax.jit(of("plain").init)(jax.random.key(0))
    hidden = [of(asked).hidden(params, tokens, segments) for asked in ("plain", "auto")]
    np.testing.assert_allclose(*hidden, atol=1e-5)
