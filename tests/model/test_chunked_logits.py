"""The chunked head: equal to the direct computation, on one device and on eight, in little memory."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.model.chunked_logits import Head, map_next_token
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy, token_scores
from mtjax.types import Batch

CONFIG = DecoderConfig(vocab_size=37, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=24, init_scale=0.3)
MODEL = make_language_model(CONFIG)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))


def make_batch(shape=(8, 20), seed=0):
    rng = np.random.default_rng(seed)
    segments = np.sort(rng.integers(0, 3, size=shape), -1)[..., ::-1]
    segments = np.where(segments > 0, segments.max(-1, keepdims=True) + 1 - segments, 0)
    return Batch(
        jnp.asarray(rng.integers(0, 37, size=shape), jnp.int32),
        jnp.asarray(rng.uniform(size=shape), jnp.float32),
        jnp.asarray(segments, jnp.int32),
        {},
    )


def direct(params, batch):
    """Every logit at once, shifted by hand."""
    logits = MODEL.logits(params, MODEL.hidden(params, batch.tokens, batch.segments))
    log_p = jax.nn.log_softmax(logits[:, :-1])
    logprob = jnp.take_along_axis(log_p, batch.tokens[:, 1:, None], -1)[..., 0]
    live = (batch.segments[:, 1:] == batch.segments[:, :-1]) & (batch.segments[:, 1:] > 0)
    first = jnp.zeros_like(batch.weights[:, :1])
    place = lambda x: jnp.concatenate([first, jnp.where(live, x, 0)], 1)
    return place(logprob), place(-jnp.sum(jnp.exp(log_p) * log_p, -1)), place(jnp.max(log_p, -1))


@functools.cache
def directly():
    """What `direct` gives for `make_batch()`, and the gradient of its loss."""
    batch = make_batch()
    value = lambda params: jnp.sum(direct(params, batch)[0] * batch.weights)
    return jax.jit(lambda params: (direct(params, batch), jax.grad(value)(params)))(PARAMS)


def loss(params, batch, chunk=16, **options):
    scores = make_policy(MODEL, params, chunk=chunk, **options).scores(batch)
    return jnp.sum(scores.logprob * batch.weights)


@pytest.mark.parametrize("chunk", [1, 7, 160, 1000])
def test_scores_and_gradient_equal_the_direct_computation(chunk):
    batch = make_batch()
    scores = jax.jit(lambda params: make_policy(MODEL, params, chunk=chunk).scores(batch))(PARAMS)
    wanted, theirs = directly()
    for ours, expected in zip(scores, wanted, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    ours = jax.jit(jax.grad(lambda params: loss(params, batch, chunk)))(PARAMS)
    chex.assert_trees_all_close(ours, theirs, atol=1e-4, rtol=1e-7)


def with_contexts(batch):
    """A batch in which three of four tokens have no weight."""
    return batch._replace(weights=jnp.where(jnp.arange(batch.tokens.size).reshape(batch.tokens.shape) % 4, 0, 1.5))


def test_scores_of_targets_alone_are_the_same():
    batch = with_contexts(make_batch())
    whole, ours = (make_policy(MODEL, PARAMS, chunk=7, targets_only=only).scores(batch) for only in (False, True))
    for one, other in zip(ours, whole, strict=True):
        np.testing.assert_allclose(one, jnp.where(batch.weights != 0, other, 0), atol=1e-6)
    gradients = [jax.grad(loss)(PARAMS, batch, targets_only=only) for only in (False, True)]
    chex.assert_trees_all_close(*gradients, atol=1e-5, rtol=1e-7)


@pytest.mark.parametrize(("targets_only", "share"), [(False, 1.0), (True, 0.25)])
def test_chunks_without_a_token_that_is_asked_for_are_left_out(targets_only, share):
    """Padding in both cases, and tokens without weight where targets alone are asked for."""
    rows, length, chunk, ran = 4, 32, 8, []
    segments = jnp.asarray(np.repeat([1, 0], [20, 12])[None].repeat(rows, 0))
    batch = with_contexts(make_batch((rows, length)))._replace(segments=segments)

    def watched(logits, tokens, extras):
        jax.debug.callback(lambda: ran.append(1))
        return jnp.zeros(len(tokens))

    policy = make_policy(MODEL, PARAMS, chunk=chunk, targets_only=targets_only)
    jax.block_until_ready(jax.jit(lambda batch: policy.map_logits(watched, batch))(batch))
    jax.effects_barrier()
    asked = rows * 19 if not targets_only else int(jnp.sum((batch.weights != 0)[:, 1:20]))
    assert len(ran) == -(-asked // chunk) < rows * length * share // chunk + 1


def test_leading_axes_are_rows():
    batch = make_batch()
    pairs = jax.tree.map(lambda x: x.reshape(4, 2, -1), batch)
    flat = make_policy(MODEL, PARAMS).scores(batch)
    paired = make_policy(MODEL, PARAMS).scores(pairs)
    np.testing.assert_allclose(paired.logprob.reshape(8, -1), flat.logprob, atol=1e-6)


def test_map_logits_sees_both_policies_and_carries_gradient():
    """The probability-weighted log-ratio to another policy, KL(p || q), against the direct computation."""
    batch = make_batch()
    other = jax.jit(MODEL.init)(jax.random.key(1))

    def divergence(logits, tokens, extras):
        p, q = (jax.nn.log_softmax(x) for x in logits)
        return jnp.sum(jnp.exp(p) * (p - q), -1)

    def chunked(params):
        reference = make_policy(MODEL, other)
        return make_policy(MODEL, params, chunk=9).map_logits(divergence, batch, also=(reference,)).sum()

    def plain(params):
        hidden = [MODEL.hidden(x, batch.tokens, batch.segments)[:, :-1] for x in (params, other)]
        logits = [MODEL.logits(x, h) for x, h in zip((params, other), hidden, strict=True)]
        live = (batch.segments[:, 1:] == batch.segments[:, :-1]) & (batch.segments[:, 1:] > 0)
        return jnp.sum(jnp.where(live, divergence(logits, None, None), 0))

    (ours, gradient), (value, wanted) = (jax.jit(jax.value_and_grad(one))(PARAMS) for one in (chunked, plain))
    np.testing.assert_allclose(ours, value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradient, wanted)


@functools.cache
def alone():
    """The loss of a batch with contexts and its gradient, on one device."""
    return jax.jit(jax.value_and_grad(loss))(PARAMS, with_contexts(make_batch()))


def loops_of(hlo):
    """The computations that while loops run and the branches of conditionals, as texts."""
    bodies, name = {}, None
    for line in hlo.splitlines():
        if line and not line[0].isspace() and "{" in line:
            name = line.split()[1 if line.startswith("ENTRY") else 0].lstrip("%")
        bodies.setdefault(name, []).append(line)
    starts = [part.split("body=%")[1].split(",")[0].split()[0] for part in hlo.splitlines() if "body=%" in part]
    starts += re.findall(r"(?:true|false)_computation=%([\w.-]+)", hlo)
    starts += re.findall(r"%([\w.-]+)", " ".join(re.findall(r"branch_computations=\{([^}]*)\}", hlo)))
    assert starts, "no loop found: the test looks at nothing"
    return ["\n".join(bodies[start]) for start in starts]


@pytest.mark.parametrize("axes", [(8,), (1, 8), (2, 2, 2), (1, 4, 1, 2), (1, 1, 2, 4), (2, 1, 1, 2, 2)])
def test_eight_devices_equal_one_and_the_loop_is_silent(axes):
    batch = with_contexts(make_batch())
    expected, gradient = alone()
    only = functools.partial(loss, targets_only=True)
    with jax.set_mesh(make_mesh(MeshSpec(*axes))):
        compiled = jax.jit(jax.value_and_grad(only)).lower(PARAMS, batch).compile()
        ours, ours_gradient = compiled(PARAMS, batch)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    chex.assert_trees_all_close(ours_gradient, gradient, atol=1e-4, rtol=1e-7)
    words = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
    for body in loops_of(compiled.as_text()):
        assert not [word for word in words if word in body]


@pytest.mark.parametrize("width", [64, 576])
def test_memory_is_a_fraction_of_the_logits(width):
    rows, length, vocab = 8, 512, 49_152
    tokens = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    hidden = jax.ShapeDtypeStruct((rows, length, width), jnp.float32)
    kernel = jax.ShapeDtypeStruct((width, vocab), jnp.float32)

    def total(hidden, kernel, tokens):
        head = Head(lambda leaves, rows: rows @ leaves[0], [kernel])
        scores = map_next_token(token_scores, (head,), (hidden,), tokens, jnp.ones_like(tokens), {}, 128)
        return scores.logprob.sum()

    compiled = jax.jit(jax.value_and_grad(total, (0, 1))).lower(hidden, kernel, tokens).compile()
    logits = 4 * rows * length * vocab
    assert compiled.memory_analysis().temp_size_in_bytes - 2 * 4 * width * vocab < logits / 8
