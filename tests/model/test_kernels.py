"""Kernels: equal to plain attention in interpret mode, lowered without an accelerator, chosen with a reason."""

import contextlib
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model import attention, kernels
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from tests.objectives.fakes import random_segments

CONFIG = DecoderConfig(vocab_size=16, width=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp_width=16)
SLIDES = dataclasses.replace(CONFIG, window=100, window_layers=(True, False))


def arrays(rows=2, length=256, seed=0):
    """Queries of 4 heads, keys and values of 2, and packed segments with padding at the end."""
    rng = np.random.default_rng(seed)
    one = lambda heads: jnp.asarray(rng.normal(size=(rows, length, heads, 8)), jnp.float32)
    return one(4), one(2), one(2), jnp.asarray(random_segments(rng, rows, length, 4))


def value_and_gradient(config, windows, inputs):
    """Attention by whatever kernel `config` asks for, and the gradient of an arbitrary sum of it, for each window."""

    @jax.jit
    def both(window, query, key, value, segments):
        def total(query, key, value):
            seen = attention.packed_attention(config, query, key, value, segments, window)
            return jnp.sum(jnp.sin(seen) * (segments > 0)[..., None, None]), seen

        (_, seen), gradient = jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)(query, key, value)
        return seen, gradient

    return [jax.device_get(both(jnp.int32(window), *inputs)) for window in windows]


def check(config, windows, mesh=None):
    inputs = arrays()
    plain = value_and_gradient(dataclasses.replace(config, attention="plain"), windows, inputs)
    with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
        ours = value_and_gradient(config, windows, inputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), ours, plain)


BOTH = (100, 2**30)  # the layer that slides, and the one that does not


@pytest.mark.slow  # the default suite has it on a mesh, below
def test_splash_equals_plain_attention():
    check(dataclasses.replace(SLIDES, attention="splash"), BOTH)


def test_triton_equals_plain_attention():
    check(dataclasses.replace(CONFIG, attention="triton"), BOTH[1:])


@pytest.mark.parametrize(
    ("asked", "axes"),
    [
        ("plain", {"data": 2, "tensor": 2, "context": 2}),
        ("splash", {"data": 2, "tensor": 2, "context": 2}),
        pytest.param("triton", {"data": 2, "tensor": 2}, marks=pytest.mark.slow),
    ],
)
def test_kernels_on_a_mesh_equal_plain_attention(asked, axes):
    """Segments, padding, grouped heads; with context, splash takes its own rows of the mask, and the window slides.

    With a soft cap that bends most scores, and another divisor, which triton has not.
    """
    slides = asked != "triton"
    capped = dataclasses.replace(SLIDES, score_cap=1.5, query_scalar=5)
    config = dataclasses.replace(capped if slides else CONFIG, attention=asked)
    devices = jax.devices()[: math.prod(axes.values())]
    check(config, BOTH if slides else BOTH[1:], make_mesh(MeshSpec(**axes), devices))


def test_context_gathers_keys_and_values_and_moves_nothing_else():
    """Keys, values and segment numbers are gathered, and nothing else moves in the forward pass."""
    query, key, value, segments = arrays()
    config = dataclasses.replace(CONFIG, attention="plain")
    call = lambda *rest: attention.packed_attention(config, *rest, jnp.int32(2**30))
    mesh = make_mesh(MeshSpec(data=2, context=4))
    place = lambda x: jax.device_put(x, jax.NamedSharding(mesh, jax.P("data", "context")))
    with jax.set_mesh(mesh):
        text = jax.jit(call).lower(*map(place, (query, key, value, segments))).compile().as_text()
    starts = lambda word: sum(f" {word}(" in line or f" {word}-start(" in line for line in text.splitlines())
    assert starts("all-gather") in (1, 2, 3)  # the compiler may join them
    assert not any(starts(word) for word in ("all-reduce", "all-to-all", "collective-permute", "reduce-scatter"))


TRITON = [export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]


def lowered(call, platform, checks=()):
    """The program of value and gradient for an accelerator that is not here, by `jax.export`."""
    query, key, segments = ((2, 512, 4, 64), (2, 512, 2, 64), (2, 512))
    shape = lambda size, dtype: jax.ShapeDtypeStruct(size, dtype)
    inputs = (
        shape(query, jnp.bfloat16),
        shape(key, jnp.bfloat16),
        shape(key, jnp.bfloat16),
        shape(segments, jnp.int32),
    )

    def gradient(query, key, value, segments):
        total = lambda *qkv: call(*qkv, segments).astype(jnp.float32).sum()
        return jax.grad(total, argnums=(0, 1, 2))(query, key, value)

    made = export.export(jax.jit(gradient), platforms=[platform], disabled_checks=checks)(*inputs)
    return made.mlir_module()


@pytest.mark.parametrize("window", [None, 100])
def test_splash_lowers_for_tpu_without_one(window):
    kernel = kernels.splash_kernel(4, 512, window, 1, interpret=False)
    text = lowered(lambda q, k, v, segments: kernels.splash_attend(kernel, q, k, v, segments, segments), "tpu")
    assert text.count("@tpu_custom_call") == 3  # forward, dq, dk and dv


def test_triton_lowers_for_cuda_without_one():
    text = lowered(functools.partial(kernels.triton_attend, interpret=False), "cuda", TRITON)
    assert text.count("xla.gpu.triton") >= 3  # forward, and two for the gradient


def test_the_whole_model_lowers_for_a_tpu_mesh_with_context(monkeypatch):
    """Value and gradient of the scanned decoder over data x context x tensor, kernel chosen by itself."""
    monkeypatch.setattr(kernels, "HOME", {"cpu": "splash"})  # let this platform stand for a TPU
    model = make_language_model(dataclasses.replace(SLIDES, head_dim=64, remat="full"))
    params = jax.eval_shape(model.init, jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((4, 512), jnp.int32)
    with jax.set_mesh(make_mesh(MeshSpec(data=2, context=2, tensor=2))):
        gradient = jax.jit(jax.grad(lambda params, tokens: model.hidden(params, tokens, tokens).sum()))
        text = export.export(gradient, platforms=["tpu"])(params, tokens).mlir_module()
    assert "tpu_custom_call" in text


WIDE = (2**30,)


@pytest.mark.parametrize(
    ("platform", "length", "context", "windows", "name", "why"),
    [
        ("tpu", 4096, 1, WIDE, "splash", "blocks of 512 on tpu"),
        ("tpu", 4096, 4, (1024, 2**30), "splash", "blocks of 512 on tpu"),
        ("tpu", 640, 1, WIDE, "splash", "blocks of 128 on tpu"),
        ("tpu", 96, 1, WIDE, "plain", "splash cannot be used: 96 tokens are no multiple of 128 each"),
        ("tpu", 512, 8, WIDE, "plain", "512 tokens over 8 devices are no multiple of 128 each"),
        ("gpu", 4096, 1, WIDE, "triton", "blocks of 128 on gpu"),
        ("gpu", 4096, 1, (1024,), "plain", r"triton cannot be used: it has no sliding window (model.window=1024)"),
        ("gpu", 4096, 1, (8192,), "triton", ""),
        ("gpu", 4096, 2, WIDE, "plain", "it has no offset between queries and keys"),
        ("cpu", 4096, 1, WIDE, "blocked", "blocks of 64 on cpu"),
        ("cpu", 40, 1, WIDE, "plain", "blocked cannot be used: it is for rows of 96 tokens and more"),
        ("other", 4096, 1, WIDE, "plain", "no kernel for other"),
    ],
)
def test_the_kernel_is_chosen_with_a_reason(platform, length, context, windows, name, why):
    choice = kernels.choose("auto", platform, length, context, windows)
    assert choice.name == name
    assert why in choice.why
    assert not choice.interpret


def test_what_is_insisted_on_is_done_or_refused():
    assert kernels.choose("plain", "tpu", 4096, 1, WIDE).name == "plain"
    assert kernels.choose("splash", "cpu", 4096, 1, WIDE).interpret
    with pytest.raises(InputError, match="model.attention='splash' cannot be used: 96 tokens"):
        kernels.choose("splash", "cpu", 96, 1, WIDE)
    with pytest.raises(InputError, match=r"model.attention='triton' cannot be used: it has no cap on scores"):
        kernels.choose("triton", "gpu", 4096, 1, WIDE, 50.0)
    assert kernels.choose("auto", "gpu", 4096, 1, WIDE, 50.0).name == "plain"
    with pytest.raises(InputError, match="mesh.context=2 does not divide rows of 15 tokens"):
        attention.choice_for(CONFIG, 15, make_mesh(MeshSpec(data=4, context=2)))
