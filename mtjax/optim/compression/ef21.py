"""EF21: each worker sends a compressed correction of an estimate of its gradient (error feedback)."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from annotated_types import Gt, Le
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.optim.compression.base import COMPRESSIONS, over_data
from mtjax.validation import PositiveInt, check_types

NATURAL = 8 / 9  # the contraction of `power_of_two`: no number is off by more than a third


class Ef21State(NamedTuple):
    """What workers and server remember."""

    workers: Any  # the estimate of each worker's gradient, `[workers, ...]`, split over the data axis
    mean: Any  # their mean, which the optimizer gets
    error: Any  # root of `mean_i |gradient_i - estimate_i|^2` over that of `mean_i |gradient_i|^2`, after the update
    share: Any  # bytes that a worker sends over those of its gradient in float32


def kept_count(size: int, share: float) -> int:
    """The entries that TopK keeps of so many: `ceil(share size)`, at least one."""
    return max(1, min(size, math.ceil(share * size - 1e-9)))


def top_k(flat: Float[Array, " N"], count: int) -> tuple[Float[Array, " K"], Any]:
    """The entries of largest magnitude, and their places."""
    _, places = jax.lax.top_k(jnp.abs(flat), count)
    return flat[places], places


def power_of_two(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Each number as the nearest power of two with its sign, of 9 bits; 0 stays 0.

    >>> power_of_two(jnp.array([3.1, -0.7, 0.0, 1.4])).tolist()
    [4.0, -0.5, 0.0, 1.0]
    """
    mantissa, exponent = jnp.frexp(x)  # |mantissa| in [0.5, 1): the middle of 0.5 and 1 is 0.75
    near = jnp.where(jnp.abs(mantissa) >= 0.75, jnp.sign(mantissa), 0.5 * jnp.sign(mantissa))
    return jnp.ldexp(near, exponent)


@COMPRESSIONS.register("ef21")
@dataclasses.dataclass(frozen=True)
class Ef21:
    """Error feedback for biased compressors, plain and weighted (EF21-W).

    Formula: worker i of n has an estimate `g_i` of its gradient, 0 at the start, and sends
    `u_i = s_i C((grad f_i(x) - g_i) / s_i)` with C the compressor, for each parameter apart; then `g_i = g_i + u_i`,
    and the optimizer gets `sum_i g_i / n`. `s_i = 1`, or in the weighted form `L_i / mean(L)` (the paper's `n w_i`; its
    `g_i` are these over s_i); for `top_k` both are the same. `share=1` sends all: that is the gradient itself.

    State: one float32 gradient for each worker, split over the mesh like the parameters and over its data axis, and
    their mean. Metrics: `compression/error`, how far the estimates lie from the gradients, relative to them;
    `compression/share`, bytes sent over those of float32 gradients.

    Want it where the network between data-parallel workers is the limit, with `optim.optimizer:sgd`: the theory has no
    Adam. `step_size` is the largest learning rate that it allows. A batch is split into `workers` parts, whatever the
    mesh is, so fewer devices give the same run.

    Source: Richtarik et al., "EF21: A New, Simpler, Theoretically Better, and Practically Faster Error Feedback",
    NeurIPS 2021 (arXiv 2106.05203); Richtarik, Gasanov and Burlachenko, "Error Feedback Reloaded: From Quadratic to
    Arithmetic Mean of Smoothness Constants", ICLR 2024 (arXiv 2402.10774).
    """

    workers: PositiveInt = 8  # Data-parallel workers; `mesh.data` must divide them.
    compressor: Literal["top_k", "power_of_two"] = "top_k"
    """The entries of largest magnitude, or every entry as the nearest power of two (9 bits)."""
    share: Annotated[float, Gt(0), Le(1)] = 0.01  # Of `top_k`: entries that are sent of each parameter.
    smoothness: tuple[float, ...] = ()  # Smoothness constant of each worker's loss, for the weighted form.
    exchange: Literal["sparse", "dense"] = "sparse"
    """Of `top_k`: gather values and places, or add up arrays that are mostly 0 (for networks without a fast gather)."""

    def __post_init__(self) -> None:
        check_types(self, "optim.compression")
        if self.smoothness and (len(self.smoothness) != self.workers or min(self.smoothness) <= 0):
            raise InputError(
                f"optim.compression.smoothness={self.smoothness}: expected {self.workers} numbers above 0, one for "
                "each of optim.compression.workers"
            )

    @property
    def contraction(self) -> float:
        """alpha of `|C(v) - v|^2 <= (1 - alpha) |v|^2`."""
        return NATURAL if self.compressor == "power_of_two" else self.share

    @property
    def scales(self) -> np.ndarray:
        """s_i, whose mean is 1."""
        own = np.asarray(self.smoothness or (1.0,) * self.workers, np.float64)
        return own / own.mean()

    def step_size(self, lipschitz: float | None = None) -> float:
        """The largest learning rate of the theory, `1 / (L + mean(L_i) xi)`; see `step_sizes`.

        `lipschitz` is that of the mean loss, at most (and by default) the mean of `smoothness`.
        """
        if not self.smoothness:
            raise InputError("optim.compression.smoothness is empty; the step size needs a constant for each worker")
        return step_sizes(self.smoothness, self.contraction, lipschitz)[1]

    def __call__(self) -> optax.GradientTransformation:
        def init(params: Any) -> Ef21State:
            wide = lambda x: jnp.zeros((self.workers, *x.shape), jnp.float32)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), params)
            return Ef21State(jax.tree.map(wide, params), zeros, jnp.zeros(()), jnp.zeros(()))

        def update(gradients: Any, state: Ef21State, params: Any = None) -> tuple[Any, Ef21State]:
            leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, gradients))
            count = len(leaves)
            many, once = (True,) * count, (False,) * count
            run = over_data(self._exchange, (many, many, once, True), (many, once, False, False))
            scales = jnp.asarray(self.scales, jnp.float32)
            estimates, means = jax.tree.leaves(state.workers), jax.tree.leaves(state.mean)
            new, mean, off, size = run(tuple(leaves), tuple(estimates), tuple(means), scales)
            error = jnp.sqrt(off / jnp.where(size > 0, size, 1))
            sizes = [math.prod(leaf.shape[1:]) for leaf in leaves]
            share = jnp.float32(sum(map(self.bytes_of, sizes)) / max(4 * sum(sizes), 1))
            back = lambda parts: jax.tree.unflatten(tree, parts)
            return back(mean), Ef21State(back(new), back(mean), error, share)

        return optax.GradientTransformation(init, update)

    def bytes_of(self, size: int) -> float:
        """Bytes that a worker sends for a parameter of so many numbers: a value and a place for each that is kept."""
        if self.compressor == "power_of_two":
            return size * 9 / 8
        return float(min(8 * kept_count(size, self.share), 4 * size))

    def gradient(self, state: Ef21State) -> Any:
        """The weighted mean of the estimates."""
        return state.mean

    def metrics(self, state: Ef21State) -> Mapping[str, Array]:
        """Error and bytes of the last update."""
        return {"compression/error": state.error, "compression/share": state.share}

    def _exchange(
        self, summed: Callable[[Any], Any], gathered: Callable[[Any], Any],
        gradients: Sequence[Any], estimates: Sequence[Any], means: Sequence[Any], scales: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """The new estimates and means, and the squares of errors and gradients, on one part of the data axis."""
        off = size = jnp.zeros(())
        new, out = [], []
        for gradient, estimate, mean in zip(gradients, estimates, means, strict=True):
            flat = lambda x: jnp.reshape(x, (len(scales), -1))
            wanted = flat(gradient)
            total, own = self._sent(wanted, flat(estimate), scales[:, None], summed, gathered)
            new.append(own.reshape(estimate.shape))
            out.append(mean + total.reshape(mean.shape) / self.workers)
            off, size = off + jnp.sum((wanted - own) ** 2), size + jnp.sum(wanted**2)
        return tuple(new), tuple(out), summed(off), summed(size)

    def _sent(
        self, wanted: Float[Array, "W N"], estimate: Float[Array, "W N"], scales: Any, summed: Any, gathered: Any
    ) -> tuple[Any, Any]:
        """The sum of all workers' corrections `[N]`, and the new estimates of the own ones `[W, N]`."""
        off, size = wanted - estimate, wanted.shape[1]
        count = kept_count(size, self.share)
        if self.compressor == "power_of_two":
            sent = scales * power_of_two(off / scales)
            return summed(sent.sum(0)), estimate + sent
        if count == size:
            return summed(off.sum(0)), wanted
        values, places = jax.vmap(lambda row: top_k(row, count))(off)
        # An entry that is sent becomes the gradient's itself: adding would round each time, and the mean would drift.
        own = jax.vmap(lambda old, at, new: old.at[at].set(new[at], unique_indices=True))(estimate, places, wanted)
        if self.exchange == "dense":
            put = lambda at, values: jnp.zeros(size).at[at].set(values, unique_indices=True)
            return summed(jax.vmap(put)(places, values).sum(0)), own
        one = lambda total, sent: (total.at[sent[0]].add(sent[1], unique_indices=True), None)
        everyone = (gathered(places), gathered(values))
        return jax.lax.scan(one, jnp.zeros(size), everyone)[0], own  # one after the other: always the same sum


def step_sizes(smoothness: Sequence[float], contraction: float, lipschitz: float | None = None) -> tuple[float, float]:
    """The largest step sizes of EF21 by the old and the new theory.

    Formula: `1 / (L + sqrt(mean L_i^2) xi)` and `1 / (L + mean(L_i) xi)`, with `xi = (1 + sqrt(1 - alpha)) / alpha - 1`
    and alpha the `contraction` of the compressor; L is that of the mean loss, by default its bound `mean L_i`.

    >>> [round(1 / step, 2) for step in step_sizes((1, 1, 1, 100), 0.75, 0)]  # xi = 1: the two means
    [50.01, 25.75]
    """
    constants = np.asarray(smoothness, np.float64)
    xi = (1 + math.sqrt(1 - contraction)) / contraction - 1
    whole = constants.mean() if lipschitz is None else lipschitz
    quadratic, arithmetic = math.sqrt((constants**2).mean()), constants.mean()
    return 1 / (whole + quadratic * xi), float(1 / (whole + arithmetic * xi))
