"""A closed-form liquid cell (CfC) that follows a sine whose frequency and height drift (paper 6).

Command:  python docs/examples/papers/closed_form_cell.py
Expect:   the mean squared error falls from 0.75 to below 0.01; repeating the last value has 0.66.

`z = 1.7159 tanh(0.666 (W [x, h] + b))`, `f1 = tanh(W1 z)`, `f2 = tanh(W2 z)`, `t = sigmoid(ta(z) dt + tb(z))`, and the
next state is `f1 (1 - t) + t f2`, or `f1 + t f2` without a gate: time is an input, so observations may come unevenly.

Source: arXiv 2404.05304, with the cell of the package `ncps`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def cell(params, x, h, dt, gate=True):
    """The next state of a cell, of `[..., H]`."""
    linear = lambda name, z: z @ params[f"w_{name}"].T + params[f"b_{name}"]
    z = 1.7159 * jnp.tanh(0.666 * linear("z", jnp.concatenate([x, h], -1)))
    first, second = jnp.tanh(linear("1", z)), jnp.tanh(linear("2", z))
    t = jax.nn.sigmoid(linear("ta", z) * dt + linear("tb", z))
    return first * (1 - t) + t * second if gate else first + t * second


def init(key, inputs, hidden, width):
    """Xavier weights and zero biases."""
    shapes = {"z": (width, inputs + hidden)} | dict.fromkeys(("1", "2", "ta", "tb"), (hidden, width))
    shapes["out"] = (1, hidden)
    keys = jax.random.split(key, len(shapes))
    scale = lambda shape: (2 / sum(shape)) ** 0.5
    weights = {f"w_{n}": scale(s) * jax.random.normal(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=True)}
    return weights | {f"b_{name}": jnp.zeros(shape[0]) for name, shape in shapes.items()}


def series(seed, length=200):
    """Times that are uneven, and a sine whose frequency and height drift."""
    rng = np.random.default_rng(seed)
    dt = rng.uniform(0.3, 1.0, length)
    time = np.cumsum(dt)
    height = 1 + 0.5 * np.sin(time / 40)
    return jnp.asarray(dt, jnp.float32), jnp.asarray(height * np.sin(time * (0.8 + 0.004 * time)), jnp.float32)


def loss(params, dt, y):
    """Mean square of the error of the next value."""

    def step(h, given):
        wait, value = given
        h = cell(params, value[None], h, wait)
        return h, (params["w_out"] @ h + params["b_out"])[0]

    _, said = jax.lax.scan(step, jnp.zeros(params["w_out"].shape[1]), (dt[1:], y[:-1]))
    return jnp.mean((said - y[1:]) ** 2)


def main(steps=300):
    """Train on four series; returns the error before, after, and that of repeating the last value."""
    dt, y = map(jnp.stack, zip(*map(series, range(4)), strict=True))
    params, optimizer = init(jax.random.key(0), 1, 16, 32), optax.adam(1e-2)
    mean = lambda params: jnp.mean(jax.vmap(loss, (None, 0, 0))(params, dt, y))

    @jax.jit
    def train(params, state):
        def update(carry, _):
            value, slope = jax.value_and_grad(mean)(carry[0])
            change, state = optimizer.update(slope, carry[1])
            return (optax.apply_updates(carry[0], change), state), value

        return jax.lax.scan(update, (params, state), None, steps)

    (params, _), losses = train(params, optimizer.init(params))
    repeated = float(jnp.mean((y[:, 1:] - y[:, :-1]) ** 2))
    print(f"error {losses[0]:.3f} at the start, {losses[-1]:.3f} after {steps} updates; last value {repeated:.3f}")
    return float(losses[0]), float(losses[-1]), repeated


if __name__ == "__main__":
    main()
