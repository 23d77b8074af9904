"""Sampling: golden continuation, log-probs equal to the policy's, cuts of the distribution, ends, stop texts."""

import dataclasses
import functools
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
from mtjax.model.cached_attention import LARGE_PAGE, PAGE
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.model.rope import RopeScaling
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders import proposal
from mtjax.sampling.engine import Request, cut_at_stop, make_engine
from mtjax.sampling.loop import draw_token, programs
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
    return model, jax.jit(model.init)(jax.random.key(1))


@pytest.fixture(scope="module", params=["rows together", "row by row"])
def any_size(request):
    """Models of both kinds of attention over pages: of all rows together, and of large rows one after the other."""
    large = dataclasses.replace(CONFIG, head_dim=64, max_length=1024)
    assert large.kv_heads * large.head_dim * PAGE == LARGE_PAGE
    model = make_language_model(large if request.param == "row by row" else dataclasses.replace(large, head_dim=8))
    return model, jax.jit(model.init)(jax.random.key(1))


def draw(small, config, prompts, *, end_ids=(29,), requests=None, seed=0, slots=3, **more):
    """The answers of each prompt, or of each request, in order."""
    model, params = small
    requests = [Request(prompt, number) for number, prompt in enumerate(prompts)] if requests is None else requests
    engine = make_engine(model, config, slots=slots, end_ids=end_ids, pad_id=28, **more)
    found = list(engine(params, requests, seed))
    assert len(found) == sum(len(request.samples) for request in requests)
    return sorted(found, key=lambda answer: answer[:2])


@functools.cache
def scorer(config):
    model = make_language_model(config)
    return jax.jit(lambda params, batch: make_policy(model, params).scores(batch).logprob)


def scored(small, prompt, answer, length=None):
    """Log-probabilities of an answer, of prompt and answer scored at once, in a row that may be filled up."""
    model, params = small
    tokens = [*prompt, *answer.tokens]
    fill = [0] * ((length or len(tokens)) - len(tokens))
    segments = jnp.asarray([[1] * len(tokens) + fill])
    batch = Batch(jnp.asarray([tokens + fill]), jnp.ones(segments.shape), segments, {})
    return scorer(model.config)(params, batch)[0, len(prompt) : len(tokens)]


def test_greedy_continuation_is_the_golden_one(tmp_path):
    """Section 1.11 of the specs: 6, then eleven times 19; here with a prompt of 12 tokens in a chunk of 64."""
    config = golden.COMMON | {"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 5e5}
    model = huggingface.load(golden.write(tmp_path, config))
    (out,) = draw(model, SamplingConfig(temperature=0.0, max_new_tokens=12), [golden.TOKENS], end_ids=(47,))
    assert out.tokens == (6, *11 * [19])
    assert not out.finished
    assert not any(out.proposal_logprobs)


@pytest.mark.parametrize("config", [SamplingConfig(0.7, 5, 0.9, 8), SamplingConfig(0.0, max_new_tokens=8)])
def test_log_probs_are_those_of_the_policy(small, config):
    """The whole row, prompt and answer, scored at once gives what the cache gave token by token: 1e-4."""
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], list(range(28)) + list(range(12))]
    for prompt, answer in zip(prompts, draw(small, config, prompts), strict=True):
        np.testing.assert_allclose(answer.logprobs, scored(small, prompt, answer, 64), atol=1e-4)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_padding_of_a_chunk_is_no_length_of_a_scaled_model(kind):
    """A prompt of 70 in a chunk of 128, in a model whose angles change beyond 96 positions."""
    factors = {"short_factor": (1.0,) * 4, "long_factor": (4.0,) * 4} if kind == "longrope" else {}
    scaling = RopeScaling(kind, 4.0, original_length=96, **factors)
    model = make_language_model(dataclasses.replace(CONFIG, max_length=96, rope_scaling=scaling))
    params, prompt = jax.jit(model.init)(jax.random.key(1)), [*range(28), *range(28), *range(14)]
    (answer,) = draw((model, params), SamplingConfig(max_new_tokens=6), [prompt])
    np.testing.assert_allclose(answer.logprobs, scored((model, params), prompt, answer), atol=1e-4)


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
    out = draw(small, config, [], requests=[Request([3, 4], 0, range(n))], seed=3, slots=500)
    model, params = small
    hidden = model.hidden(params, jnp.array([[3, 4]]), jnp.ones((1, 2), jnp.int32))[:, -1]
    expected = np.exp(np.asarray(proposal(model.logits(params, hidden), temperature=1.3, top_k=6)))[0]
    tokens = np.array([answer.tokens[0] for answer in out])
    found = np.bincount(tokens, minlength=V) / n
    assert (np.abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()
    drawn_from = [answer.proposal_logprobs[0] for answer in out]
    np.testing.assert_allclose(np.exp(drawn_from), expected[tokens], rtol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 7, 300])
def test_a_token_is_drawn_by_its_probability(size):
    """Frequencies of 20,000 draws by chi-squared, and never a token of probability 0."""
    scores = jax.random.normal(jax.random.key(size), (size,)).at[size // 2].set(-jnp.inf if size > 1 else 0)
    log_probs, n = jax.nn.log_softmax(scores), 20_000
    keys = jax.random.split(jax.random.key(7), n)
    found = np.bincount(draw_token(keys, jnp.broadcast_to(log_probs, (n, size))), minlength=size)
    expected = n * np.exp(np.asarray(log_probs, np.float64))
    assert found.shape == (size,)
    assert not found[expected == 0].any()
    live = expected > 0
    squares = np.sum((found[live] - expected[live]) ** 2 / expected[live])
    assert squares <= live.sum() + 5 * np.sqrt(2 * live.sum())


def test_a_row_ends_at_its_end_token_and_the_others_go_on(small):
    free = draw(small, SamplingConfig(max_new_tokens=10), [[1, 2], [3], [4, 5]], end_ids=(99,))
    end = free[0].tokens[3]
    out = draw(small, SamplingConfig(max_new_tokens=10), [[1, 2], [3], [4, 5]], end_ids=(end, 98))
    assert out[0].finished
    for whole, cut in zip(free, out, strict=True):
        length = whole.tokens.index(end) + 1 if end in whole.tokens else 10
        assert cut.tokens == whole.tokens[:length]
        assert cut.logprobs == whole.logprobs[:length]
        assert cut.finished == (end in whole.tokens)


REQUESTS = [Request([number % 7, *range(number % 28), number % 5], 10 + number, (0, 3)) for number in range(0, 44, 4)]
REQUESTS += [Request([size % 5, *[size % 28, 3, 8] * 70][:size], size, (0, 3)) for size in (64, 65, 128, 129, 193)]


def test_an_answer_does_not_depend_on_others_nor_on_order_nor_on_refills(any_size):
    """To the bit: each request alone, all together in both orders, more than twice as many as there are slots."""
    config = SamplingConfig(max_new_tokens=9)
    together = draw(any_size, config, [], requests=REQUESTS, end_ids=(3, 4, 5, 29))
    assert len({len(answer.tokens) for answer in together}) > 3
    turned = draw(any_size, config, [], requests=REQUESTS[::-1], end_ids=(3, 4, 5, 29))
    for number, request in enumerate(REQUESTS):
        alone = draw(any_size, config, [], requests=[request], end_ids=(3, 4, 5, 29))
        for place in range(2):
            expected = alone[place][2:]
            assert together[2 * number + place][2:] == expected
            assert turned[2 * (len(REQUESTS) - 1 - number) + place][2:] == expected


def test_an_answer_does_not_depend_on_the_length_of_the_cache(any_size):
    """To the bit: beside a prompt of 500 tokens the cache begins with 256 positions and grows to 512."""
    rng = np.random.default_rng(0)
    requests = [Request(rng.integers(0, 28, size).tolist(), size) for size in (3, 40, 70, 130, 500)]
    config = SamplingConfig(max_new_tokens=12)
    together = draw(any_size, config, [], requests=requests)
    for number, request in enumerate(requests):
        (alone,) = draw(any_size, config, [], requests=[request])
        assert alone[2:] == together[number][2:]


def test_prompts_with_a_common_beginning_read_it_once(small):
    """Three chunks are shared: of 4 x 4 chunks 7 are read, and nothing else changes, to the bit."""
    model = make_language_model(dataclasses.replace(CONFIG, max_length=512))
    shared = np.random.default_rng(1).integers(0, 28, 384).tolist()
    requests = [Request([*shared, *range(number, number + 4)], number) for number in range(4)]
    config, read = SamplingConfig(max_new_tokens=4), []
    plain = programs(model, config, (29,), 28)
    counted = plain._replace(prefill=lambda *given: (read.append(1), plain.prefill(*given))[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtjax.sampling.engine.programs", lambda *given: counted)
        together = draw((model, small[1]), config, [], requests=requests)
    assert len(read) == 7
    for number, request in enumerate(requests):
        (alone,) = draw((model, small[1]), config, [], requests=[request])
        assert alone[2:] == together[number][2:]


def test_stop_texts_cut_the_text_and_end_the_row(small):
    """Find two letters in a free answer, use them as a stop text: the same answer up to there."""
    model, params = small
    free = sample_texts(model, params, TOKENIZER, ["bc", "d"], SamplingConfig(max_new_tokens=24), 0)
    text = free[0][0].text
    stop = text[4:6]
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


def test_samples_go_by_prompt_id_and_number(small):
    model, params = small
    prompts = ["a", "bcd", "ef", "g", "hij"]
    config = SamplingConfig(max_new_tokens=6, samples=3)
    all_ = sample_texts(model, params, TOKENIZER, prompts, config, 5, rows=4)
    assert [len(row) for row in all_] == [3] * 5
    some = sample_texts(model, params, TOKENIZER, prompts[2:], config, 5, rows=4, prompt_ids=[2, 3, 4])
    assert some == all_[2:]
    assert len({sample.tokens for row in all_ for sample in row}) > 10
    wide = sample_texts(model, params, TOKENIZER, prompts, config, 5, rows=16)  # other products round otherwise
    assert [[s.tokens for s in row] for row in wide] == [[s.tokens for s in row] for row in all_]


def test_a_mixed_workload_compiles_at_most_eight_programs(small):
    """200 prompts of 5 to 900 tokens; a second workload of other lengths compiles nothing."""
    model = make_language_model(dataclasses.replace(CONFIG, max_length=1024, width=8, heads=1, kv_heads=1, layers=1))
    params = jax.jit(model.init)(jax.random.key(0))
    rng, compiled = np.random.default_rng(0), []
    watch = lambda event, *given, **more: compiled.append(event) if event.endswith("backend_compile_duration") else 0
    jax.monitoring.register_event_duration_secs_listener(watch)
    try:
        for count in (200, 20):
            sizes = [*rng.integers(5, 900, count - 2), 5, 900]
            requests = [Request(rng.integers(0, 28, size).tolist(), number) for number, size in enumerate(sizes)]
            before = len(compiled)
            draw((model, params), SamplingConfig(max_new_tokens=3), [], requests=requests, slots=16)
            assert len(compiled) - before <= (8 if count == 200 else 0)
    finally:
        jax.monitoring.unregister_event_duration_listener(watch)
    assert compiled


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
    with pytest.raises(InputError, match="stop texts need `decode`"):
        make_engine(model, SamplingConfig(stop=("x",)), slots=1, end_ids=(1,))
    assert sample_texts(model, params, TOKENIZER, [], SamplingConfig(), 0) == []
