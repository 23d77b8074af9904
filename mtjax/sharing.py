"""Functions and compiled programs that equal settings share within a process.

A second run with the settings of the first (another seed, a resumed run, a cell of a notebook run again) neither traces
nor compiles its programs again.
"""

import collections
import dataclasses
import enum
import functools
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from jax.sharding import Mesh

P, T = ParamSpec("P"), TypeVar("T")
OWN = ("mtjax", "optax", "jax")  # packages whose functions do not change while a process runs


def key_of(value: Any) -> Hashable:
    """A key that two values share only if a program traced with one is right for the other.

    Known are numbers, texts, meshes, frozen dataclasses, tuples and dicts of these, and functions of mtjax, optax and
    jax, by identity.

    Raises:
        TypeError: anything else. A user's own function or mutable object may change between two runs.
    """
    if value is None or isinstance(value, str | bytes | int | float | complex | enum.Enum | np.dtype | type | Mesh):
        return type(value), value
    if dataclasses.is_dataclass(value) and getattr(value, "__dataclass_params__").frozen:  # noqa: B009
        return type(value), tuple(key_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, tuple):
        return type(value), tuple(map(key_of, value))
    if isinstance(value, dict):
        return dict, tuple((name, key_of(part)) for name, part in value.items())
    if isinstance(value, functools.partial):
        return functools.partial, key_of(value.func), key_of(value.args), key_of(value.keywords)
    if callable(value) and hasattr(value, "__qualname__") and value.__module__.partition(".")[0] in OWN:
        return value
    raise TypeError(f"{value!r:.80} may change between two calls")


def shared(most: int = 16) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates a function that makes functions or compiled programs: equal arguments give the one made before.

    The `most` last used are kept. Arguments without a key (`key_of`) give a new one each time.
    """

    def decorate(make: Callable[P, T]) -> Callable[P, T]:
        kept: collections.OrderedDict[Hashable, T] = collections.OrderedDict()

        @functools.wraps(make)
        def find(*args: P.args, **named: P.kwargs) -> T:
            try:
                key = key_of((args, dict(sorted(named.items()))))
                hash(key)
            except TypeError:
                return make(*args, **named)
            found = kept.pop(key) if key in kept else make(*args, **named)
            kept[key] = found
            if len(kept) > most:
                kept.popitem(last=False)
            return found

        return find

    return decorate
