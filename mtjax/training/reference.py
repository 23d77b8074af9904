"""The reference policy of an objective: a frozen copy of the start, or its log-probs, computed once and kept.

It never changes, so it is not part of the training state. Both ways give the same numbers (1e-5 per token in float32);
the cache saves the memory of a second model and one forward pass a step.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mtjax.data.index import Index
from mtjax.errors import InputError
from mtjax.model.policy import make_policy
from mtjax.types import Batch, LanguageModel, Params, Policy, TokenScores


@dataclasses.dataclass(frozen=True)
class ReferenceConfig:
    """Which model an objective compares with, and how its log-probs come about. Unused by objectives without one."""

    kind: Literal["frozen", "cached"] = "frozen"
    """A frozen copy beside the policy, or log-probs computed once before the first step and read from `cache_dir`."""
    model: str | None = None
    """A run folder, a Hugging Face folder, a hub id or `smollm2`; None is what the run starts from."""
    cache_dir: str = "runs/reference"
    """Where log-probs are kept. Another order or packing of the same examples reuses them; anything else is refused."""


class Reference(NamedTuple):
    """A reference at hand.

    Attributes:
        policy: `params -> Policy`, for `make_train_step`; None where the objective needs none.
        params: what it is called with.
        also: `index -> numbers per token` for `make_batches`: the log-probs that batches carry; None: they carry none.
        also_held_out: the same for the held-out source.
    """

    policy: Callable[[Any], Policy] | None = None
    params: Any = None
    also: Callable[[Index], dict[str, np.ndarray]] | None = None
    also_held_out: Callable[[Index], dict[str, np.ndarray]] | None = None


class CachedReference:
    """A reference whose log-probs travel with the batch, as `extras["reference_logprob"]`. Knows nothing else."""

    def scores(self, batch: Batch) -> TokenScores:
        """The kept log-probs; entropy and the best log-prob were not kept and are 0."""
        if "reference_logprob" not in batch.extras:
            raise InputError(
                f"the batch carries no 'reference_logprob' (extras: {sorted(batch.extras)}); build the cache with "
                "`mtjax.training.reference_cache`, or use reference.kind='frozen'"
            )
        logprob = jnp.asarray(batch.extras["reference_logprob"])
        return TokenScores(logprob, jnp.zeros_like(logprob), jnp.zeros_like(logprob))

    def map_logits(self, fn: Callable[..., Any], batch: Batch, also: tuple[Policy, ...] = ()) -> Any:
        """Not kept: raises InputError."""
        raise InputError("a cached reference has log-probs only, no logits; use reference.kind='frozen'")

    def hidden(self, batch: Batch) -> Float[Array, "*B T D"]:
        """Not kept: raises InputError."""
        raise InputError("a cached reference has log-probs only, no hidden states; use reference.kind='frozen'")


def frozen_reference(model: LanguageModel, chunk: int = 128) -> Callable[[Params], Policy]:
    """What makes a policy of frozen parameters, for `make_train_step(reference=...)`."""
    return lambda params: make_policy(model, jax.lax.stop_gradient(params), chunk=chunk)


def cached_reference(_: Any) -> Policy:
    """What makes a policy of the log-probs in the batch, for `make_train_step(reference=...)`."""
    return CachedReference()


@jax.jit
def _mixed_sums(params: Params) -> list[Array]:
    """Two 32-bit sums per leaf, over its bits mixed with their places: the same on every mesh."""

    def of_leaf(x: Array) -> Array:
        bits = jax.lax.bitcast_convert_type(jnp.atleast_1d(x).astype(jnp.float32), jnp.uint32)
        strides = np.cumprod((1, *bits.shape[:0:-1]))[::-1]
        axes = range(bits.ndim)
        place = sum(jax.lax.broadcasted_iota(jnp.uint32, bits.shape, d) * np.uint32(strides[d] % 2**32) for d in axes)
        mixed = (bits ^ (place * np.uint32(0x9E3779B1))) * np.uint32(0x85EBCA77)
        mixed = mixed ^ (mixed >> 15)
        return jnp.stack([jnp.sum(mixed), jnp.sum(mixed * np.uint32(0xC2B2AE3D) ^ (mixed >> 13))])

    return [of_leaf(x) for x in jax.tree.leaves(params)]


def fingerprint_of(params: Params) -> str:
    """A fingerprint of all weights: equal for equal bits, wherever the leaves lie. Nothing is gathered."""
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
    sums = [part.tolist() for part in jax.device_get(_mixed_sums(params))]
    return hashlib.sha256(json.dumps([names, shapes, sums]).encode()).hexdigest()[:32]
