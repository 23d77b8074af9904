"""The contract of a regularizer, the mean over target tokens that most of them are, and how one joins an objective."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol

import jax.numpy as jnp
import tyro
from jaxtyping import Array, Float

from mtjax.errors import InputError, suggest
from mtjax.objectives import base
from mtjax.objectives.base import Key, Outcome, Sums
from mtjax.registry import Registry
from mtjax.types import Batch, Mean, Policy, Routing

REGULARIZERS = Registry("regularizer", requires=("weight",))
"""Every regularizer by name."""


class Regularizer(Protocol):
    """A frozen dataclass whose fields are its settings. It needs no task and no reference."""

    weight: base.Number  # Factor on the mean in the loss, at least 0.

    def __call__(self, policy: Policy, batch: Batch) -> Mean:
        """The loss of the batch without the weight. Its count must not depend on the policy.

        One that needs sums over the entire batch also has `statistics(policy, batch) -> {name: Mean}` and takes their
        totals as keywords; with the field `form="buffered"` it gets those of the micro-batches of the step so far. One
        that measures has `metrics(policy, batch) -> {name: Mean}`.
        """
        ...


def routing_of(regularizer: Any, policy: Policy, batch: Batch) -> tuple[Routing, Float[Array, "*B T"]]:
    """How the policy's experts were chosen, and 1 for every token but padding. InputError without experts."""
    routing: Any = getattr(policy, "routing", None)
    if routing is None:
        raise InputError(
            f"regularizer {REGULARIZERS.name_of(regularizer)} needs a model with experts whose router can be seen; "
            f"{type(policy).__name__} shows none: leave the regularizer out, or take a mixture"
        )
    return routing(batch), jnp.asarray(jnp.asarray(batch.segments) > 0, jnp.float32)


def token_mean(values: Float[Array, "*B T"], batch: Batch) -> Mean:
    """Mean over the target tokens: those that are predicted and have a weight other than 0. Each counts once."""
    target = (base.is_target(jnp.asarray(batch.segments)) > 0) & (jnp.asarray(batch.weights) != 0)
    return Mean(jnp.sum(jnp.where(target, values, 0)), jnp.sum(target, dtype=jnp.float32))


def read_words(words: Sequence[str]) -> tuple[Any, ...]:
    """Regularizers by their words on the command line: each `NAME` or `NAME=WEIGHT`.

    Raises ValueError, which the command line tells, for an unknown name and a weight that is no number.
    """
    found = []
    for word in words:
        name, told, weight = word.partition("=")
        name = REGULARIZERS.resolve(name) or name
        if name not in REGULARIZERS:
            raise ValueError(f"unknown regularizer '{name}': {suggest(name, REGULARIZERS)}")
        try:
            found.append(REGULARIZERS[name](**({"weight": float(weight)} if told else {})))
        except InputError as error:
            raise ValueError(str(error)) from error
        except ValueError as error:
            raise ValueError(f"'{word}': expected NAME or NAME=WEIGHT, such as {name}=1e-4") from error
    return tuple(found)


_WORDS: Any = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="NAME[=WEIGHT] ...",
    instance_from_str=read_words,
    is_instance=lambda value: isinstance(value, tuple | list),
    str_from_instance=lambda value: [f"{REGULARIZERS.name_of(one)}={one.weight}" for one in value],
)
Regularizers = Annotated[tuple[Any, ...], _WORDS]
"""The type of a setting with regularizers. On the command line: `--regularizers z_loss=1e-4 entropy_bonus`; other
settings than the weight are for a config file."""


def with_regularizers(objective: Any, regularizers: Sequence[Any]) -> Any:
    """The objective with `weight * mean` of each regularizer added to its mean; itself if there is none.

    Raises InputError for something that is not a registered regularizer, or one that is there twice.
    """
    names = [REGULARIZERS.name_of(each) for each in regularizers]
    if None in names or len(set(names)) < len(names):
        raise InputError(f"regularizers={tuple(regularizers)}: expected each of {', '.join(REGULARIZERS)} at most once")
    return Regularized(objective, tuple(regularizers)) if regularizers else objective


@dataclasses.dataclass(frozen=True)
class Regularized:
    """An objective and regularizers as one objective; made by `with_regularizers`.

    Formula: `L / n + sum_r weight_r R_r / m_r`, where L and n are total and count of the objective, and R and m those
    of a regularizer, over the entire batch. A part of a batch contributes `L + sum_r weight_r (n / m_r) R_r` to the
    total and its own count, with `n / m_r` of the entire batch, so that any split of a batch gives the same update.

    Metrics: those of the objective, `objective_loss` (its own mean) and `regularizer/NAME` (the mean, without weight).
    Other attributes are those of the objective, but the loss at the reference is not known.
    """

    objective: Any
    regularizers: tuple[Any, ...]

    at_reference = None

    def __getattr__(self, name: str) -> Any:
        if name == "objective":  # not set yet, as in a copy
            raise AttributeError(name)
        return getattr(self.objective, name)

    def _named(self) -> dict[str, Any]:
        return {f"regularizer/{REGULARIZERS.name_of(each)}": each for each in self.regularizers}

    def _sums(self, buffered: bool, policy: Policy, batch: Batch) -> dict[str, Mean]:
        """The statistics of the regularizers that buffer them, or of the others, under `NAME/STATISTIC`."""
        makers = {
            name: each.statistics
            for name, each in self._named().items()
            if hasattr(each, "statistics") and (getattr(each, "form", "") == "buffered") == buffered
        }
        return {f"{name}/{key}": mean for name, make in makers.items() for key, mean in make(policy, batch).items()}

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Any]:
        """The objective's own statistics, and `n / m` of each regularizer, as means to be added over the batch."""
        gather = getattr(self.objective, "statistics", None)
        own = {} if gather is None else gather(policy, batch, reference=reference)
        extra = {} if gather is None else {"statistics": own}
        count = self.objective(policy, batch, reference=reference, key=None, **extra)[0].count
        ratios = {name: Mean(count, each(policy, batch).count) for name, each in self._named().items()}
        return dict(own) | ratios | self._sums(False, policy, batch)

    @property
    def buffer(self) -> Callable[[Policy, Batch], Any] | None:
        """`(policy, batch) -> tree of Mean` that the step adds up over its micro-batches so far, this one included."""
        buffered = any(getattr(each, "form", "") == "buffered" for each in self.regularizers)
        return functools.partial(self._sums, True) if buffered else None

    def __call__(
        self,
        policy: Policy,
        batch: Batch,
        *,
        reference: Policy | None = None,
        key: Key = None,
        statistics: Sums = None,
        buffered: Sums = None,
        **given: Any,
    ) -> Outcome:
        """The loss of the batch; without `statistics` the batch counts as the entire one, without `buffered` as all."""
        if statistics is None:
            statistics = self.statistics(policy, batch, reference=reference)
        sums = dict(statistics) | dict(buffered or self._sums(True, policy, batch))
        extra: dict[str, Any] = {"statistics": statistics} if hasattr(self.objective, "statistics") else {}
        loss, metrics = self.objective(policy, batch, reference=reference, key=key, **extra, **given)
        total, added, measured = loss.total, {}, dict(metrics)
        for name, each in self._named().items():
            own = {key.removeprefix(f"{name}/"): sums[key].total for key in sums if key.startswith(f"{name}/")}
            added[name] = each(policy, batch, **own)
            total = total + jnp.float32(each.weight) * statistics[name].value * added[name].total
            measured |= each.metrics(policy, batch) if hasattr(each, "metrics") else {}
        return Mean(total, loss.count), measured | {"objective_loss": loss} | added
