"""Types and bounds of settings, which dataclasses do not check.

A bound is part of a field's annotation: `Annotated[int, Ge(1)]`, with `annotated_types`. A string beside it ends the
message, as the way out: `Annotated[float, Gt(0), "0.1 is usual"]`.
"""

import dataclasses
import numbers
import operator
import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from mtjax.errors import InputError, nearest
from mtjax.registry import annotations_of

BOUNDS: tuple[tuple[type, Callable[[Any, Any], bool], str], ...] = (
    (Ge, operator.ge, "at least"),
    (Gt, operator.gt, "more than"),
    (Le, operator.le, "at most"),
    (Lt, operator.lt, "less than"),
)
"""Each kind of bound with its comparison and its words."""

PositiveInt = Annotated[int, Ge(1)]  # A whole number of at least 1.


class Address:
    """Mark of a setting that may be an address of `BUCKETS`, such as `gs://bucket/run`; others may not."""


STORES = re.compile(r"(gs|gcs|s3|s3a|r2|az|abfss?|adl|wasbs?|oss|hdfs|dbfs|file|hf|https?):/\S*$", re.IGNORECASE)
BUCKETS = ("gs://", "s3://")  # where checkpoints can go, and from where data can be read

WORDS = {int: "a whole number", float: "a number", str: "text in quotes", bool: "True or False", type(None): "None"}


def check_types(settings: Any, name: str = "") -> None:
    """Check every setting in a tree of dataclasses against the annotation of its field.

    A whole number passes as a number, a list as a tuple, and where one of several dataclasses is expected (a source, a
    task, an objective) a dataclass of the user's own passes too.

    Raises:
        InputError: the first setting of a wrong type or not among its choices: dotted name, value, expectation.
    """
    hints = annotations_of(type(settings))
    for field in dataclasses.fields(settings):
        value, dotted = getattr(settings, field.name), f"{name}.{field.name}".lstrip(".")
        hint = hints[field.name]
        if wrong := _outside(value, hint) if _fits(value, hint) else _said(hint, value):
            hints_out = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, str)]
            raise InputError("; ".join([f"{dotted}={value!r:.80}: expected {wrong}", *hints_out]))
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, str):
                refuse_address(dotted, item, Address in getattr(hint, "__metadata__", ()))
            if dataclasses.is_dataclass(item) and not isinstance(item, type):
                check_types(item, dotted)


def refuse_address(name: str, value: str, takes_bucket: bool = False) -> None:
    """InputError for a setting or argument that is an address on an object store, which would become a folder `gs:`.

    With `takes_bucket`, addresses of `BUCKETS` pass.
    """
    last = name.rpartition(".")[2]
    known = WRITTEN if value.lower().startswith("http") else WRITTEN | READ
    if not STORES.match(value) or last not in known or name.startswith("server."):
        return
    if takes_bucket and value.startswith(BUCKETS):
        return
    way_out = "copy it to this machine, or mount it, and name the folder"
    store, _, rest = value.partition(":")
    address = f"{store}://{rest.lstrip('/')}"  # a mistyped `gs:/bucket` too
    if store.lower() == "file":
        way_out = f"write it as a path: --{name}=/{rest.lstrip('/')}"
    elif name == "run_dir" and address.startswith(BUCKETS) and rest.strip("/"):
        way_out = f"keep the run folder on this machine, and the checkpoints there: --checkpoint.folder={address}"
    elif takes_bucket and address.startswith(BUCKETS):
        way_out = f"write it with two slashes: --{name}={address}"
    expected = (
        "a path on this machine, gs://... or s3://..." if takes_bucket else "a path on this machine, not an address"
    )
    raise InputError(f"{name}={value!r:.200}: expected {expected}; {way_out}")


WRITTEN = {"run_dir", "output", "export", "cache_dir", "json", "html", "markdown"}
READ = {"path", "folder", "file", "model", "tokenizer", "init_from", "mistakes"}
"""Settings that are paths, by their last name. A model or its server may have a web address."""


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
        number = numbers.Real if hint is float else numbers.Integral  # NumPy's too
        return isinstance(value, number) and not isinstance(value, bool)
    plain = isinstance(hint, type) and hint is not Any and not getattr(hint, "_is_protocol", False)
    return not plain or isinstance(value, hint)


def _outside(value: Any, hint: Any) -> str:
    """The bounds in an annotation, in words, if a number is not within them; "" if it is. NaN never is."""
    if get_origin(hint) in (Union, types.UnionType):  # None, or a number within bounds
        return next(filter(None, (_outside(value, part) for part in get_args(hint) if _fits(value, part))), "")
    if get_origin(hint) is not Annotated or isinstance(value, bool) or not isinstance(value, numbers.Real):
        return ""
    found = [
        (
            compare(value, limit := getattr(bound, kind.__name__.lower())),
            f"{words} {limit}".replace("less than inf", "finite"),
        )
        for bound in hint.__metadata__
        for kind, compare, words in BOUNDS
        if isinstance(bound, kind)
    ]
    return "" if all(fine for fine, _ in found) else " and ".join(words for _, words in found)


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
