"""The layers of a block that know nothing of attention: RMSNorm, a linear map, the gated MLP."""

import functools
import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.distributed.sharding import constrain, mesh_in_force, ways
from mtjax.model.adapters import linear

Norm = Literal["scale", "scale_float32", "one_plus"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
}


class RMSNorm(nn.Module):
    """`scale * x / sqrt(mean(x^2) + eps)` over the last `axes` axes, the mean square in float32.

    `kind` says where the result returns to the type of `x`: before the scale, as in Llama ("scale"), or after it, as in
    OLMo 2 ("scale_float32") and in Gemma, whose parameter is the scale minus 1 ("one_plus").
    """

    eps: float
    kind: Norm = "scale"
    axes: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        start = nn.initializers.zeros if self.kind == "one_plus" else nn.initializers.ones
        scale = self.param("scale", start, x.shape[-self.axes :])
        return rms_norm(x, scale, self.eps, self.kind)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def rms_norm(x: Any, scale: Any, eps: float, kind: Norm) -> Any:
    """The value of `RMSNorm`, over as many of the last axes as `scale` has.

    Its gradient is written out, in float32. With `r = 1 / sqrt(mean(x^2) + eps)`, gradient g of the value, scale s and
    n numbers: by x it is `r g s - x r^3 sum(g s x) / n`, by s it is the sum of `g x r` over all other axes. What JAX
    derives takes 10 times as long on a CPU, where XLA hands sums of products to one loop of its library.
    """
    return _normed(x, scale, eps, kind)[0]


def _normed(x: Any, scale: Any, eps: float, kind: Norm) -> tuple[Any, tuple[Any, Any, Any]]:
    wide = x.astype(jnp.float32)
    inverse = jax.lax.rsqrt(jnp.mean(wide**2, range(-scale.ndim, 0), keepdims=True) + eps)
    wide = wide * inverse
    if kind == "scale":
        return wide.astype(x.dtype) * scale.astype(x.dtype), (x, scale, inverse)
    return (wide * (1 + scale if kind == "one_plus" else scale)).astype(x.dtype), (x, scale, inverse)


def _norm_gradients(eps: float, kind: Norm, kept: tuple[Any, Any, Any], gradient: Any) -> tuple[Any, Any]:
    x, scale, inverse = kept
    wide, gradient = x.astype(jnp.float32), gradient.astype(jnp.float32)
    scaled = gradient * (scale.astype(jnp.float32) + (1 if kind == "one_plus" else 0))
    flat = (*x.shape[: x.ndim - scale.ndim], scale.size)
    inner = jnp.einsum("...d,...d->...", scaled.reshape(flat), wide.reshape(flat), precision="highest")
    inner = inner.reshape(inverse.shape)
    by_x = inverse * scaled - wide * (inner * inverse**3 / scale.size)
    by_scale = jnp.sum(gradient * (wide * inverse), range(x.ndim - scale.ndim))
    return by_x.astype(x.dtype), by_scale.astype(scale.dtype)


rms_norm.defvjp(_normed, _norm_gradients)


class Dense(nn.Module):
    """`x @ kernel + bias` over the last `len(inputs)` axes, done as one two-dimensional product.

    Written out because XLA's CPU backward pass of products with more axes is about twice as slow.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scale: float
    bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Shapes: `[B, T, *inputs] -> [B, T, *outputs]`."""
        kernel = self.param("kernel", nn.initializers.normal(self.scale), (*self.inputs, *self.outputs))
        lead, size = x.shape[:2], math.prod(self.outputs)
        # Rows and time may only be merged where time is whole on a device.
        rows = (lead[0] * lead[1],) if ways(mesh_in_force(), "length") == 1 else lead
        y = linear(self, x.reshape(*rows, -1), kernel.reshape(-1, size))
        y = y.reshape(*lead, *self.outputs)
        if self.bias:
            y = y + self.param("bias", nn.initializers.zeros, self.outputs).astype(x.dtype)
        return y


class MLP(nn.Module):
    """The gated MLP `down(act(gate x) * up x)` of hidden width F."""

    width: int
    hidden: int
    activation: Activation
    scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        gate = Dense((self.width,), (self.hidden,), self.scale, name="gate")(x)
        up = Dense((self.width,), (self.hidden,), self.scale, name="up")(x)
        inner = constrain(ACTIVATIONS[self.activation](gate) * up, "batch", "length", "mlp")
        return Dense((self.hidden,), (self.width,), self.scale, name="down")(inner)
