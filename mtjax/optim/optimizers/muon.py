"""Muon: orthogonalised momentum for the matrices of the layers, AdamW for the rest."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import optax
from annotated_types import Ge

from mtjax.optim.optimizers.base import OPTIMIZERS, MomentType, Share
from mtjax.optim.parameters import path_of

INPUTS = {"query": 1, "key": 1, "value": 1, "out": 2, "gate": 1, "up": 1, "down": 1}
"""The linear maps of a layer by name, with the number of their input axes: all axes but these are outputs."""


def dimensions(params: Any) -> Any:
    """For each parameter which axes are rows and columns of a matrix, or None where AdamW is to train it.

    A kernel of a layer is a stack of matrices: the layers (and experts) are leading axes.
    """

    def of(path: Sequence[Any], leaf: Any) -> optax.contrib.MuonDimensionNumbers | None:
        names = path_of(path).split("/")
        own = names[:-1] if names[-1] == "kernel" else names
        if "layers" not in names or own[-1] not in INPUTS or names[-1] not in ("kernel", own[-1]):
            return None
        axes = {"query": 3, "key": 3, "value": 3, "out": 3}.get(own[-1], 2)  # of one matrix, heads apart
        first = leaf.ndim - axes
        if first < 1:
            return None
        split = first + INPUTS[own[-1]]
        return optax.contrib.MuonDimensionNumbers(tuple(range(first, split)), tuple(range(split, leaf.ndim)))

    return jax.tree_util.tree_map_with_path(of, params)


def kinds(params: Any) -> Any:
    """For each parameter the part of the optimizer that trains it: "matrices" or "rest"."""
    is_leaf = lambda own: own is None or isinstance(own, optax.contrib.MuonDimensionNumbers)
    return jax.tree.map(lambda own: "rest" if own is None else "matrices", dimensions(params), is_leaf=is_leaf)


@OPTIMIZERS.register("muon")
@dataclasses.dataclass(frozen=True)
class Muon:
    """Momentum made near-orthogonal, matrix by matrix.

    Formula: `m = momentum m + (1 - momentum) g`, with the bias of its start corrected and Nesterov's step ahead;
    `O = NewtonSchulz(m)`, whose singular values lie near 1; `update = -learning_rate (rms sqrt(max(n, m)) O +
    weight_decay p)` for a matrix of n inputs and m outputs. Each kernel of each layer (attention, multi-layer
    perceptrons, experts) is a matrix of its own. Embeddings, head, norms, biases and adapters are trained by AdamW with
    `b1`, `b2`, `eps` and the same learning rate and weight decay. One float32 moment per parameter of a matrix.

    Want it to train from nothing in fewer steps. Models that AdamW has pre-trained often end better with AdamW. With
    `rms=0.2` AdamW's learning rate and weight decay carry over.

    Source: Jordan et al., "Muon", 2024; the scale by `rms`: Liu et al., "Muon is Scalable for LLM Training", 2025
    (arXiv 2502.16982).
    """

    momentum: Share = 0.95  # Decay of the momentum.
    nesterov: bool = True  # Look one step ahead.
    iterations: Annotated[int, Ge(1)] = 5  # Newton-Schulz iterations.
    rms: Annotated[float, Ge(0)] = 0.2
    """Root mean square of an update relative to the learning rate; 0 scales by sqrt(max(1, outputs / inputs))."""
    moment_type: MomentType = "float32"  # Type of the momentum.

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        decay = {"weight_decay": shared.weight_decay}
        matrices = optax.contrib.muon(
            learning_rate, ns_steps=self.iterations, beta=self.momentum, mu_dtype=self.moment_type,
            nesterov=self.nesterov, muon_weight_dimension_numbers=dimensions, consistent_rms=self.rms or None,
            weight_decay_mask=shared.decays, **decay,
        )  # fmt: skip
        rest = optax.adamw(learning_rate, shared.b1, shared.b2, shared.eps, mask=shared.decays, **decay)
        return optax.partition({"matrices": matrices, "rest": rest}, kinds)
