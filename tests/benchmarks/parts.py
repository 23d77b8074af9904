"""Where a training step spends its time: each kind of work of SmolLM2-135M alone, beside the complete step.

python tests/benchmarks/parts.py TOKENS [EXAMPLE] [TARGETS] [REMAT]   # one row of examples of one length

The defaults are examples of 256 tokens, half of them targets, and `dots`, which a run chooses on a CPU.

Wall seconds and CPU seconds of value and gradient, times how often a step does it. The products are those of
`speed.py limit`, each at its own shape; the others are computed on arrays in memory, where the step may have them in a
cache or fuse them, so their sum need not be the step. The last lines give what the sum leaves open.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from speed import SMOLLM2, used

from mtjax.model.attention import packed_attention
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.layers import rms_norm
from mtjax.model.lm_infinite import WHOLE
from mtjax.model.rope import rotate
from mtjax.objectives.nll import Nll
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from mtjax.types import Batch

CHUNK = 512
RNG = np.random.default_rng(0)


def floats(*shape):
    return jax.device_put(RNG.normal(size=shape).astype("f"))


def cost(call, times: int = 7) -> np.ndarray:
    """Median wall seconds and CPU seconds of a call that has run before."""
    jax.block_until_ready(call())
    found = []
    for _ in range(times):
        before, began = used(), time.perf_counter()
        jax.block_until_ready(call())
        wall = time.perf_counter() - began
        found.append([wall, (used() - before)[:2].sum()])
    return np.median(found, axis=0)


def with_gradient(fn, *inputs):
    """A call of `fn` and of its gradient by all inputs."""
    like = jax.eval_shape(fn, *inputs)
    outer = floats(*like.shape)

    @jax.jit
    def both(outer, *inputs):
        out, back = jax.vjp(fn, *inputs)
        return out, back(outer)

    return lambda: both(outer, *inputs)


def products(count: int, targets: float):
    """Every product of a step and its two gradients, each at its own shape, and how often."""
    width, hidden, heads, kept = (SMOLLM2[name] for name in ("width", "mlp_width", "heads", "kv_heads"))
    layers, size, head = SMOLLM2["layers"], SMOLLM2["head_dim"], min(CHUNK, count)
    shapes = [
        (count, width, heads * size, 2 * layers), (count, width, kept * size, 2 * layers),
        (count, width, hidden, 2 * layers), (count, hidden, width, layers),
        (head, width, SMOLLM2["vocab_size"], max(round(count * targets / head), 1)),
    ]  # fmt: skip
    for rows, wide, out, times in shapes:
        x, w, y = floats(rows, wide), floats(wide, out), floats(rows, out)
        for program, parts in (
            (lambda a, b: a @ b, (x, w)), (lambda a, b: a @ b.T, (y, w)), (lambda a, b: a.T @ b, (x, y)),
        ):  # fmt: skip
            compiled = jax.jit(program)
            yield lambda compiled=compiled, parts=parts: compiled(*parts), times, 2 * rows * wide * out


def others(config, count: int, example: int, targets: float):
    """The rest of a step by name: a call, and how often it is made."""
    width, hidden, layers, size = config.width, config.mlp_width, config.layers, config.head_dim
    segments = jnp.arange(count)[None] // example + 1
    query, key, value = (floats(1, count, heads, size) for heads in (config.heads, config.kv_heads, config.kv_heads))
    angles = floats(1, count, size // 2)
    attend = lambda q, k, v: packed_attention(config, q, k, v, segments, jnp.int32(WHOLE))
    yield "attention", with_gradient(attend, query, key, value), layers
    both = jnp.concatenate([query, key], axis=2)
    yield "rotations", with_gradient(lambda x: rotate(x, jnp.cos(angles), jnp.sin(angles)), both), layers
    x = floats(1, count, width)
    normed = lambda x, scale: rms_norm(x, scale, config.norm_eps, config.norm)
    yield "norms", with_gradient(normed, x, floats(width)), 2 * layers + 1
    gate, up = floats(1, count, hidden), floats(1, count, hidden)
    yield "gated activation", with_gradient(lambda gate, up: jax.nn.silu(gate) * up, gate, up), layers
    yield "adding to the stream", with_gradient(lambda x, y: x + y, x, floats(1, count, width)), 2 * layers
    head = min(CHUNK, count)
    logits, ids = floats(head, config.vocab_size), jnp.asarray(RNG.integers(0, config.vocab_size, head))
    scores = lambda logits: jax.nn.log_softmax(logits)[jnp.arange(head), ids]
    yield "softmax of the head", with_gradient(scores, logits), max(round(count * targets / head), 1)
    table, tokens = floats(config.vocab_size, width), jnp.asarray(RNG.integers(0, config.vocab_size, (1, count)))
    yield "embedding", with_gradient(lambda table: table[tokens], table), 1


def main(tokens: str, example: str = "256", targets: str = "0.5", remat: str = "dots") -> None:
    config, count, share = DecoderConfig(**SMOLLM2, remat=remat), int(tokens), float(targets)
    model, optimizer = make_language_model(config), optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4))
    rows, flops, best = [], 0.0, np.zeros(2)
    total = np.zeros(2)
    for call, times, work in products(count, share):
        own = cost(call)
        total, flops, best = total + times * own, flops + times * work, np.maximum(best, work / own)
    rows.append((f"products, {flops / 1e9:,.0f} GFLOP", total))
    rows += [(name, times * cost(call)) for name, call, times in others(config, count, int(example), share)]
    held = [init_state(model, optimizer, jax.random.key(0))]

    def apply():
        state = held[0]
        updates, opt_state = optimizer.update(state.params, state.opt_state, state.params)
        return optax.apply_updates(state.params, updates), opt_state

    rows.append(("optimizer's update", cost(jax.jit(apply))))
    update = make_train_step(model, Nll(), optimizer, chunk=CHUNK)
    places = np.arange(count)[None]
    weights = (places % int(example) >= int(example) * (1 - share)).astype(np.float32)
    ids = RNG.integers(0, config.vocab_size, (1, count)).astype(np.int32)
    batch = Batch(ids, weights, (places // int(example) + 1).astype(np.int32), {})

    def step():
        held[0], metrics = update(held[0], batch, jax.random.key(1))
        return held[0], metrics

    whole, added = cost(step), sum(each for _, each in rows)
    rows += [("sum of these", added), ("complete step", whole), ("left open", whole - added)]
    print(f"{'one row of ' + tokens + ' tokens':>28} {'wall s':>8} {'CPU s':>8} {'of the step':>12}")
    for name, (wall, cpu) in rows:
        print(f"{name:>28} {wall:8.3f} {cpu:8.3f} {wall / whole[0]:11.1%}")
    rates = flops / best / whole
    print(f"all products at the rate of the fastest ({best[0] / 1e9:,.0f} GFLOP/s): {rates[0]:.1%} of the step's time")


if __name__ == "__main__":
    main(*sys.argv[1:])
