"""The contract of a merge, and the weighted mean of parameters that merges share."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from mtjax.errors import InputError
from mtjax.registry import Registry
from mtjax.types import LanguageModel, Params, short_repr

MERGES = Registry("merge", requires=("fewest", "measures"))
"""Every way to merge models by name."""

LOSS = "nats_per_token"  # the number that a barrier is of

Numbers = Mapping[str, Any]
"""What was measured of one model, by name; each has a `mean`, such as an interval."""
Measure = Callable[[Params], Numbers]


@short_repr
class Given(NamedTuple):
    """One of the models to merge. Its parameters are loaded when they are needed, so that few are held at a time."""

    name: str
    load: Callable[[], Params]


@short_repr
class Point(NamedTuple):
    """A model that was measured on the way."""

    label: str
    numbers: Numbers
    share: float | None = None  # where it stands on a line between two models, from 0 to 1
    line: str = ""  # of several lines, which


@short_repr
class Merged(NamedTuple):
    """The merged model, and what was found on the way."""

    params: Params
    about: str  # what it is, in one sentence
    points: Sequence[Point] = ()
    notes: Sequence[str] = ()


class Merge(Protocol):
    """A frozen dataclass; its fields are its settings."""

    fewest: ClassVar[int]  # models that it takes at least
    measures: ClassVar[bool]  # whether it compares models, and so needs `measure`

    def __call__(self, model: LanguageModel, given: Sequence[Given], measure: Measure | None) -> Merged:
        """Merge models of one architecture and tokenizer, which the caller has compared.

        `measure` gives the numbers of parameters; None where there are no problems to measure on. One that cannot do
        without raises InputError.
        """
        ...


@functools.partial(jax.jit, donate_argnums=0)
def _add(total: Params, params: Params, share: Any) -> Params:
    return jax.tree.map(lambda a, b: a + share * b.astype(jnp.float32), total, params)


def mixed(given: Sequence[Given], shares: Sequence[float]) -> Params:
    """`sum_i share_i params_i` in float32; at most two models are held at a time. A share of 0 is not loaded."""
    used = [(each, share) for each, share in zip(given, shares, strict=True) if share != 0]
    first, share = used[0]
    params = first.load()
    if len(used) == 1 and share == 1:
        return params
    total = jax.tree.map(lambda x: share * x.astype(jnp.float32), params)
    for each, share in used[1:]:
        total = _add(total, each.load(), share)
    return total


def mean_of(given: Sequence[Given]) -> Params:
    """The mean of the parameters; that of one model is the model itself."""
    return mixed(given, [1 / len(given)] * len(given))


def score_of(numbers: Numbers, name: str) -> float:
    """A measured number, larger for the better model: that of nats is negative. InputError for an unknown one."""
    if name not in numbers:
        raise InputError(f"choose={name}: not measured; expected one of {', '.join(numbers)}")
    value = float(numbers[name].mean)
    return -value if name.startswith("nats") else value


def barriers(points: Sequence[Point], name: str = LOSS) -> list[float]:
    """How far the loss at each point of a line lies above the straight line between its ends.

    Formula: `L(theta_t) - ((1 - t) L(theta_0) + t L(theta_1))`; 0 at both ends. Empty where the loss was not measured.
    """
    if not points or any(name not in point.numbers for point in points):
        return []
    first, last = (float(point.numbers[name].mean) for point in (points[0], points[-1]))
    line = lambda share: (1 - share) * first + share * last
    return [float(point.numbers[name].mean) - line(point.share) for point in points]


def said(points: Sequence[Point], line: str = "") -> list[str]:
    """One sentence on the barrier of a line of points; none where the loss was not measured."""
    found = barriers(points)
    if not found:
        return []
    highest = max(range(len(found)), key=lambda number: found[number])
    if found[highest] <= 1e-9:
        return [f"no loss barrier{line}: the loss nowhere lies above the straight line between both ends"]
    return [
        f"the loss barrier{line} is {found[highest]:.4g} nats per token, at {points[highest].share:g} of the "
        "way: how far the loss rises above the straight line between both ends"
    ]


def along(
    given: Sequence[Given], points: int, measure: Measure, line: str = "", choose: str | None = None
) -> list[Point]:
    """The models on the line between two, measured at so many equal steps, both ends included.

    InputError after the first one where the number that is to decide, `choose`, is not measured.
    """
    out = []
    for share in (number / (points - 1) for number in range(points)):
        out.append(Point(f"{share:g}", measure(mixed(given, (1 - share, share))), share, line))
        if choose is not None:
            score_of(out[-1].numbers, choose)
    return out
