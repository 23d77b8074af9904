"""The decoder: causal, deaf to its neighbours in a row, cached as computed, and trainable as plain functions too."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.errors import InputError
from mtjax.model import attention
from mtjax.model.cached_attention import apart
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.rope import RopeScaling
from mtjax.objectives.nll import Nll
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from mtjax.types import Batch, LanguageModel

SHAPE = {"vocab_size": 31, "width": 16, "layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp_width": 24}
CONFIG = DecoderConfig(**SHAPE, init_scale=0.3, window=5, window_layers=(True, False, True))
MODEL = make_language_model(CONFIG)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
HIDDEN = jax.jit(MODEL.hidden)
DECODE = jax.jit(MODEL.decode)
TOKENS = jax.random.randint(jax.random.key(1), (2, 16), 0, 31)
ONES = jnp.ones_like(TOKENS)


@given(position=st.integers(0, 15), token=st.integers(0, 30))
def test_nothing_after_a_token_touches_it(position, token):
    changed = HIDDEN(PARAMS, TOKENS.at[:, position].set(token), ONES)
    np.testing.assert_array_equal(changed[:, :position], HIDDEN(PARAMS, TOKENS, ONES)[:, :position])


def test_packed_equals_unpacked_and_padding_does_not_matter():
    segments = jnp.array([[1] * 6 + [2] * 7 + [0] * 3] * 2)
    packed = HIDDEN(PARAMS, TOKENS, segments)
    alone = HIDDEN(PARAMS, jnp.roll(TOKENS, -6, 1), jnp.array([[1] * 7 + [0] * 9] * 2))
    np.testing.assert_allclose(packed[:, 6:13], alone[:, :7], atol=1e-5)
    np.testing.assert_allclose(packed[:, :6], HIDDEN(PARAMS, TOKENS, ONES)[:, :6], atol=1e-5)
    assert np.isfinite(packed).all()


def test_a_base_that_grows_with_length_looks_at_its_own_segment_only():
    """Made for 4 tokens: the segment of 3 stays below, that of 7 stretches, and padding of 6 stretches nobody."""
    model = make_language_model(dataclasses.replace(CONFIG, rope_scaling=RopeScaling("dynamic", 2.0), max_length=4))
    hidden = jax.jit(model.hidden)
    packed = hidden(PARAMS, TOKENS, jnp.array([[1] * 3 + [2] * 7 + [0] * 6] * 2))
    for start, end in ((0, 3), (3, 10)):
        alone = hidden(PARAMS, TOKENS[:, start:end], ONES[:, start:end])
        np.testing.assert_allclose(packed[:, start:end], alone, atol=1e-5)
    assert not np.allclose(packed[:, 3:10], HIDDEN(PARAMS, TOKENS[:, 3:10], ONES[:, 3:10]), atol=1e-3)


def test_no_array_of_every_token_and_every_word_is_made():
    """The embedding is a gather, for a small vocabulary too: 31 is in no shape but the parameters' own."""
    loss = lambda params: jnp.sum(MODEL.hidden(params, TOKENS, ONES))
    text = jax.jit(jax.grad(loss)).lower(PARAMS).compile().as_text()
    assert "[31,16]" in text
    assert "[32,31]" not in text
    assert "[2,16,31]" not in text


def test_positions_restart_with_each_segment():
    segments = jnp.array([[1, 1, 1, 2, 2, 0, 0], [3, 3, 3, 3, 1, 1, 0]])
    assert attention.positions_of(segments).tolist() == [[0, 1, 2, 0, 1, 0, 1], [0, 1, 2, 3, 0, 1, 0]]


def test_attention_against_brute_force():
    """Grouped heads, window and segments, term by term in float64."""
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(1, 6, heads, 4)) for heads in (4, 2, 2))
    segments = np.array([[1, 1, 1, 1, 2, 2]])
    mask = attention.packed_mask(jnp.asarray(segments), jnp.int32(2))
    ours = attention.attend(*(jnp.asarray(x, jnp.float32) for x in (query, key, value)), mask)
    for t in range(6):
        seen = [s for s in range(6) if t - 2 < s <= t and segments[0, s] == segments[0, t]]
        for head in range(4):
            scores = np.array([query[0, t, head] @ key[0, s, head // 2] / 2 for s in seen])
            weights = np.exp(scores) / np.exp(scores).sum()
            expected = sum(w * value[0, s, head // 2] for w, s in zip(weights, seen, strict=True))
            np.testing.assert_allclose(ours[0, t, head], expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("bfloat16", 5e-2)])
def test_attention_and_its_gradient_equal_the_library(dtype, limit):
    """Scores near 100 would overflow an exponential that is not shifted by its maximum; some rows see one token."""
    keys = jax.random.split(jax.random.key(0), 4)
    query, key, value, gradient = (
        jax.random.normal(own, (2, 7, heads, 8)).astype(dtype) for own, heads in zip(keys, (6, 2, 2, 6), strict=True)
    )
    query = query * 20
    mask = attention.packed_mask(jnp.array([[1, 1, 1, 1, 2, 2, 0]] * 2), jnp.int32(3))
    ours, pull = jax.vjp(lambda *x: attention.attend(*x, mask), query, key, value)
    theirs, pull_theirs = jax.vjp(lambda *x: jax.nn.dot_product_attention(*x, mask=mask), query, key, value)
    for a, b in zip((ours, *pull(gradient)), (theirs, *pull_theirs(gradient)), strict=True):
        assert a.dtype == jnp.dtype(dtype)
        largest = float(jnp.max(jnp.abs(b.astype(jnp.float32))))
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), atol=limit * max(largest, 1))


def test_accelerators_run_the_library_s_attention(monkeypatch):
    query, mask = jnp.ones((1, 3, 2, 4)), jnp.ones((1, 1, 3, 3), bool)
    trace = lambda attend: str(jax.make_jaxpr(attend)(query, query, query))
    library = trace(lambda *x: jax.nn.dot_product_attention(*x, mask=mask))
    assert trace(lambda *x: attention.attend(*x, mask)) != library
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert trace(lambda *x: attention.attend(*x, mask)) == library


def test_cached_equals_recomputed_with_ragged_prompts():
    """Prompts of 4 and 9 tokens, right-padded to 9, then one token at a time."""
    lengths = np.array([4, 9])
    prompt = jnp.where(jnp.arange(9) < lengths[:, None], TOKENS[:, :9], 0)
    positions = jnp.broadcast_to(jnp.arange(9), (2, 9))
    full = HIDDEN(PARAMS, TOKENS, ONES)
    hidden, cache = DECODE(PARAMS, MODEL.init_cache(2, 16), prompt, positions)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(hidden[row, :length], full[row, :length], atol=1e-4)
    for step in range(7):
        at = jnp.asarray(lengths + step)
        hidden, cache = DECODE(PARAMS, cache, TOKENS[jnp.arange(2), at][:, None], at[:, None])
        np.testing.assert_allclose(hidden[:, 0], full[jnp.arange(2), at], atol=1e-4)


def test_a_cache_that_dynamic_scaling_would_make_wrong_is_refused():
    dynamic = dataclasses.replace(CONFIG, rope_scaling=RopeScaling("dynamic", 3.0), max_length=16)
    assert jax.tree.leaves(make_language_model(dynamic).init_cache(1, 16))[0].shape[-1] >= 16
    with pytest.raises(InputError, match=r"a cache of 17 positions, model.max_length=16"):
        make_language_model(dynamic).init_cache(1, 17)
    make_language_model(dataclasses.replace(dynamic, rope_scaling=RopeScaling("linear", 3.0))).init_cache(1, 17)


@pytest.mark.parametrize("remat", ["full", "dots"])
def test_remat_changes_nothing(remat):
    other = make_language_model(dataclasses.replace(CONFIG, remat=remat))
    loss = lambda model: lambda params: jnp.sum(model.hidden(params, TOKENS, ONES) ** 2)
    ours, theirs = jax.grad(loss(other))(PARAMS), jax.grad(loss(MODEL))(PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)


def test_bfloat16_is_near_and_keeps_float32_parameters():
    half = make_language_model(dataclasses.replace(CONFIG, dtype="bfloat16", init_scale=0.02))
    whole = make_language_model(dataclasses.replace(CONFIG, init_scale=0.02))
    params = jax.jit(half.init)(jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    near = half.logits(params, half.hidden(params, TOKENS, ONES))
    assert near.dtype == jnp.float32
    np.testing.assert_allclose(near, whole.logits(params, whole.hidden(params, TOKENS, ONES)), atol=2e-2)


def test_axes_name_every_parameter():
    is_names = lambda leaf: isinstance(leaf, tuple)
    shapes = jax.tree.map(lambda x: x.ndim, PARAMS)
    assert jax.tree.map(len, MODEL.axes, is_leaf=is_names) == shapes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "multiple of model.kv_heads"),
        ({"head_dim": 7}, "must be even"),
        ({"layers": 0}, "model.layers=0: expected at least 1"),
        ({"window": 0}, "at least 1"),
        ({"window_layers": (True,)}, "names 1 layers"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        DecoderConfig(**{**SHAPE, **change})


def plain_model(vocab=8, width=12):
    """A language model without Flax: each token sees the mean of the embeddings before it in its segment."""

    def init(key):
        one, two = jax.random.split(key)
        return {
            "table": 0.5 * jax.random.normal(one, (vocab, width)),
            "out": 0.5 * jax.random.normal(two, (width, vocab)),
        }

    def hidden(params, tokens, segments):
        same = jnp.tril(segments[:, :, None] == segments[:, None, :])
        mean = same / same.sum(-1, keepdims=True)
        x = params["table"][tokens]
        return jnp.tanh(x + mean @ x)

    logits = lambda params, hidden: hidden @ params["out"]
    axes = {"table": ("vocab", "embed"), "out": ("embed", "vocab")}
    return LanguageModel(None, init, hidden, logits, None, None, axes)


def test_a_plain_function_model_trains_through_the_same_contract():
    model, optimizer = plain_model(), optax.adam(0.05)
    tokens = jnp.tile(jnp.arange(8), (4, 2))  # always one more than before, which the model can learn
    batch = Batch(tokens, jnp.ones(tokens.shape), jnp.ones_like(tokens), {})
    step = make_train_step(model, Nll(), optimizer)
    state = init_state(model, optimizer, jax.random.key(0))
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch, jax.random.key(0))
        losses.append(float(metrics["loss"]))
    assert losses[0] > 1.5
    assert losses[-1] < 0.2


def test_layers_apart_are_views_that_stay_where_they_are():
    """Of three layers, also where a mesh of one device or a device holds them; on two devices they are as split."""
    pointer = lambda leaf: leaf.unsafe_buffer_pointer()
    stacked = PARAMS["layers"]["mlp"]["up"]["kernel"]
    own = apart(PARAMS)["layers"]
    assert len(own) == len(stacked)
    for layer, one in enumerate(own):
        assert (one["mlp"]["up"]["kernel"] == stacked[layer]).all()
        assert not one["mlp"]["up"]["kernel"].committed
    first = jax.tree.leaves(PARAMS["layers"])[0]
    assert pointer(jax.tree.leaves(own[0])[0]) == pointer(first)  # no copy
    for count in (1, 2):
        mesh = jax.make_mesh((count,), ("data",), devices=jax.devices()[-count:])
        placed = jax.device_put(PARAMS, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
        for one in jax.tree.leaves(apart(placed)["layers"]):
            assert one.devices() == set(jax.devices()[-count:])
