"""Rotary frequencies against the golden numbers of published checkpoints, and the rotation by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model.rope import RopeScaling, frequencies, rotary, rotate

LLAMA3 = {"kind": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_length": 8192}
# theta, head width, scaling, expected inverse frequencies by pair (10 digits), factor on cos and sin
GOLDEN = {
    "Llama-3.1-8B": (
        *(5e5, 128, RopeScaling(factor=8.0, **LLAMA3)),
        {16: 3.760603093e-02, 29: 2.166570764e-03, 30: 1.371893568e-03, 32: 5.248461610e-04, 63: 3.068925989e-07},
        1.0,
    ),
    "Llama-3.2-1B": (
        *(5e5, 64, RopeScaling(factor=32.0, **LLAMA3)),
        {15: 1.290547928e-03, 16: 4.295567966e-04, 17: 9.708287803e-05, 31: 9.418306725e-08},
        1.0,
    ),
    "Llama-3.2-3B": (
        *(5e5, 128, RopeScaling(factor=32.0, **LLAMA3)),
        {29: 2.118406997e-03, 30: 1.290547928e-03, 34: 9.708287803e-05, 63: 7.672314972e-08},
        1.0,
    ),
    "Qwen2.5 YaRN": (
        *(1e6, 128, RopeScaling(kind="yarn", factor=4.0, original_length=32768)),
        {
            0: 1.0,
            16: 3.162277660e-02,
            23: 6.978305849e-03,
            30: 1.064360981e-03,
            39: 6.490394321e-05,
            63: 3.102344402e-07,
        },
        1.138629436,
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_frequencies(name):
    theta, head_dim, scaling, expected, factor = GOLDEN[name]
    inverse, ours = frequencies(theta, head_dim, scaling)
    for pair, value in expected.items():
        np.testing.assert_allclose(inverse[pair], value, rtol=1e-8)
    np.testing.assert_allclose(ours, factor, rtol=1e-9)


def test_linear_divides_and_dynamic_grows_with_length():
    plain, _ = frequencies(1e4, 8)
    np.testing.assert_allclose(frequencies(1e4, 8, RopeScaling(kind="linear", factor=2.0))[0], plain / 2)
    dynamic = RopeScaling(kind="dynamic", factor=2.0)
    at = lambda length, scaling: rotary(jnp.arange(length)[None], jnp.array([[length]]), 1e4, 8, scaling, 8)
    np.testing.assert_allclose(at(8, dynamic)[0], at(8, None)[0], rtol=1e-6)
    # At length 16 of 8: base 1e4 * (2 * 16 / 8 - 1)^(8 / 6) = 1e4 * 3^(4/3).
    cos, _ = at(16, dynamic)
    base = 1e4 * 3 ** (4 / 3)
    np.testing.assert_allclose(cos[0, 15], np.cos(15 * base ** (-np.arange(0, 8, 2) / 8)), rtol=1e-5)


def test_a_quarter_turn_by_hand():
    # Pairs are (0, 2) and (1, 3). Turning pair 0 by 90 degrees sends (1, 3) to (-3, 1); pair 1 stays.
    x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    cos, sin = jnp.array([[[0.0, 1.0]]]), jnp.array([[[1.0, 0.0]]])
    np.testing.assert_allclose(rotate(x, cos, sin).ravel(), [-3.0, 2.0, 1.0, 4.0])


def test_a_factor_below_one_is_refused():
    with pytest.raises(InputError, match="factor=0.5"):
        RopeScaling(factor=0.5)
