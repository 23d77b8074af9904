"""The shared words: what data, models, objectives and the step hand to each other.

Shapes use one alphabet everywhere: B rows, T time, D width, H query heads, G key/value heads (or candidates, in front
of T), K head width, F hidden width, V vocabulary, L layers, S segments per row, C positions of a chunk.
"""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

AnyArray = Any
"""A NumPy array on the host, a jax array on the mesh, or an abstract one."""

Kind = TypeVar("Kind")

Params = Mapping[str, Any]
"""A nested dict of arrays: the parameters of one model."""


def short_repr(kind: type[Kind]) -> type[Kind]:
    """Decorator of a named tuple whose `repr` has arrays and long lists as their sizes.

    >>> @short_repr
    ... class Found(NamedTuple):
    ...     weights: Any
    ...     ids: list[str]
    >>> Found({"a": jnp.zeros((2, 3))}, list("abcdef"))
    Found(weights=<1 arrays, 6 numbers>, ids=<6 items>)
    """
    kind.__repr__ = _repr  # type: ignore[method-assign, assignment]
    return kind


def _repr(result: Any) -> str:
    return f"{type(result).__name__}({', '.join(f'{name}={_short(getattr(result, name))}' for name in result._fields)})"


def _short(value: Any) -> str:
    if getattr(type(value), "__repr__", None) is _repr:
        return repr(value)
    arrays = [leaf for leaf in jax.tree.leaves(value) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]
    if arrays and arrays[0] is value:
        with contextlib.suppress(Exception):  # an abstract number, or one that was donated
            if value.shape == ():
                return str(value.item())
        return f"{value.dtype}{list(value.shape)}"
    if arrays:
        return f"<{len(arrays)} arrays, {sum(math.prod(one.shape) for one in arrays):,} numbers>"
    if callable(value) and hasattr(value, "__name__"):
        return f"<{value.__name__}>"
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 4:
        return f"<{len(value):,} items>"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}...<{len(text):,} characters>"


@short_repr
class Batch(NamedTuple):
    """Packed rows of examples. NumPy arrays on the host, jax arrays on the mesh.

    Attributes:
        tokens: token ids; `(B, T)`, `(B, 2, T)` for chosen and rejected, `(B, G, T)` for G candidates.
        weights: how much each token counts as a target; 0 for context and padding, any float otherwise.
        segments: number of the packed example within its row, from 1; 0 is padding. Pairs share numbers.
        extras: what one task adds: `[*B, T]` per token, or `[*B, S]` per segment under names `segment_...`;
            segment s >= 1 reads column s - 1.
    """

    tokens: Int[AnyArray, "*B T"]
    weights: Float[AnyArray, "*B T"]
    segments: Int[AnyArray, "*B T"]
    extras: Mapping[str, AnyArray]


@short_repr
class TokenScores(NamedTuple):
    """What a policy says of each token, in float32; only `logprob` carries gradient.

    Attributes:
        logprob: log-probability (nats) of the token at t given those before it in its segment; 0 at the first token
            of a segment, at padding, and at tokens that an encoder reads.
        entropy: entropy (nats) of the distribution the token was predicted from; 0 where `logprob` is.
        top_logprob: log-probability of the most likely token there; 0 where `logprob` is.
    """

    logprob: Float[Array, "*B T"]
    entropy: Float[Array, "*B T"]
    top_logprob: Float[Array, "*B T"]


class Mean(NamedTuple):
    """A sum and a count: a mean that can still be added to others before it is divided.

    Adding over micro-batches and devices and dividing once makes every split of a batch give the same gradient.
    """

    total: Float[Array, ""]
    count: Float[Array, ""]

    @property
    def value(self) -> Float[Array, ""]:
        """`total / count`; 0 (with gradient 0) where the count is 0. A count that is not a number stays one: NaN."""
        live = self.count != 0
        return jnp.where(live, self.total / jnp.where(live, self.count, 1), 0)

    @property
    def or_nan(self) -> Float[Array, ""]:
        """`total / count`; NaN where the count is 0: for a log, where 0 would read as a measured value."""
        return jnp.where(self.count != 0, self.value, jnp.nan)

    def plus(self, other: "Mean") -> "Mean":
        """The mean over both: totals and counts added."""
        return Mean(self.total + other.total, self.count + other.count)


Metrics = Mapping[str, Any]
"""Named means (`Mean`) for the log, never part of the loss; and `Remember` of an objective with a memory."""


class Remember(NamedTuple):
    """What an objective keeps of each example of a batch, among its metrics under the name of the array in `memory`."""

    values: Float[Array, "*B S"]  # float32, without gradient
    live: Bool[Array, "*B S"]  # where there is one


@short_repr
class Routing(NamedTuple):
    """How a mixture of experts routed tokens. The axis L of its layers stands in front, where there are several.

    Attributes:
        logits: of the router, float32; with gradient.
        chosen: the K experts of each token, by probability.
        kept: false where an expert was full and a choice was dropped.
    """

    logits: Float[Array, "*B T E"]
    chosen: Int[Array, "*B T K"]
    kept: Bool[Array, "*B T K"]


@short_repr
class LanguageModel(NamedTuple):
    """A language model as pure functions; which library defines the network stays behind them.

    Of an encoder-decoder, the prompt of a segment, up to its first end token, is seen by all tokens of the segment, and
    the tokens after it by later ones only; hidden states before that end token mean nothing.

    Attributes:
        config: the settings it was made from (`mtjax.model.decoder.DecoderConfig`); has at least `vocab_size`.
        init: `key -> params`, float32.
        hidden: `(params, tokens [B, T], segments [B, T]) -> [B, T, D]`: final hidden states, final norm included.
            Positions restart at each segment; a token sees earlier tokens of its own segment only.
        logits: `(params, hidden [..., D]) -> [..., V]`, float32.
        init_cache: `(batch_size, length) -> cache` for `length` positions; InputError beyond `max_length` where rotary
            scaling is dynamic, since cached keys would have to be rotated again.
        decode: `(params, cache, tokens [B, N], positions [B, N]) -> (hidden [B, N, D], cache)`: writes the N tokens at
            their positions and attends to cached positions up to each token's own. The cache slot is the position,
            so what lies beyond a row's position is never seen and may be overwritten later; rows may be ragged.
        axes: tree shaped like params; each leaf is a tuple of axis names, see `mtjax.distributed.sharding.RULES`.
        frozen: names of the parts of params, at its top, that training leaves as they are: the base of an adapter.
        complete: `(key, params) -> params`: makes the parts that params lack, such as a new adapter beside a base; None
             where there are no such parts.
        with_noise: `(params, key) -> params` with which `hidden` drops activations out, for a forward pass of the
             training loss alone; None where the model has no dropout.
        predicted: `(tokens [B, T], segments [B, T]) -> [B, T]`: which tokens the model predicts, of an encoder-decoder
             those after the prompt; None where it predicts all but the first of a segment.
        routed: as `hidden`, but `(hidden, Routing)` with the axis L in front; None for a model without experts.
        watched: as `hidden`, but `(hidden, Routing or None, weights)`, with the weights `[L, B, T, E]` by which an
             adapter mixes its experts, by linear map, such as `layers.mlp.down`; None where no adapter does.
        value: `(params, hidden [..., D]) -> [...]` in (-1, 1), float32; None for a model without a value head.
    """

    config: Any
    init: Callable[[PRNGKeyArray], Params]
    hidden: Callable[[Params, Int[Array, "B T"], Int[Array, "B T"]], Float[Array, "B T D"]]
    logits: Callable[[Params, Float[Array, "*N D"]], Float[Array, "*N V"]]
    init_cache: Callable[[int, int], Any]
    decode: Callable[[Params, Any, Int[Array, "B N"], Int[Array, "B N"]], tuple[Float[Array, "B N D"], Any]]
    axes: Any
    frozen: tuple[str, ...] = ()
    complete: Callable[[PRNGKeyArray, Params], Params] | None = None
    with_noise: Callable[[Params, PRNGKeyArray], Params] | None = None
    routed: Callable[[Params, Int[Array, "B T"], Int[Array, "B T"]], tuple[Array, Routing]] | None = None
    predicted: Callable[[Int[Array, "B T"], Int[Array, "B T"]], Bool[Array, "B T"]] | None = None
    value: Callable[[Params, Float[Array, "*N D"]], Float[Array, "*N"]] | None = None
    watched: Callable[[Params, Int[Array, "B T"], Int[Array, "B T"]], tuple[Array, Any, Any]] | None = None

    def trained(self, params: Any) -> Any:
        """The part of `params` (or of a tree like it) that training changes."""
        return {name: part for name, part in params.items() if name not in self.frozen} if self.frozen else params

    def held(self, params: Any) -> dict[str, Any]:
        """The part of `params` (or of a tree like it) that training leaves as it is, by name."""
        return {name: params[name] for name in self.frozen}


@runtime_checkable
class Policy(Protocol):
    """All that an objective may ask of a model; `mtjax.model.policy.make_policy` implements it."""

    def scores(self, batch: Batch) -> TokenScores:
        """Score every token of the batch, without ever holding a `[B, T, V]` array."""
        ...

    def map_logits(self, fn: Callable[..., Any], batch: Batch, also: tuple["Policy", ...] = ()) -> Any:
        """Apply `fn(logits [C, V], tokens [C], extras) -> tree of [C]` to chunks; results come back as `[*B, T]`.

        The logits at t are those the token at t was predicted from. With `also`, `logits` is a tuple: this policy's
        first, then one per further policy. Results are 0 at the first token of a segment and at padding.
        """
        ...

    def hidden(self, batch: Batch) -> Float[Array, "*B T D"]:
        """Final hidden states of the batch."""
        ...


@runtime_checkable
class RoutedPolicy(Policy, Protocol):
    """A policy that can say how its experts were chosen; `ModelPolicy` is one."""

    def routing(self, batch: Batch) -> Routing:
        """How tokens were routed, `[L, *B, T, ...]`, in the same pass as `scores`; InputError without experts."""
        ...


@runtime_checkable
class AdapterRouting(Policy, Protocol):
    """A policy that can say how its adapter mixes experts; `ModelPolicy` is one."""

    def expert_weights(self, batch: Batch) -> Mapping[str, Float[Array, "L *B T E"]]:
        """The weights by linear map, in the same pass as `scores`; InputError without such an adapter."""
        ...


@runtime_checkable
class ValuePolicy(Policy, Protocol):
    """A policy that can say how it expects a text to end; `ModelPolicy` is one."""

    def values(self, batch: Batch) -> Float[Array, "*B T"]:
        """The value head at each token, in (-1, 1), in the same pass as `scores`; InputError without a head."""
        ...


@runtime_checkable
class Objective(Protocol):
    """What to minimise: a frozen dataclass whose fields are its hyper-parameters.

    One that needs an average over the whole batch (KTO's z0) also has
    `statistics(policy, batch, *, reference) -> tree of Mean` and takes the result as `statistics=...` in the call. The
    step adds the means over micro-batches and the mesh first, without gradient, so that any split of a batch gives the
    same update. One that compares examples all over the batch, such as by rank, has `pool(policy, batch, *, reference)
    -> tree of arrays`, which the step collects for all micro-batches, and `resolve(tree [M, ...], key) -> tree [M,
    ...]`; the call gets the part of its micro-batch as `pooled=...`. One that has a known loss where policy and
    reference agree (log 2 for DPO) says it as the property
    `at_reference`; the check before the first step compares.

    One that remembers examples (`mtjax.training.memory`) names its arrays in `memory`. In a training step the batch
    then has `extras["segment_NAME"]`, what was kept when the example was last seen (0 before), and `segment_seen`, how
    often it was; the metrics return what to keep as `Remember` under NAME. One with running statistics of the whole
    training names float32 scalars in `running`, 0 before the first step, and has `advance(running, found) -> running`,
    `found` being its statistics, or what was pooled; the call, and `resolve`, get the scalars of this step, the batch
    included, as `running=...`. An evaluation gives those of the last step, and none where there is no training. One
    with `by_step = True` takes the updates done so far as `step=...`; without it, as in an evaluation, it is as at the
    end of a run.
    """

    task: ClassVar[str]
    needs_reference: ClassVar[bool]

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None, key: PRNGKeyArray
    ) -> tuple[Mean, Metrics]:
        """The loss of the batch as one `Mean`, and metrics."""
        ...


def add_means(a: Any, b: Any) -> Any:
    """Add two equal trees of `Mean` leaf by leaf."""
    return jax.tree.map(jnp.add, a, b)
