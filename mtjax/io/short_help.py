"""The short help of a command, which `--help` prints: its settings as a tree, with their values.

`--help-all` prints the long one, with a paragraph for every setting, by tyro.
"""

import contextlib
import dataclasses
import inspect
import re
import shutil
import textwrap
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tyro

from mtjax.io.progress import QUIET, VERBOSE
from mtjax.io.words import classes_in, fields, is_embedded, registry_of
from mtjax.registry import snake_case

HELP, HELP_ALL = frozenset({"-h", "--help"}), "--help-all"


def short_help(settings: Any, prog: str, chosen: Mapping[str, str] | None = None) -> str:
    """Every setting of a tree with its value, group by group, and a sentence for each that stands by itself.

    Args:
        settings: a dataclass, or a class of which only the defaults are known.
        prog: what the user typed up to the settings.
        chosen: registered names of what is chosen besides, by part, whose settings are listed.
    """
    cls = settings if isinstance(settings, type) else type(settings)
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    arguments, alone, groups = [], [], []
    for name, hint in fields(cls).items():
        said, value = _explained(cls, name), _value(settings, name)
        if tyro.conf.Positional in getattr(hint, "__metadata__", ()):
            arguments.append((name.upper(), said))
        elif any(classes_in(hint)) or registry_of(hint) is not None or dataclasses.is_dataclass(value):
            title = textwrap.shorten(f"{name}: {_sentence(said)}".rstrip(": "), width, placeholder=" ...")
            groups += ["", title, *_group(name, hint, value, width, chosen or {})]
        else:
            alone.append((f"--{name}{_equals(value)}", said))
    usage = " ".join([prog, *(name for name, _ in arguments), "[--name=value ...] [part:choice ...]"])
    lines = [f"usage: {usage}", "", inspect.getdoc(cls) or ""]
    for title, rows in (("arguments", arguments), ("settings", alone)):
        lines += ["", f"{title}:", *(_row(left, _sentence(said), width) for left, said in rows)] if rows else []
    lines += groups
    last = f"{HELP_ALL} explains every setting; a repeated setting counts as last given. {QUIET} shows no progress,"
    last += f"\n{VERBOSE} the texts that a model reads."
    return "\n".join([*lines, "", last])


def _group(name: str, hint: Any, value: Any, width: int, chosen: Mapping[str, str]) -> Iterator[str]:
    """The choices of a part, and its settings with their values."""
    registry, known = registry_of(hint), list(classes_in(hint))
    if registry is not None and chosen.get(name) in registry:
        entry = registry[chosen[name]]
        value = value if type(value) is entry else entry
    now = "" if value is dataclasses.MISSING else " (now none)" if value is None else ""
    if registry is not None:
        kind = registry.name_of(value) if dataclasses.is_dataclass(value) else None
        none = ["none"] if value is None else []
        yield from _choices(name, [*none, *registry], now or (f" (now {kind})" if kind else ""), width)
    elif type(None) in typing.get_args(hint):
        yield from _choices(name, ["none", *(snake_case(cls.__name__) for cls in known)], now, width)
    part = value if dataclasses.is_dataclass(value) else next(iter(known), None) if registry is None else None
    if part is None:
        return
    cls = part if isinstance(part, type) else type(part)
    inner = fields(cls)
    deep = {key for key, own in inner.items() if any(classes_in(own)) or registry_of(own) is not None}
    yield from _wrapped([f"--{name}.{key}{_equals(_value(part, key))}" for key in inner if key not in deep], width)
    for key in (key for key in inner if key in deep):
        yield from _group(f"{name}.{key}", inner[key], _value(part, key), width, chosen)


def _choices(name: str, known: Iterable[str], now: str, width: int) -> list[str]:
    """Lines such as `objective:{dpo, nll} (now nll)`."""
    first, *others = known
    words = ", ".join([f"{name}:{{{first}", *others]).split(" ")
    return _wrapped([*words[:-1], f"{words[-1]}}}{now}"], width)


def _wrapped(words: Iterable[str], width: int) -> list[str]:
    """Words on as few lines as possible, none of them broken."""
    lines = [" "]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > width and lines[-1].strip():
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines if lines != [" "] else []


def _row(left: str, said: str, width: int) -> str:
    left = f"  {left:<30}"
    return f"{left} {textwrap.shorten(said, max(width - len(left) - 1, 20), placeholder=' ...')}".rstrip()


def _value(settings: Any, name: str) -> Any:
    """The value or default of a setting, `dataclasses.MISSING` for none; that of an embedded class is looked up."""
    for field in dataclasses.fields(settings):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        value = made if isinstance(settings, type) else getattr(settings, field.name)
        if field.name == name:
            return value
        if is_embedded(field) and name in fields(next(classes_in(field.type))):
            return _value(value if dataclasses.is_dataclass(value) else next(classes_in(field.type)), name)
    return dataclasses.MISSING


def _equals(value: Any) -> str:
    if value is dataclasses.MISSING:
        return " (required)"
    text = repr(value) if not isinstance(value, str) or not re.fullmatch(r"[\w./-]+", value) else value
    return f"={textwrap.shorten(text, 40, placeholder='...')}"


def _sentence(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[^.]\w\.) (?=[A-Z`])|; ", text, maxsplit=1)[0]


def _explained(cls: Any, name: str) -> str:
    """What the source of a settings class says about a setting: the comment behind it, or the text below it."""
    text = rf'^    {name}: [^\n]*?(?:  # (?!type:)([^\n]*)|(?:  # type:[^\n]*)?\n    """(.*?)""")'
    owners: list[Any] = [one for one in cls.__mro__ if dataclasses.is_dataclass(one)]
    for owner in owners:
        with contextlib.suppress(OSError, TypeError):  # made without a file
            if found := re.search(text, inspect.getsource(owner), re.MULTILINE | re.DOTALL):
                return " ".join((found[1] or found[2]).split())
    for field in dataclasses.fields(cls):
        if is_embedded(field) and (inner := next(classes_in(field.type))) is not cls and name in fields(inner):
            return _explained(inner, name)
    return ""
