"""Attention over the pages of a cache, of all rows together and row by row, against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.model.cached_attention import PAGE, attend_by_page, layers_apart
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model

ROWS, GROUPS, SHARED, WIDTH, PAGES = 3, 2, 2, 8, 3


def expected(query, keys, values, positions, window, cap):
    """Each query by itself: scores of the positions that it sees, their softmax, the weighted values."""
    out = np.zeros(query.shape)
    for row, time, head in np.ndindex(query.shape[:3]):
        own = keys[:, row, head // SHARED].swapaxes(1, 2).reshape(-1, WIDTH)
        other = values[:, row, head // SHARED].reshape(-1, WIDTH)
        seen = [slot for slot in range(len(own)) if 0 <= positions[row, time] - slot < window]
        scores = own[seen] @ query[row, time, head] / np.sqrt(WIDTH)
        scores = scores if cap is None else cap * np.tanh(scores / cap)
        weights = np.exp(scores - scores.max())
        out[row, time, head] = weights @ other[seen] / weights.sum()
    return out


@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("window", [2**30, 70])
@pytest.mark.parametrize("count", [1, 7])  # sums, and matrix products
def test_both_ways_equal_numpy(count, window, cap):
    rng = np.random.default_rng(count)
    query = rng.normal(size=(ROWS, count, GROUPS * SHARED, WIDTH))
    keys = rng.normal(size=(PAGES, ROWS, GROUPS, WIDTH, PAGE))
    values = rng.normal(size=(PAGES, ROWS, GROUPS, PAGE, WIDTH))
    positions = np.array([[3], [PAGE - 1], [2 * PAGE + 40]]) + np.arange(count)
    given = [jnp.asarray(array, jnp.float32) for array in (query, keys, values)]
    given += [jnp.asarray(positions, jnp.int32), jnp.int32(window), WIDTH**0.5, cap]
    right = expected(query, keys, values, positions, window, cap)
    for row_by_row in (False, True):
        np.testing.assert_allclose(attend_by_page(*given, row_by_row), right, rtol=2e-5, atol=2e-6)


def test_a_row_reads_the_pages_that_it_uses():
    """What stands in pages behind a row's position may be anything, and does not change its bits."""
    rng = np.random.default_rng(0)
    shape = (PAGES, ROWS, GROUPS, WIDTH, PAGE)
    query, keys = rng.normal(size=(ROWS, 1, GROUPS * SHARED, WIDTH)), rng.normal(size=shape)
    values, positions = keys.swapaxes(3, 4), jnp.asarray([[3], [PAGE], [2 * PAGE]], jnp.int32)
    given = lambda: [jnp.asarray(each, jnp.float32) for each in (query, keys, values)]
    attend = jax.jit(lambda *each: attend_by_page(*each, positions, jnp.int32(2**30), 1.0, None, True))
    plain = attend(*given())
    for row in range(ROWS - 1):
        keys[row + 1 :, row], values[row + 1 :, row] = np.nan, np.nan
    assert np.array_equal(attend(*given()), plain)


def test_layers_of_one_kind_are_traced_once():
    """A model of 24 layers has a program for a token that grows by its calls alone."""
    assert layers_apart()
    ids, sizes = jax.ShapeDtypeStruct((2, 1), jnp.int32), []
    for layers in (6, 24):
        config = DecoderConfig(vocab_size=8, width=8, layers=layers, heads=1, kv_heads=1, head_dim=4)
        model = make_language_model(config)
        params = jax.eval_shape(model.init, jax.random.key(0))
        cache = jax.eval_shape(functools.partial(model.init_cache, 2, 64))
        text = jax.jit(model.decode).lower(params, cache, ids, ids).as_text()
        sizes.append(text.count("stablehlo.dot_general"))
    assert sizes[0] == sizes[1] > 0
