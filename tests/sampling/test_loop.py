"""Sampling: golden continuation, log-probs equal to the policy's, cuts of the distribution, ends, stop texts."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.examples import encode_prompt
from mtjax.distributed.sharding import MeshSpec, make_mesh, shardings
from mtjax.errors import InputError
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.sampling import loop
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders import proposal
from mtjax.sampling.loop import cut_at_stop, make_sampler, row_keys
from mtjax.sampling.texts import sample_texts
from mtjax.types import Batch
from tests.model import golden

V = 30
CONFIG = DecoderConfig(
    vocab_size=V, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24, max_length=64, init_scale=0.4
)
TOKENIZER = types.SimpleNamespace(
    encode=lambda text: types.SimpleNamespace(ids=[ord(c) - 97 for c in text]),
    decode=lambda ids: "".join(chr(97 + i) if i < 26 else "~" for i in ids),
    bos_id=None,
    end_id=29,
    end_ids=(29,),
    closing=None,
    pad_id=28,
)


@pytest.fixture(scope="module")
def small():
    model = make_language_model(CONFIG)
    return model, model.init(jax.random.key(1))


def draw(small, config, prompts, *, end_ids=(29,), keys=None, width=6, **more):
    model, params = small
    tokens = np.full((len(prompts), width), 28, np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    keys = row_keys(0, range(len(prompts)), [0] * len(prompts)) if keys is None else keys
    sampler = make_sampler(model, config, end_ids=end_ids, pad_id=28, **more)
    return jax.tree.map(np.asarray, sampler(params, tokens, lengths, keys))


def test_greedy_continuation_is_the_golden_one(tmp_path):
    """Section 1.11 of the specs: 6, then eleven times 19; here with the prompt padded from 12 to 16 tokens."""
    config = golden.COMMON | {"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 5e5}
    model = huggingface.load(golden.write(tmp_path, config))
    out = draw(model, SamplingConfig(temperature=0.0, max_new_tokens=12), [golden.TOKENS], end_ids=(47,), width=16)
    assert out.tokens[0].tolist() == [6] + 11 * [19]
    assert out.lengths[0] == 12
    assert not out.finished[0]
    assert not out.proposal_logprob.any()


@pytest.mark.parametrize("config", [SamplingConfig(0.7, 5, 0.9, 8), SamplingConfig(0.0, max_new_tokens=8)])
def test_log_probs_are_those_of_the_policy(small, config):
    """The whole row, prompt and answer, scored at once gives what the cache gave token by token: 1e-4."""
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]
    out = draw(small, config, prompts)
    for row, prompt in enumerate(prompts):
        tokens = np.concatenate([prompt, out.tokens[row, : out.lengths[row]]]).astype(np.int32)[None]
        ones = np.ones_like(tokens)
        batch = Batch(jnp.asarray(tokens), jnp.asarray(ones, jnp.float32), jnp.asarray(ones), {})
        expected = make_policy(*small).scores(batch).logprob[0, len(prompt) :]
        np.testing.assert_allclose(out.logprob[row, : out.lengths[row]], expected, atol=1e-4)
        assert not out.logprob[row, out.lengths[row] :].any()


def test_the_proposal_by_hand():
    """Probabilities .5 .25 .15 .1: top_k 2 leaves 2/3 1/3; top_p .6 leaves the same (.5 < .6, .5 + .25 >= .6)."""
    logits = jnp.log(jnp.array([[0.25, 0.5, 0.1, 0.15]]))
    expected = [[1 / 3, 2 / 3, 0, 0]]
    np.testing.assert_allclose(jnp.exp(proposal(logits, top_k=2)), expected, atol=1e-6)
    np.testing.assert_allclose(jnp.exp(proposal(logits, top_p=0.6)), expected, atol=1e-6)
    # Temperature 1/2 squares: .0625 .25 .01 .0225, sum .345; the largest is .7246 >= .6 and stays alone.
    np.testing.assert_allclose(jnp.exp(proposal(logits, 0.5, top_p=0.6)), [[0, 1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(jnp.exp(proposal(logits)), jnp.exp(logits), atol=1e-6)


@given(seed=st.integers(0, 99), top_p=st.floats(0.05, 0.99), top_k=st.integers(1, 9))
def test_the_proposal_keeps_the_fewest_tokens_that_reach_p(seed, top_p, top_k):
    logits = 2 * jax.random.normal(jax.random.key(seed), (1, 9))
    kept = np.asarray(proposal(logits, top_p=top_p))[0] > -np.inf
    probability = np.asarray(jax.nn.softmax(logits))[0]
    order = np.argsort(-probability)
    assert kept[order[: kept.sum()]].all()
    assert probability[kept].sum() >= top_p - 1e-5
    assert probability[kept].sum() - probability[kept].min() < top_p + 1e-5
    assert np.isfinite(np.asarray(proposal(logits, top_k=top_k))).sum() == top_k


def test_frequencies_follow_the_proposal(small):
    """4,000 draws of one token: each frequency within five standard errors of its tempered probability."""
    config = SamplingConfig(temperature=1.3, top_k=6, max_new_tokens=1)
    n = 4000
    out = draw(small, config, [[3, 4]], keys=row_keys(3, [0] * n, np.arange(n))[None], width=2)
    model, params = small
    hidden = model.hidden(params, jnp.array([[3, 4]]), jnp.ones((1, 2), jnp.int32))[:, -1]
    expected = np.exp(np.asarray(proposal(model.logits(params, hidden), temperature=1.3, top_k=6)))[0]
    found = np.bincount(out.tokens.ravel(), minlength=V) / n
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()
    np.testing.assert_allclose(np.exp(out.proposal_logprob).ravel(), expected[out.tokens.ravel()], rtol=1e-4)


def test_a_row_ends_at_its_end_token_and_the_others_go_on(small):
    free = draw(small, SamplingConfig(max_new_tokens=10), [[1, 2], [3], [4, 5]], end_ids=(99,))
    end = int(free.tokens[0, 3])
    out = draw(small, SamplingConfig(max_new_tokens=10), [[1, 2], [3], [4, 5]], end_ids=(end, 98))
    for row in range(3):
        places = np.flatnonzero(free.tokens[row] == end)
        length = places[0] + 1 if len(places) else 10
        assert out.lengths[row] == length
        assert out.finished[row] == bool(len(places))
        np.testing.assert_array_equal(out.tokens[row, :length], free.tokens[row, :length])
        assert (out.tokens[row, length:] == 28).all()


def test_a_row_does_not_depend_on_its_neighbours_nor_on_its_place(small):
    """Same shape, same key, same prompt: the same answer and log-probs to the bit, wherever it stands."""
    keys = row_keys(7, [5, 6, 7], [0, 0, 0])
    config = SamplingConfig(max_new_tokens=8)
    first = draw(small, config, [[1, 2], [3], [4, 5]], keys=keys)
    second = draw(small, config, [[4, 5], [1, 2], [9, 9, 9]], keys=keys[jnp.array([2, 0, 1])])
    np.testing.assert_array_equal(first.tokens[2], second.tokens[0])
    np.testing.assert_array_equal(first.tokens[0], second.tokens[1])
    np.testing.assert_array_equal(first.logprob[0], second.logprob[1])


def test_samples_that_share_a_prefill_are_those_drawn_alone(small):
    keys = row_keys(1, [0] * 4 + [1] * 4, list(range(4)) * 2)
    config = SamplingConfig(max_new_tokens=8)
    shared = draw(small, config, [[1, 2], [3]], keys=keys.reshape(2, 4))
    alone = draw(small, config, [[1, 2]] * 4 + [[3]] * 4, keys=keys)
    assert shared.tokens.shape == (2, 4, 8)
    np.testing.assert_array_equal(shared.tokens.reshape(8, 8), alone.tokens)
    np.testing.assert_allclose(shared.logprob.reshape(8, 8), alone.logprob, atol=1e-5)


def test_stop_texts_cut_the_text_and_end_the_row(small):
    """Find two letters in a free answer, use them as a stop text: the same answer up to there."""
    model, params = small
    free = sample_texts(model, params, TOKENIZER, ["bc", "d"], SamplingConfig(max_new_tokens=24), 0)
    text = free[0][0].text
    stop = text[9:11]
    cut = sample_texts(model, params, TOKENIZER, ["bc", "d"], SamplingConfig(max_new_tokens=24, stop=("zzz", stop)), 0)
    place = text.find(stop)
    assert cut[0][0].text == text[:place]
    assert cut[0][0].finished
    assert cut[0][0].tokens == free[0][0].tokens[: place + 2]
    assert TOKENIZER.decode(cut[0][0].tokens) == text[:place] + stop
    other = free[1][0].text
    assert cut[1][0].text == (other[: other.find(stop)] if stop in other else other)


@given(text=st.text("ab", max_size=12), stop=st.text("ab", min_size=1, max_size=3))
def test_cut_at_stop_finds_the_first_end_of_the_stop_text(text, stop):
    """With one token per letter, the first place where the stop text ends."""
    ids = [ord(c) for c in text]
    expected = text.find(stop) + len(stop) if stop in text else None
    assert cut_at_stop(ids, [stop], lambda ids: "".join(map(chr, ids))) == expected


def test_chunks_of_one_shape_give_the_same_as_one_by_one(small):
    """5 prompts x 3 samples in chunks of 4 and 16 rows; keys go by prompt id and sample."""
    model, params = small
    prompts = ["a", "bcd", "ef", "g", "hij"]
    config = SamplingConfig(max_new_tokens=6, samples=3)
    wide = sample_texts(model, params, TOKENIZER, prompts, config, 5, rows=16)
    assert [len(row) for row in wide] == [3] * 5
    narrow = sample_texts(model, params, TOKENIZER, prompts[2:], config, 5, rows=2, prompt_ids=[2, 3, 4])
    assert [[s.tokens for s in row] for row in narrow] == [[s.tokens for s in row] for row in wide[2:]]
    assert len({sample.tokens for row in wide for sample in row}) > 10


def test_one_compilation_serves_all_chunks_and_later_calls(small):
    model, params = small
    config = SamplingConfig(max_new_tokens=5, top_k=7)
    sample_texts(model, params, TOKENIZER, ["a"] * 9, config, 0, rows=4)
    key = ((model.logits, model.init_cache, model.decode), config, (29,), 28)
    start, advance = loop._compiled(*key)
    assert (start._cache_size(), advance._cache_size()) == (1, 1)
    sample_texts(model, params, TOKENIZER, ["bcd"] * 7, config, 1, rows=4)
    assert (start._cache_size(), advance._cache_size()) == (1, 1)


def test_eight_devices_draw_what_one_does(small):
    model, params = small
    config = SamplingConfig(max_new_tokens=6, samples=2)
    one = sample_texts(model, params, TOKENIZER, ["ab", "c", "def"], config, 0, rows=8)
    mesh = make_mesh(MeshSpec(data=2, tensor=2, context=2))
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, shardings(model.axes, mesh))
        many = sample_texts(model, placed, TOKENIZER, ["ab", "c", "def"], config, 0, rows=6)
    assert [[s.tokens for s in row] for row in many] == [[s.tokens for s in row] for row in one]


def test_begin_token_goes_in_front_once():
    tokenizer = types.SimpleNamespace(**(vars(TOKENIZER) | {"bos_id": 0}))
    assert encode_prompt(tokenizer, "bc") == [0, 1, 2]
    assert encode_prompt(tokenizer, "abc") == [0, 1, 2]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_k": -2}, "top_k=-2"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"stop": ("",)}, "empty text"),
    ],
)
def test_impossible_settings_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        SamplingConfig(**bad)


def test_impossible_prompts_are_refused(small):
    model, params = small
    for prompts, config, message in [
        ([""], SamplingConfig(max_new_tokens=4), "a prompt is empty"),
        (["a" * 62], SamplingConfig(max_new_tokens=4), "pass the model's 64"),
    ]:
        with pytest.raises(InputError, match=message):
            sample_texts(model, params, TOKENIZER, prompts, config, 0)
    with pytest.raises(InputError, match="prompt_length is 2"):
        sample_texts(model, params, TOKENIZER, ["abc"], SamplingConfig(max_new_tokens=4), 0, prompt_length=2)
    with pytest.raises(InputError, match="stop texts need `decode`"):
        make_sampler(model, SamplingConfig(stop=("x",)), end_ids=(1,))
    assert sample_texts(model, params, TOKENIZER, [], SamplingConfig(), 0) == []
