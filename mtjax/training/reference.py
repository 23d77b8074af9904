"""The reference policy of an objective: a frozen model, its log-probs computed once and kept, or one that moves.

A frozen model and kept log-probs give the same numbers (1e-5 per token in float32); the cache saves the memory of a
second model and one forward pass a step. A reference that moves is part of the training state.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Le
from jaxtyping import Array, Float

from mtjax.data.index import Index
from mtjax.errors import InputError
from mtjax.model.policy import make_policy
from mtjax.model.value_head import VALUE
from mtjax.sharing import shared
from mtjax.types import Batch, LanguageModel, Params, Policy, TokenScores
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True)
class ReferenceConfig:
    """The reference model, and how its log-probs are computed. Unused by objectives without one."""

    kind: Literal["frozen", "cached"] = "frozen"
    """A frozen copy beside the policy, or log-probs computed once before the first step and read from `cache_dir`."""
    model: str | None = None
    """A run folder, a Hugging Face folder, a hub id or `smollm2`; None is what the run starts from."""
    cache_dir: str = "runs/reference"
    """Folder of cached log-probs. Another order or packing of the same examples reuses them; others are refused."""
    refresh_every: PositiveInt | None = None
    """Updates after which the reference is renewed by the policy, again and again; None never does. 512 with mix 0.6 is
    TR-DPO in TRL, 1 with a small mix a moving average, and with mix 1 it is the old policy of PSFT and PPO, or the
    start of a round. It is saved with the run."""
    mix: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the policy in a renewed reference, parameter by parameter; the rest is the reference as it was."""

    def __post_init__(self) -> None:
        check_types(self, "reference")
        if self.refresh_every is not None and self.kind == "cached":
            raise InputError(
                "reference.refresh_every with reference.kind='cached': cached log-probs are those of one model, and "
                "stale after the first renewal; set --reference.kind=frozen, which here means a copy that is renewed"
            )
        if self.refresh_every is None and self.mix != 1:
            raise InputError(
                f"reference.mix={self.mix} does nothing without reference.refresh_every; set both, such as "
                "--reference.refresh_every=512 --reference.mix=0.6"
            )


class Reference(NamedTuple):
    """A reference at hand, for `make_train_step` and `make_batches`."""

    policy: Callable[[Any], Policy] | None = None  # `params -> Policy`; None where the objective needs none
    params: Any = None  # what it is called with
    also: Callable[[Index], dict[str, np.ndarray]] | None = None  # log-probs that batches carry, per token; None: none
    also_held_out: Callable[[Index], dict[str, np.ndarray]] | None = None  # the same for the held-out source
    fingerprint: str | None = None  # of its weights; None where the objective needs none
    shape: Any = None  # settings of the model (`DecoderConfig`) where each step runs it; None where it does not
    refresh: "Refresh | None" = None  # how it moves; its parameters are then those of the training state


class Refresh(NamedTuple):
    """How a reference moves."""

    every: int  # updates between renewals
    mix: float  # share of the policy in a renewed reference

    def after(self, step: Any, reference: Params, params: Params) -> Params:
        """The reference after update `step`: `mix * policy + (1 - mix) * reference` where `every` divides the step.

        Elementwise in float32, since a small step of lower precision would round away; with mix 1 a copy, bit by bit.
        """
        now = {name: params[name] for name in reference}

        def renewed() -> Params:
            if self.mix == 1:
                return now
            return jax.tree.map(lambda q, p: q + self.mix * (p - q), reference, now)

        found: Params = jax.lax.cond(step % self.every == 0, renewed, lambda: dict(reference))
        return found


def refresh_of(settings: ReferenceConfig, objective: Any) -> Refresh | None:
    """How the reference of a run moves; None where it stays, or the objective has none."""
    if settings.refresh_every is None or not getattr(objective, "needs_reference", False):
        return None
    return Refresh(settings.refresh_every, settings.mix)


def compared_part(model: LanguageModel, params: Any) -> dict[str, Any]:
    """The part of parameters, or of a tree like them, that a moving reference has: what is trained, no value head."""
    return {name: part for name, part in model.trained(params).items() if name != VALUE}


def with_moving_reference(model: LanguageModel, state: Any) -> Any:
    """The training state with a copy of its own trained parameters as the reference that moves."""
    return state._replace(reference=jax.tree.map(jnp.copy, compared_part(model, state.params)))


def reference_params(model: LanguageModel, state: Any, fixed: Params | None) -> Params | None:
    """The reference's parameters now: of the state, and the policy's frozen ones, where it moves; else `fixed`."""
    return fixed if state.reference is None else {**model.held(state.params), **state.reference}


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
    return lambda params: make_policy(model, jax.lax.stop_gradient(params), chunk=chunk, targets_only=True)


def cached_reference(_: Any) -> Policy:
    """Makes a policy of the log-probs in the batch, for `make_train_step(reference=...)`."""
    return CachedReference()
