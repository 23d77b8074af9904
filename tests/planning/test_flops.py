"""FLOPs counted in a jaxpr against arithmetic by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from mtjax.model import kernels
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.planning.flops import dot_flops, matrix_params, model_flops, visited_share

SMALL = DecoderConfig(vocab_size=1024, width=16, layers=5, heads=4, kv_heads=2, head_dim=8, mlp_width=24)


def counted(fn, *arguments):
    return dot_flops(jax.make_jaxpr(fn)(*arguments).jaxpr)


def test_a_scan_counts_as_often_as_it_runs():
    def body(x, _):
        return x @ x, None

    # 2 * 3 * 3 * 3 a turn, 7 turns, and once more outside.
    assert counted(lambda x: jax.lax.scan(body, x, None, 7)[0] @ x, jnp.zeros((3, 3))) == 54 * 8


def test_a_branch_counts_the_costlier_side():
    fn = lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x @ x @ x, x)
    assert counted(fn, jnp.zeros((3, 3))) == 108


def test_a_shard_map_counts_every_device():
    mesh = jax.make_mesh((2, 2), ("a", "b"), (AxisType.Auto,) * 2)
    fn = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=jax.P("a"), out_specs=jax.P("a"), check_vma=False)
    # Each of 4 devices, those that b repeats too: [2, 3] @ [3, 2] = 2 * 2 * 2 * 3.
    assert counted(fn, jnp.zeros((4, 3))) == 4 * 24


@pytest.mark.parametrize("tied", [False, True])
def test_a_forward_pass_by_hand(tied):
    config = DecoderConfig(**{**vars(SMALL), "tied": tied})
    model = make_language_model(config)
    params = jax.eval_shape(model.init, jax.random.key(0))
    rows, length = 3, 10
    tokens = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    forward = lambda params, tokens: model.logits(params, model.hidden(params, tokens, tokens))
    # Per layer and token: q and out 2 * 16 * 32, k and v 2 * 16 * 16, MLP 3 * 16 * 24; the head 16 * 1024; times 2.
    matrices = 5 * (2 * 16 * 32 + 2 * 16 * 16 + 3 * 16 * 24) + 16 * 1024
    # Scores and weighted sum, all of [T, T]: 2 * 2 * T * 32 a token and layer.
    attention = 5 * 4 * length * 32
    assert counted(forward, params, tokens) == rows * length * (2 * matrices + attention)
    # 11 norm scales of width 16 are parameters too, and no products.
    assert matrix_params(config, params) == matrices + 11 * 16
    # Without recomputation and with causal attention at half: a third of 6 N + 6 L H K T.
    useful = model_flops(config, params, rows * length, length, passes=1)
    assert useful == pytest.approx(rows * length * (2 * (matrices + 176) + attention / 2))


@pytest.mark.parametrize("window", [1, 5, 64, 256, 1000])
@pytest.mark.parametrize(("rows", "columns"), [(128, 128), (32, 64), (64, 32)])
def test_the_blocks_of_a_causal_mask_against_the_mask(rows, columns, window):
    query, key = np.indices((256, 256))
    mask = (key <= query) & (key > query - window)
    blocks = mask.reshape(256 // rows, rows, 256 // columns, columns).any((1, 3))
    assert visited_share(256, rows, columns, window) == blocks.mean()


@pytest.mark.parametrize("name", ["splash", "triton"])
@pytest.mark.parametrize("rows", [1, 3])  # of one row, the kernel's arrays have no batch
@pytest.mark.parametrize("windows", [(), (2**30, 2**30), (256, 2**30)])
def test_an_attention_kernel_by_hand(name, rows, windows):
    if name == "triton" and 256 in windows:
        pytest.skip("the triton kernel has no windows")
    length, heads, kv_heads, width = 1024, 4, 2, 64
    query, key = jnp.zeros((rows, length, heads, width)), jnp.zeros((rows, length, kv_heads, width))
    segments = jnp.ones((rows, length), jnp.int32)

    def attend(query, key, value):
        if name == "triton":
            return kernels.triton_attend(query, key, value, segments, False).sum()
        kernel = kernels.splash_kernel(heads, length, None, 1, False)
        return kernels.splash_attend(kernel, query, key, value, segments, segments).sum()

    program = jax.make_jaxpr(jax.grad(attend, (0, 1, 2)))(query, key, key).jaxpr
    whole = rows * heads * length**2 * 2 * width  # one product over all pairs
    expected = {
        # Forward in blocks of 128, 8 + 7 + ... of 8 x 8; backward in blocks of 32, for keys and values 4 products, for
        # queries 3: 32 + 31 + ... of 32 x 32.
        "triton": 2 * whole * 36 / 64 + 7 * whole * 528 / 1024,
        # Blocks of 512, 3 of 4, and outside of the kernels the sum of result times its gradient. A window of 256 visits
        # as many: the first query of the second block sees the first block's end.
        "splash": (2 + 4 + 3) * whole * 3 / 4 + 2 * rows * heads * length * width,
    }[name]
    assert dot_flops(program, windows=windows) == expected
