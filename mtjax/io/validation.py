"""Types and bounds of settings. Dataclasses do not look at what they are given, so a config file could say anything.

A bound is part of a field's annotation: `Annotated[int, Ge(1)]`, with `annotated_types`.
"""

import dataclasses
import operator
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from mtjax.errors import InputError, nearest
from mtjax.registry import refresh

BOUNDS: tuple[tuple[type, Callable[[Any, Any], bool], str], ...] = (
    (Ge, operator.ge, "at least"),
    (Gt, operator.gt, "more than"),
    (Le, operator.le, "at most"),
    (Lt, operator.lt, "less than"),
)
"""Each kind of bound with its comparison and its words."""

PositiveInt = Annotated[int, Ge(1)]
"""A whole number of at least 1."""

WORDS = {int: "a whole number", float: "a number", str: "text in quotes", bool: "True or False", type(None): "None"}


def check_types(settings: Any, name: str = "") -> None:
    """Look at every setting in a tree of dataclasses, by what its field is annotated with.

    A whole number passes as a number, a list as a tuple, and where one of several dataclasses is expected (a source, a
    task, an objective) one of the user's own passes too.

    Raises:
        InputError: the first setting of a wrong type or not among its choices: dotted name, value, expectation.
    """
    refresh(type(settings))
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, dotted = getattr(settings, field.name), f"{name}.{field.name}".lstrip(".")
        if not _fits(value, hints[field.name]):
            raise InputError(f"{dotted}={value!r:.80}: expected {_said(hints[field.name], value)}")
        if outside := _outside(value, hints[field.name]):
            raise InputError(f"{dotted}={value!r:.80}: expected {outside}")
        for item in value if isinstance(value, tuple | list) else (value,):
            if dataclasses.is_dataclass(item) and not isinstance(item, type):
                check_types(item, dotted)


def _fits(value: Any, hint: Any) -> bool:
    """Whether `value` is what `hint` says; an annotation of another kind than settings have passes."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, parts[0])
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin in (Union, types.UnionType):
        own = dataclasses.is_dataclass(value) and not isinstance(value, type)
        own = own and not type(value).__module__.startswith("mtjax.")
        bare = (get_args(part)[0] if get_origin(part) is Annotated else part for part in parts)
        return any(_fits(value, part) for part in parts) or (own and any(map(dataclasses.is_dataclass, bare)))
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
    plain = isinstance(hint, type) and hint is not Any and not getattr(hint, "_is_protocol", False)
    return not plain or isinstance(value, hint)


def _outside(value: Any, hint: Any) -> str:
    """The bounds in an annotation, in words, where a number is not within them; "" where it is. NaN never is."""
    if get_origin(hint) in (Union, types.UnionType):  # None, or a number within bounds
        parts = [part for part in get_args(hint) if _fits(value, part)]
        return next((words for part in parts if (words := _outside(value, part))), "")
    if get_origin(hint) is not Annotated or isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    said: list[str] = []
    fine = True
    for bound in hint.__metadata__:
        for kind, compare, words in BOUNDS:
            if isinstance(bound, kind):
                limit = getattr(bound, kind.__name__.lower())
                fine = fine and compare(value, limit)
                said.append(f"{words} {limit}")
    return "" if fine else " and ".join(said)


def _said(hint: Any, value: Any) -> str:
    """What is expected, in words."""
    if get_origin(hint) is Annotated:
        return _said(get_args(hint)[0], value)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        near = nearest(value, choices) if isinstance(value, str) else None
        return f"one of {', '.join(map(repr, choices))}" + (f"; did you mean {near!r}?" if near else "")
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_said(part, None) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a tuple of {_said(get_args(hint)[0], None)}"
    return WORDS.get(hint) or (f"{hint.__name__}(...)" if isinstance(hint, type) else str(hint))
