"""FLOPs counted in a jaxpr against arithmetic by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.planning.flops import dot_flops, matrix_params, model_flops

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
