"""LM-Infinite: the golden mask, scores against NumPy, short texts, what is not seen, and the cache."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model import attention, rope
from mtjax.model.decoder import EVERYTHING, DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.lm_infinite import Far, LmInfinite, far_mask, near_window

PLAIN = DecoderConfig(vocab_size=16, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, mlp_width=8, init_scale=0.6)
SHORT = LmInfinite(starting=2, local=3)
FAR = dataclasses.replace(PLAIN, lm_infinite=SHORT, score_cap=5.0)
TOKENS = (jnp.arange(12) * 7 % 16)[None]
ONES = jnp.ones_like(TOKENS)


def test_the_golden_mask():
    """Rows of the paper's Lambda for 8 tokens, 2 starting and 3 near ones; a second text begins anew."""
    segments = jnp.asarray([[1] * 8 + [2] * 3])
    window, live = near_window(SHORT, 2048, jnp.int32(EVERYTHING))
    near = attention.packed_mask(segments, window)[0, 0]
    steps = jnp.arange(11)[:, None] - jnp.arange(11)
    far = far_mask(2, Far(None, None, window, live), attention.positions_of(segments), steps[None])[0, 0]
    far &= segments[0][:, None] == segments[0][None]
    rows = [
        "".join("L" if n else "G" if f else "." for n, f in zip(*row, strict=True))
        for row in zip(near, far, strict=True)
    ]
    golden = ["L", "LL", "LLL", "GLLL", "GGLLL", "GG.LLL", "GG..LLL", "GG...LLL"]
    assert [row.rstrip(".") for row in rows[:8]] == golden
    assert [row[8:].rstrip(".") for row in rows[8:]] == ["L", "LL", "LLL"]
    assert not np.any(near & far)


def test_scores_are_those_of_one_distance_for_all_starting_tokens():
    """Attention of random queries and keys against the definition in NumPy, alone and where a mesh splits time."""
    rng = np.random.default_rng(0)
    q, far_q = rng.normal(size=(2, 1, 12, 2, 4)).astype(np.float32)
    k, v, far_k = rng.normal(size=(3, 1, 12, 1, 4)).astype(np.float32)
    wanted = np.zeros(q.shape)
    for i, head in np.ndindex(12, 2):
        seen = [j for j in range(i + 1) if i - j < 3 or j < 2]
        pairs = [(q, k) if i - j < 3 else (far_q, far_k) for j in seen]
        scores = np.asarray([a[0, i, head] @ b[0, j, 0] for j, (a, b) in zip(seen, pairs, strict=True)]) / 2
        weights = np.exp(5 * np.tanh(scores / 5))
        wanted[0, i, head] = weights @ v[0, seen, 0] / weights.sum()
    far = Far(jnp.asarray(far_q), jnp.asarray(far_k), *near_window(SHORT, 2048, jnp.int32(EVERYTHING)))

    @jax.jit
    def found(far):
        return attention.packed_attention(FAR, jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), ONES, far.local, far)

    np.testing.assert_allclose(found(far), wanted, atol=1e-5)
    with jax.set_mesh(make_mesh(MeshSpec(data=1, context=4), devices=jax.devices()[:4])):
        np.testing.assert_allclose(found(far), wanted, atol=1e-5)
    x = jnp.asarray(q)  # the far query is turned as at position 2, the far key not at all
    angles = lambda place: rope.rotary(jnp.full((1, 12), place), 12 * ONES, 1e4, 4, None, 2048)
    np.testing.assert_array_equal(rope.rotate(x, *angles(0)), x)


def test_short_texts_are_as_without_it_and_middle_tokens_are_not_seen(one_device):
    model, plain = make_language_model(FAR), make_language_model(dataclasses.replace(PLAIN, score_cap=5.0))
    params = jax.jit(model.init)(jax.random.key(0))
    hidden = jax.jit(model.hidden)
    packed = jnp.asarray([[1, 1, 1, 2, 2, 2, 3, 3, 0, 0, 0, 0]])
    without = jax.jit(plain.hidden)(params, TOKENS, packed)
    np.testing.assert_allclose(hidden(params, TOKENS, packed)[0, :8], without[0, :8], atol=1e-6)
    whole = hidden(params, TOKENS, ONES)
    last = lambda place: np.abs(hidden(params, TOKENS.at[0, place].set(15 - TOKENS[0, place]), ONES) - whole)[
        0, -1
    ].max()
    assert [last(place) > 1e-4 for place in range(12)] == [True] * 2 + [False] * 7 + [True] * 3


def test_a_cache_decodes_as_the_complete_text(one_device):
    """Layers of two kinds: one slides and sees no starting tokens; prefill, then one token at a time."""
    config = dataclasses.replace(FAR, layers=2, window=2, window_layers=(True, False))
    model = make_language_model(config)
    weights = jax.jit(model.init)(jax.random.key(1))
    whole = jax.jit(model.hidden)(weights, TOKENS, ONES)
    decode = jax.jit(model.decode)
    hidden, cache = decode(weights, model.init_cache(1, 12), TOKENS[:, :5], jnp.arange(5)[None])
    assert [first.shape for first in cache["first"]] == [(1, 1, 2, 4)] * 2  # of each layer
    parts = [hidden]
    for t in range(5, 12):
        hidden, cache = decode(weights, cache, TOKENS[:, t : t + 1], jnp.full((1, 1), t))
        parts.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)


def test_what_does_not_go_with_it_is_refused():
    with pytest.raises(InputError, match="distance=9: expected at most local=4"):
        LmInfinite(local=4, distance=9)
    with pytest.raises(InputError, match="expected fixed rotary angles, and those of 'dynamic'"):
        dataclasses.replace(PLAIN, lm_infinite=LmInfinite(), rope_scaling=rope.RopeScaling("dynamic", 2.0))
    with pytest.raises(InputError, match="'splash' cannot be used: it has no model.lm_infinite"):
        attention.choice_for(dataclasses.replace(FAR, attention="splash"), 128)
    assert attention.choice_for(FAR, 128).name == "plain"
