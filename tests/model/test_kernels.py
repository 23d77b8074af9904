"""Kernels: equal to plain attention in interpret mode, lowered without an accelerator, chosen with a reason."""

import contextlib
import dataclasses
import functools
import math
import pathlib

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


def arrays(rows=2, length=256, seed=0, width=8):
    """Queries of 4 heads, keys and values of 2, and packed segments with padding at the end."""
    rng = np.random.default_rng(seed)
    one = lambda heads: jnp.asarray(rng.normal(size=(rows, length, heads, width)), jnp.float32)
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


CUDNN = [f"__cudnn$fmha{name}" for name in ("ScaleBiasSoftmax", "ScaleBiasSoftmaxBackward")]
CHECKS = [export.DisabledSafetyCheck.custom_call(name) for name in ("__gpu$xla.gpu.triton", *CUDNN)]


@pytest.fixture
def with_cudnn(monkeypatch):
    """JAX finds cuDNN and a card of compute capability 9.0, of which lowering asks nothing else."""
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda capability: True)
    monkeypatch.setattr(cudnn, "is_cuda_compute_capability_equal", lambda capability: False)
    monkeypatch.setattr(kernels, "_capability", lambda: 9.0)


def lowered(call, platform, case):
    """The program of value and gradient for an accelerator that is not here, by `jax.export`."""
    shape = lambda length, *more: jax.ShapeDtypeStruct((2, length, *more), case.dtype if more else jnp.int32)
    keys, own = shape(case.length, 2, case.head_dim), case.length // case.context
    inputs = (shape(own, 4, case.head_dim), keys, keys, shape(case.length))

    def gradient(query, key, value, segments):
        total = lambda *qkv: call(*qkv, segments).astype(jnp.float32).sum()
        return jax.grad(total, argnums=(0, 1, 2))(query, key, value)

    made = export.export(jax.jit(gradient), platforms=[platform], disabled_checks=CHECKS)(*inputs)
    return made.mlir_module()


def caller(name, case):
    """A kernel of the table as a function of arrays, for one device."""
    window = min(case.windows, default=2**30)
    if name == "splash":
        of = kernels.splash_kernel(4, case.length, window if case.windows else None, 1, interpret=False, cap=case.cap)
        return lambda q, k, v, segments: kernels.splash_attend(of, q, k, v, segments, segments)
    if name == "cudnn":
        of_own = lambda segments: segments[:, : case.length // case.context]
        mask = lambda segments: attention.packed_mask(segments, jnp.int32(window), of_own(segments), 0)
        return lambda q, k, v, segments: kernels.cudnn_attend(q, k, v, mask, (segments,), interpret=False)
    return functools.partial(kernels.triton_attend, interpret=False)


CALLS = {"splash": ("@tpu_custom_call", 3), "cudnn": ("__cudnn$fmha", 2), "triton": ("xla.gpu.triton", 3)}
"""What a kernel's call looks like in the program, and how many value and gradient have."""
ROWS = [(name, kind) for name, takes in kernels.TABLE.items() for kind in takes.platforms if kind not in ("cpu", "gpu")]
"""Each row with each accelerator that it is for: "gpu" is another word for cuda, and the CPU's own kernel runs here."""
WIDTHS = (8, 32, 64, 80, 96, 128, 192, 256)


def taken(takes, widths):
    """What a row of the table takes: types, head dimensions, the shortest row, windows, caps, a part of the queries."""
    marks = [((), None), *[((100, 2**30), None)] * takes.window, *[((), 50.0)] * takes.cap]
    marks += [((100, 2**30), 50.0)] * (takes.window and takes.cap)
    for dtype in takes.types:
        for width in widths:
            for windows, cap in marks if width == 64 else marks[:1]:
                yield kernels.Case(512, 1, windows, cap, width, dtype)
        yield kernels.Case(takes.tokens, 1, (), None, 64, dtype)


def test_no_row_of_the_table_is_left_out():
    assert ROWS == [("splash", "tpu"), ("cudnn", "cuda"), ("triton", "cuda"), ("triton", "rocm")]
    assert [name for name in kernels.TABLE if name not in CALLS] == ["blocked"]
    assert kernels.TABLE["blocked"].platforms == ("cpu",)  # plain JAX: `test_blocked_attention.py`


@pytest.mark.parametrize("widths", [(64,), pytest.param(WIDTHS, marks=pytest.mark.slow, id="all")])
@pytest.mark.parametrize(("name", "platform"), ROWS)
def test_every_row_of_the_table_lowers(name, platform, widths, with_cudnn):
    """Value and gradient, for a platform that is not here."""
    text, times = CALLS[name]
    for case in taken(kernels.TABLE[name], widths):
        assert kernels.choose(name, platform, case) == kernels._choice(name, platform, case)
        assert lowered(caller(name, case), platform, case).count(text) == times, case


def test_cudnn_lowers_where_the_queries_are_a_part_of_the_row(with_cudnn):
    """As splash does on a mesh, below."""
    case = kernels.Case(512, 2, (100, 2**30))
    assert kernels.choose("cudnn", "cuda", case).name == "cudnn"
    assert lowered(caller("cudnn", case), "cuda", case).count("__cudnn$fmha") == 2


def excluded(takes):
    """A case for each thing that a row of the table does not take, and what the refusal says."""
    dtype, many = takes.types[0], 48 * takes.tokens
    case = kernels.Case(many, dtype=dtype)
    for other in set(kernels.BOTH) - set(takes.types):
        yield case._replace(dtype=other), f"it takes {' and '.join(takes.types)}, and model.dtype={other}"
    of_widths = f"it takes multiples of {takes.head_dims} up to {takes.widest}, and model.head_dim="
    if takes.head_dims > 1:
        yield case._replace(head_dim=takes.head_dims + 1), f"{of_widths}{takes.head_dims + 1}"
    if takes.widest is not None:
        wide = takes.widest + takes.head_dims
        yield case._replace(head_dim=wide), f"{of_widths}{wide}"
    yield case._replace(length=many + 1), f"{many + 1}"
    yield case._replace(context=32), f"{many}" if takes.platforms == ("cpu",) else f"{many} tokens over 32 devices"
    if not takes.window:
        yield case._replace(windows=(100, 2**30)), "it has no sliding window (model.window=100)"
    if not takes.cap:
        yield case._replace(cap=50.0), "it has no cap on scores (model.score_cap=50.0)"
    if not takes.context:
        yield case._replace(context=2), "it has no offset between queries and keys"


@pytest.mark.parametrize("name", list(kernels.TABLE))
def test_what_a_row_excludes_is_refused_by_name(name, with_cudnn):
    """On each of its platforms; `auto` passes over it and says the same, or takes another."""
    takes = kernels.TABLE[name]
    cases = list(excluded(takes))
    flags = (takes.window, takes.cap, takes.context, takes.head_dims == 1, takes.widest is None)
    assert len(cases) == 2 + len(kernels.BOTH) - len(takes.types) + flags.count(False)
    for platform in takes.platforms:
        for case, why in cases:
            with pytest.raises(InputError, match=f"model.attention='{name}' cannot be used: ") as refused:
                kernels.choose(name, platform, case)
            assert why in str(refused.value)
            chosen = kernels.choose("auto", platform, case)
            assert chosen.name != name
            assert chosen.name != "plain" or f"{name} cannot be used: " in chosen.why


@pytest.mark.parametrize(
    ("name", "platform", "more"),
    [
        ("cudnn", "cuda", {"dtype": "float32"}),
        ("cudnn", "cuda", {"head_dim": 12}),
        ("cudnn", "cuda", {"head_dim": 264}),
        ("cudnn", "cuda", {"length": 513}),
        ("triton", "cuda", {"length": 192}),
    ],
)
def test_the_libraries_refuse_what_the_table_does(name, platform, more, with_cudnn):
    """So the limits of the table are theirs."""
    case = kernels.Case(512)._replace(**more)
    with pytest.raises((ValueError, NotImplementedError)):
        lowered(caller(name, case), platform, case)


@pytest.mark.slow
@pytest.mark.parametrize("width", [8, 32, 80, 128, 256])
@pytest.mark.parametrize("name", list(kernels.TABLE))
def test_every_row_of_the_table_has_the_values_of_plain_attention(name, width):
    """In interpret mode, in each type, with a window and a cap where the kernel has them."""
    takes = kernels.TABLE[name]
    for dtype in takes.types:
        config = dataclasses.replace(CONFIG, head_dim=width, dtype=dtype, attention=name)
        config = dataclasses.replace(config, window=100 if takes.window else None, score_cap=2.0 if takes.cap else None)
        query, key, value, segments = arrays(width=width)
        inputs = (*(x.astype(dtype) for x in (query, key, value)), segments)
        windows = BOTH[:1] if takes.window else BOTH[1:]
        (ours,) = value_and_gradient(config, windows, inputs)
        (plain,) = value_and_gradient(dataclasses.replace(config, attention="plain"), windows, inputs)
        bound = 2e-5 if dtype == "float32" else 0.06  # bfloat16 has 8 bits, and gradients here reach 2
        close = lambda a, b: np.testing.assert_allclose(np.float32(a), np.float32(b), atol=bound, rtol=bound)  # noqa: B023
        jax.tree.map(close, ours, plain)


@pytest.mark.parametrize("window", [100, 2**30])
@pytest.mark.parametrize("context", [1, 2])
def test_cudnn_is_called_as_plain_attention_is(window, context):
    """The same call without cuDNN, in float32: segments, padding, grouped heads, windows, and a part of the queries."""
    query, key, value, segments = arrays()
    first = 256 - 256 // context
    own = segments[:, first:]

    def total(call):
        def of(query, key, value):
            seen = call(query[:, first:], key, value)
            return jnp.sum(jnp.sin(seen)), seen

        return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2), has_aux=True))(query, key, value)

    given = (segments, jnp.int32(window), own, first)
    plain = total(lambda *qkv: attention.attend(*qkv, attention.packed_mask(*given)))
    ours = total(lambda *qkv: kernels.cudnn_attend(*qkv, attention.packed_mask, given, True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), ours, plain)


def test_cudnn_in_bfloat16_and_what_is_kept_for_the_backward_pass(with_cudnn):
    """By `model.attention`, within bfloat16 of plain attention; on a GPU no layer keeps its `[T, T]` mask."""
    config = dataclasses.replace(SLIDES, attention="cudnn", dtype="bfloat16")
    query, key, value, segments = arrays()
    inputs = (*(x.astype(jnp.bfloat16) for x in (query, key, value)), segments)
    (ours,) = value_and_gradient(config, BOTH[:1], inputs)
    (plain,) = value_and_gradient(dataclasses.replace(config, attention="plain"), BOTH[:1], inputs)
    close = lambda a, b: np.testing.assert_allclose(np.float32(a), np.float32(b), atol=0.03, rtol=0.03)
    jax.tree.map(close, ours, plain)

    def call(interpret):
        mask = lambda segments: attention.packed_mask(segments, jnp.int32(100))
        return lambda q, k, v: kernels.cudnn_attend(q, k, v, mask, (segments,), interpret)

    _, pull = jax.eval_shape(functools.partial(jax.vjp, call(False)), *inputs[:3])
    kept = [leaf.shape for leaf in jax.tree.leaves(pull)]
    assert (2, 256, 4, 8) in kept  # what was seen
    assert (2, 4, 256) in kept  # the normalisers
    assert not [shape for shape in kept if shape[-2:] == (256, 256)]


def test_the_whole_model_lowers_for_cuda_with_cudnn(with_cudnn, monkeypatch):
    """Value and gradient of the scanned decoder with sliding layers, kernel chosen by itself."""
    rows = {name: takes._replace(platforms=("cpu",) * (name == "cudnn")) for name, takes in kernels.TABLE.items()}
    monkeypatch.setattr(kernels, "TABLE", rows)  # let this platform stand for a GPU
    model = make_language_model(dataclasses.replace(SLIDES, head_dim=64, remat="dots", dtype="bfloat16"))
    params = jax.eval_shape(model.init, jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((4, 512), jnp.int32)
    gradient = jax.jit(jax.grad(lambda params, tokens: model.hidden(params, tokens, tokens).sum()))
    text = export.export(gradient, platforms=["cuda"], disabled_checks=CHECKS)(params, tokens).mlir_module()
    assert text.count("__cudnn$fmha") >= 2


def test_the_whole_model_lowers_for_a_tpu_mesh_with_context(monkeypatch):
    """Value and gradient of the scanned decoder over data x context x tensor, kernel chosen by itself."""
    rows = {name: takes._replace(platforms=("cpu",) * (name == "splash")) for name, takes in kernels.TABLE.items()}
    monkeypatch.setattr(kernels, "TABLE", rows)  # let this platform stand for a TPU
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
        ("gpu", 4096, 1, (1024,), "plain", "cudnn cannot be used: JAX does not find the library"),
        ("cpu", 4096, 1, WIDE, "blocked", "blocks of 64 on cpu"),
        ("cpu", 40, 1, WIDE, "plain", "blocked cannot be used: it is for rows of 96 tokens and more"),
        ("other", 4096, 1, WIDE, "plain", "no kernel for other"),
    ],
)
def test_the_kernel_is_chosen_with_a_reason(platform, length, context, windows, name, why):
    choice = kernels.choose("auto", platform, kernels.Case(length, context, windows))
    assert choice.name == name
    assert why in choice.why
    assert not choice.interpret


@pytest.mark.parametrize(
    ("case", "name", "why"),
    [
        (kernels.Case(4096), "cudnn", "a mask for all heads"),
        (kernels.Case(4096, 2, (1024, 2**30)), "cudnn", ""),
        (kernels.Case(4096, head_dim=256), "cudnn", ""),
        (kernels.Case(16384), "triton", "blocks of 128"),
        (kernels.Case(4096, dtype="float32"), "triton", ""),
        (kernels.Case(4096, head_dim=100), "triton", ""),
        (kernels.Case(4096, cap=50.0), "plain", "cudnn cannot be used: it has no cap on scores"),
        (kernels.Case(4096, windows=(100,), dtype="float32"), "plain", "cudnn cannot be used: it takes bfloat16"),
        (kernels.Case(16384, windows=(100,)), "plain", "cudnn cannot be used: its mask of 16384 x 16384 is large"),
    ],
)
def test_a_gpu_with_cudnn_takes_it_where_it_is_exact(case, name, why, with_cudnn):
    choice = kernels.choose("auto", "gpu", case)
    assert choice.name == name
    assert why in choice.why


def test_cudnn_is_held_to_the_card(with_cudnn, monkeypatch):
    monkeypatch.setattr(kernels, "_capability", lambda: 8.0)
    assert kernels.choose("auto", "gpu", kernels.Case(4096, head_dim=128)).name == "cudnn"
    assert kernels.choose("auto", "gpu", kernels.Case(4096, head_dim=256)).name == "triton"
    with pytest.raises(InputError, match=r"model.head_dim=256 needs compute capability 9.0, and this device has 8.0"):
        kernels.choose("cudnn", "gpu", kernels.Case(4096, head_dim=256))


def test_the_page_shows_the_table():
    """docs/sharding.md, row by row."""
    page = pathlib.Path("docs/sharding.md").read_text()
    cell = lambda true: "yes" if true else "no"
    for name, takes in kernels.TABLE.items():
        dims = f"multiple of {takes.head_dims}" if takes.head_dims > 1 else "any"
        dims += f", up to {takes.widest}" if takes.widest else ""
        tokens = f"multiple of {takes.tokens}" + (f", `auto` up to {takes.longest:,}" if takes.longest else "")
        parts = (", ".join(takes.platforms), dims, ", ".join(takes.types), tokens)
        parts += (cell(takes.window), cell(takes.cap), cell(takes.context))
        assert f"| {name} | {' | '.join(parts)} |" in page


def test_what_is_insisted_on_is_done_or_refused():
    assert kernels.choose("plain", "tpu", kernels.Case(4096)).name == "plain"
    assert kernels.choose("splash", "cpu", kernels.Case(4096)).interpret
    with pytest.raises(InputError, match="model.attention='splash' cannot be used: 96 tokens"):
        kernels.choose("splash", "cpu", kernels.Case(96))
    with pytest.raises(InputError, match=r"model.attention='triton' cannot be used: it has no cap on scores"):
        kernels.choose("triton", "gpu", kernels.Case(4096, cap=50.0))
    assert kernels.choose("auto", "gpu", kernels.Case(4096, cap=50.0)).name == "plain"
    with pytest.raises(InputError, match="mesh.context=2 does not divide rows of 15 tokens"):
        attention.choice_for(CONFIG, 15, make_mesh(MeshSpec(data=4, context=2)))
