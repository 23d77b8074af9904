"""Paper 33, LM-Infinite: the golden mask, and short texts as without it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.model.language_model import make_language_model
from tests.model import test_lm_infinite as own


def test_the_golden_mask():
    own.test_the_golden_mask()


@pytest.mark.slow  # tests/model/test_lm_infinite.py has it by default
@pytest.mark.usefixtures("one_device")
def test_short_texts_are_as_with_full_attention():
    short, ones = own.TOKENS[:, :3], jnp.ones((1, 3), jnp.int32)
    model, plain = make_language_model(own.FAR), make_language_model(dataclasses.replace(own.PLAIN, score_cap=5.0))
    params = jax.jit(model.init)(jax.random.key(0))
    found = [jax.jit(one.hidden)(params, short, ones) for one in (model, plain)]
    np.testing.assert_allclose(*found, atol=1e-6)
