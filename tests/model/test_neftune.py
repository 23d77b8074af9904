"""NEFTune: noise on embeddings, by its bounds, apart from evaluation, with an adapter and a value head."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.neftune import embedding_noise
from mtjax.model.value_head import ValueHead

SHAPE = DecoderConfig(vocab_size=16, width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=16)
NOISY = dataclasses.replace(SHAPE, neftune_alpha=5.0)
TOKENS, SEGMENTS = jnp.arange(12).reshape(1, 12) % 16, jnp.array([[1] * 8 + [2] * 2 + [0] * 2])


def test_the_size_of_the_noise_is_that_of_each_text():
    """5 / sqrt(8 * 16) in a text of 8 tokens, 5 / sqrt(2 * 16) in one of 2, none at padding."""
    noise = np.abs(embedding_noise(jax.random.key(0), 5.0, SEGMENTS, jnp.zeros((1, 12, 4096)))[0])
    for part, length in ((slice(0, 8), 8), (slice(8, 10), 2)):
        bound = 5 / np.sqrt(length * 4096)
        assert 0.99 * bound < noise[part].max() <= bound
        np.testing.assert_allclose(noise[part].mean(), bound / 2, rtol=0.05)
    assert not noise[10:].any()


def test_noise_is_in_training_alone_and_follows_the_key():
    model, plain = make_language_model(NOISY), make_language_model(SHAPE)
    assert plain.with_noise is None
    params = jax.jit(plain.init)(jax.random.key(0))
    hidden = lambda params: model.hidden(params, TOKENS, SEGMENTS)
    quiet = plain.hidden(params, TOKENS, SEGMENTS)
    np.testing.assert_array_equal(hidden(params), quiet)  # evaluation, the reference, a fresh model
    one, same, other = (hidden(model.with_noise(params, jax.random.key(k))) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other)[:, :10].max() > 1e-3
    assert np.abs(one - quiet)[:, :10].max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"adapter": Lora(rank=2)}, {"value_head": ValueHead(dropout=0.0)}])
def test_it_reaches_the_base_of_an_adapter_and_passes_a_value_head(more):
    model = make_language_model(dataclasses.replace(NOISY, **more))
    params = jax.jit(model.init)(jax.random.key(0))
    quiet, noisy = (model.hidden(x, TOKENS, SEGMENTS) for x in (params, model.with_noise(params, jax.random.key(1))))
    assert np.abs(noisy - quiet)[:, :10].max() > 1e-3


def test_a_strength_out_of_bounds_is_refused():
    with pytest.raises(InputError, match=r"model.neftune_alpha=0.0"):
        DecoderConfig(neftune_alpha=0.0)
