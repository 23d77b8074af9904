"""`ModelPolicy`: a language model with its parameters, as objectives use it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax.core.tracers import current_trace as current_jax_trace
from jaxtyping import Array, Float, Int

from mtjax.errors import InputError
from mtjax.model.chunked_logits import head_of, map_next_token
from mtjax.types import Batch, LanguageModel, Params, Policy, Routing, TokenScores


def token_scores(
    logits: tuple[Float[Array, "C V"], ...], tokens: Int[Array, " C"], extras: dict[str, Array]
) -> TokenScores:
    """Scores of one chunk: `log p = logits[token] - logsumexp(logits)`, in float32; only that carries gradient."""
    wide = logits[0].astype(jnp.float32)
    normaliser = jax.nn.logsumexp(wide, axis=-1)
    logprob = jnp.take_along_axis(wide, tokens[:, None], axis=-1)[:, 0] - normaliser
    wide, normaliser = jax.lax.stop_gradient((wide, normaliser))
    log_p = wide - normaliser[:, None]
    # A probability of 0 adds 0 to the entropy, also where its logarithm is -inf.
    entropy = -jnp.sum(jnp.where(log_p > -jnp.inf, jnp.exp(log_p) * log_p, 0), axis=-1)
    return TokenScores(logprob, entropy, jnp.max(wide, axis=-1) - normaliser)


def _rows(x: Any) -> Any:
    return x.reshape(-1, x.shape[-1])


@dataclasses.dataclass(frozen=True)
class ModelPolicy:
    """Implements `mtjax.types.Policy` for a `LanguageModel`; made by `make_policy`."""

    model: LanguageModel
    params: Params
    chunk: int
    targets_only: bool = False
    _last: list[Any] = dataclasses.field(default_factory=list, compare=False, repr=False)

    def hidden(self, batch: Batch) -> Float[Array, "*B T D"]:
        """Final hidden states; axes before T are rows."""
        if self.model.routed is not None or self.model.value is not None or self._watches:
            return self._one_pass(batch)[0]
        out = self.model.hidden(self.params, _rows(batch.tokens), _rows(batch.segments))
        return out.reshape(*batch.tokens.shape, -1)

    def values(self, batch: Batch) -> Float[Array, "*B T"]:
        """See `mtjax.types.ValuePolicy.values`."""
        if self.model.value is None:
            raise InputError(
                "the model has no value head (model.value_head is None): set model.value_head:value_head, or start "
                "from a model that has one"
            )
        return self.model.value(self.params, self.hidden(batch))

    def routing(self, batch: Batch) -> Routing:
        """See `mtjax.types.RoutedPolicy.routing`."""
        if self.model.routed is None:
            raise InputError(
                "the model is no mixture of experts (model.mixture is None), so nothing is routed: leave out the "
                "regularizers of a router, or take a mixture, such as a checkpoint of Mixtral or Qwen3-MoE"
            )
        return self._one_pass(batch)[1]

    def expert_weights(self, batch: Batch) -> Any:
        """See `mtjax.types.AdapterRouting.expert_weights`."""
        if not self._watches:
            raise InputError(
                "the model has no adapter that mixes experts: set model.adapter:loramoe (of a decoder without an "
                "encoder), or leave out the regularizers of its router"
            )
        return self._one_pass(batch)[2]

    @property
    def _watches(self) -> bool:
        return self.model.watched is not None and self.model.config.adapter is not None

    def _one_pass(self, batch: Batch) -> tuple[Array, Any, Any]:
        """Hidden states, routing and the weights of an adapter's experts.

        Those of the last batch are kept, so that loss and regularizers share a pass.
        """
        trace = current_jax_trace()  # a value of an inner trace must not be used outside of it
        if self._last and self._last[0] is batch.tokens and self._last[1] is batch.segments and self._last[2] == trace:
            return self._last[3]
        given = self.params, _rows(batch.tokens), _rows(batch.segments)
        routing: Any = None
        weights: Any = {}
        if self._watches:
            out, routing, weights = self.model.watched(*given)  # type: ignore[misc]
        elif self.model.routed is None:
            out = self.model.hidden(*given)
        else:
            out, routing = self.model.routed(*given)
        split = lambda x: x.reshape(x.shape[0], *batch.tokens.shape, x.shape[-1])
        found = out.reshape(*batch.tokens.shape, -1), *jax.tree.map(split, (routing, weights))
        self._last[:] = [batch.tokens, batch.segments, trace, found]
        return found

    def map_logits(self, fn: Callable[..., Any], batch: Batch, also: tuple[Any, ...] = ()) -> Any:
        """See `mtjax.types.Policy.map_logits`; `fn` gets the extras that are per token, each `[C]`."""
        policies = (self, *also)
        shape = batch.tokens.shape
        rows = lambda x: jnp.asarray(x).reshape(math.prod(shape[:-1]), shape[-1], *x.shape[len(shape) :])
        hiddens = tuple(rows(policy.hidden(batch)) for policy in policies)
        heads = tuple(head_of(policy.model, policy.params, own) for policy, own in zip(policies, hiddens, strict=True))
        per_token = {
            name: rows(x) for name, x in batch.extras.items() if not name.startswith("segment_") and x.shape == shape
        }
        call = fn if also else lambda logits, tokens, extras: fn(logits[0], tokens, extras)
        tokens, segments = rows(batch.tokens), rows(batch.segments)
        asked = rows(batch.weights) != 0 if self.targets_only else None
        out = map_next_token(call, heads, hiddens, tokens, segments, per_token, self.chunk, asked)
        if self.model.predicted is not None:
            live = self.model.predicted(tokens, segments)
            out = jax.tree.map(lambda x: jnp.where(live, x, 0), out)
        return jax.tree.map(lambda x: x.reshape(shape), out)

    def scores(self, batch: Batch) -> TokenScores:
        """See `mtjax.types.Policy.scores`."""
        return self.map_logits(lambda logits, *rest: token_scores((logits,), *rest), batch)


def make_policy(model: LanguageModel, params: Params, *, chunk: int = 128, targets_only: bool = False) -> Policy:
    """A policy from a model and its parameters.

    Args:
        chunk: positions that have logits at a time on a device; scratch memory is a few float32 `[chunk, V]` arrays.
        targets_only: scores are computed for tokens with a weight alone and are 0 elsewhere, so that contexts cost no
            product with the head. Losses and metrics are the same: objectives read no other score (their contract).
    """
    return ModelPolicy(model, params, chunk, targets_only)
