"""The reference policy of an objective: a frozen model, or its log-probs, computed once and kept.

Both ways give the same numbers (1e-5 per token in float32); the cache saves the memory of a second model and one
forward pass a step.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mtjax.data.index import Index
from mtjax.errors import InputError
from mtjax.model.policy import make_policy
from mtjax.sharing import shared
from mtjax.types import Batch, LanguageModel, Params, Policy, TokenScores


@dataclasses.dataclass(frozen=True)
class ReferenceConfig:
    """The reference model, and how its log-probs are computed. Unused by objectives without one."""

    kind: Literal["frozen", "cached"] = "frozen"
    """A frozen copy beside the policy, or log-probs computed once before the first step and read from `cache_dir`."""
    model: str | None = None
    """A run folder, a Hugging Face folder, a hub id or `smollm2`; None is what the run starts from."""
    cache_dir: str = "runs/reference"
    """Folder of cached log-probs. Another order or packing of the same examples reuses them; others are refused."""


class Reference(NamedTuple):
    """A reference at hand, for `make_train_step` and `make_batches`."""

    policy: Callable[[Any], Policy] | None = None  # `params -> Policy`; None where the objective needs none
    params: Any = None  # what it is called with
    also: Callable[[Index], dict[str, np.ndarray]] | None = None  # log-probs that batches carry, per token; None: none
    also_held_out: Callable[[Index], dict[str, np.ndarray]] | None = None  # the same for the held-out source
    fingerprint: str | None = None  # of its weights; None where the objective needs none
    shape: Any = None  # settings of the model (`DecoderConfig`) where each step runs it; None where it does not


class CachedReference:
    """A reference whose log-probs travel with the batch, as `extras["reference_logprob"]`."""

    def scores(self, batch: Batch) -> TokenScores:
        """The cached log-probs; entropy and the best log-prob are not cached and are 0."""
        if "reference_logprob" not in batch.extras:
            raise InputError(
                f"the batch carries no 'reference_logprob' (extras: {sorted(batch.extras)}); build the cache with "
                "`mtjax.training.reference_cache`, or use reference.kind='frozen'"
            )
        logprob = jnp.asarray(batch.extras["reference_logprob"])
        return TokenScores(logprob, jnp.zeros_like(logprob), jnp.zeros_like(logprob))

    def map_logits(self, fn: Callable[..., Any], batch: Batch, also: tuple[Policy, ...] = ()) -> Any:
        """Raises InputError."""
        raise InputError("a cached reference has log-probs only, no logits; use reference.kind='frozen'")

    def hidden(self, batch: Batch) -> Float[Array, "*B T D"]:
        """Raises InputError."""
        raise InputError("a cached reference has log-probs only, no hidden states; use reference.kind='frozen'")


@shared()
def frozen_reference(model: LanguageModel, chunk: int = 128) -> Callable[[Params], Policy]:
    """Makes a policy of frozen parameters, for `make_train_step(reference=...)`."""
    return lambda params: make_policy(model, jax.lax.stop_gradient(params), chunk=chunk)


def cached_reference(_: Any) -> Policy:
    """Makes a policy of the log-probs in the batch, for `make_train_step(reference=...)`."""
    return CachedReference()
