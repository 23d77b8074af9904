"""The contract of every registered decoder, and one value by hand for each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.registry import summary
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders import DECODERS
from mtjax.sampling.decoders.base import stateless
from mtjax.sampling.decoders.min_p import MinP
from mtjax.sampling.decoders.repetition_penalty import RepetitionPenalty
from mtjax.sampling.engine import Request, make_engine

LOGITS = 2 * jax.random.normal(jax.random.key(0), (3, 17))
SETTINGS = [(1.0, 0, 1.0), (0.7, 5, 0.9), (2.0, 0, 0.5)]
every_decoder = pytest.mark.parametrize("name", DECODERS)


def steps(functions, logits=LOGITS, count=3):
    """Log-probabilities of some steps that draw the most likely token."""
    state, found = functions.init(*logits.shape), []
    for _ in range(count):
        log_probs, state = functions.step(logits, state)
        state = functions.observe(jnp.argmax(log_probs, axis=-1).astype(jnp.int32), state)
        found.append(log_probs)
    return jnp.stack(found)


@every_decoder
@pytest.mark.parametrize("settings", SETTINGS)
def test_log_probabilities_are_normalised(name, settings):
    found = steps(DECODERS[name]()(*settings))
    assert found.shape == (3, *LOGITS.shape)
    np.testing.assert_allclose(jnp.exp(found).sum(-1), 1, atol=1e-5)


@every_decoder
def test_temperature_zero_is_the_limit(name):
    """All probability on one token: the one that a very low temperature gives nearly all to."""
    zero, low = (steps(DECODERS[name]()(temperature, 0, 1.0), count=1)[0] for temperature in (0.0, 1e-3))
    np.testing.assert_array_equal(jnp.sort(zero)[:, -2:], [[-np.inf, 0]] * 3)
    np.testing.assert_array_equal(jnp.argmax(zero, -1), jnp.argmax(low, -1))
    assert (jnp.max(low, -1) > -1e-3).all()


@every_decoder
@pytest.mark.parametrize("settings", [*SETTINGS, (0.0, 0, 1.0)])
def test_compiled_equals_plain(name, settings):
    functions = DECODERS[name]()(*settings)
    plain = steps(functions)
    np.testing.assert_allclose(jax.jit(lambda logits: steps(functions, logits))(LOGITS), plain, atol=1e-5)


@every_decoder
def test_rows_do_not_depend_on_each_other(name):
    functions = DECODERS[name]()(0.7, 5, 0.9)
    np.testing.assert_array_equal(steps(functions)[:, 1:], steps(functions, LOGITS[1:]))


@every_decoder
def test_the_state_keeps_its_shape(name):
    """A `while_loop` requires it."""
    functions = DECODERS[name]()(1.0, 0, 1.0)
    state = functions.init(*LOGITS.shape)
    later = functions.observe(jnp.zeros(3, jnp.int32), functions.step(LOGITS, state)[1])
    like = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert like(later) == like(state)


@every_decoder
def test_a_decoder_is_documented_and_hashable(name):
    decoder = DECODERS[name]()
    assert hash(decoder) == hash(DECODERS[name]())
    assert summary(DECODERS[name]).endswith(".")


# By hand; those of temperature, top-k and top-p are in test_loop.py.


def test_min_p_by_hand():
    """Probabilities .5 .25 .15 .1; 0.4 times .5 is .2: two tokens stay, with 2/3 and 1/3."""
    found = steps(MinP(0.4)(1.0, 0, 1.0), jnp.log(jnp.array([[0.25, 0.5, 0.1, 0.15]])), 1)
    np.testing.assert_allclose(jnp.exp(found[0]), [[1 / 3, 2 / 3, 0, 0]], atol=1e-6)


def test_repetition_penalty_by_hand():
    """Logits 2, 1, -1 and penalty 2: token 0 is drawn and has logit 1, then token 0 again (the first of two), then
    token 0 still has 1; a drawn token 2 would have -2."""
    found = steps(RepetitionPenalty(2.0)(1.0, 0, 1.0), jnp.array([[2.0, 1.0, -1.0]]), 2)
    np.testing.assert_allclose(found[0], jax.nn.log_softmax(jnp.array([[2.0, 1.0, -1.0]])), atol=1e-6)
    np.testing.assert_allclose(found[1], jax.nn.log_softmax(jnp.array([[1.0, 1.0, -1.0]])), atol=1e-6)
    functions = RepetitionPenalty(2.0)(1.0, 0, 1.0)
    state = functions.observe(jnp.array([2]), functions.init(1, 3))
    log_probs, _ = functions.step(jnp.array([[2.0, 1.0, -1.0]]), state)
    np.testing.assert_allclose(log_probs, jax.nn.log_softmax(jnp.array([[2.0, 1.0, -2.0]])), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"), [(lambda: MinP(0.0), "min_p=0.0"), (lambda: RepetitionPenalty(0.5), "0.5")]
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# In the sampling loop.


@dataclasses.dataclass(frozen=True)
class Forbid:
    """A decoder of a user's own, not registered: never draws one token."""

    token: int

    def __call__(self, temperature, top_k, top_p):
        return stateless(lambda logits: jax.nn.log_softmax(logits.at[:, self.token].set(-jnp.inf)))


@pytest.fixture(scope="module")
def small():
    config = DecoderConfig(
        vocab_size=13, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=16, max_length=64
    )  # fmt: skip
    model = make_language_model(config)
    return model, jax.jit(model.init)(jax.random.key(1))


def draw(small, **settings):
    model, params = small
    engine = make_engine(model, SamplingConfig(max_new_tokens=20, **settings), slots=2, end_ids=(99,))
    return sorted(engine(params, [Request([1, 2], 0), Request([3, 4], 1), Request([1, 2], 2)], 0))


def test_the_loop_draws_from_the_decoder(small):
    free = draw(small)
    token = free[0].tokens[0]
    assert token not in draw(small, decoder=Forbid(token))[0].tokens


def test_the_loop_carries_the_state(small):
    """A greedy answer repeats tokens; with a penalty on what was drawn it has more different ones.

    The third prompt is the first again, in a slot that another answer has left: it begins with a state of its own.
    """
    plain, out = draw(small, temperature=0.0), draw(small, temperature=0.0, decoder=RepetitionPenalty(1e6))
    assert plain[0].tokens[0] == out[0].tokens[0]
    assert len(set(plain[0].tokens)) < len(set(out[0].tokens))
    assert out[2][2:] == out[0][2:]
    assert not any(out[0].proposal_logprobs)


@every_decoder
def test_the_manifest_names_all_decoders_but_the_default(name):
    found = SamplingConfig(decoder=DECODERS[name]()).to_json()
    assert found.get("decoder", {"kind": "temperature"})["kind"] == name
    assert {"kind", "temperature", "top_k", "top_p", "max_new_tokens", "samples", "stop"} <= set(found)
