"""The words of a command line: the names of settings and choices, in any spelling, as the registered ones."""

import dataclasses
import re
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import tyro

from mtjax.errors import InputError
from mtjax.registry import OPTIONAL, Registry, resolve, snake_case

CHOICE = re.compile(r"([a-z][\w.]*):([\w-]*)")  # A word such as `objective:nll`.


def fields(cls: Any) -> dict[str, Any]:
    """Name and annotation of each setting of a class; those of an embedded class stand among the others."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if is_embedded(field):
            found |= fields(next(classes_in(field.type)))
        elif field.init and tyro.conf.Suppress not in getattr(field.type, "__metadata__", ()):
            found[field.name] = field.type
    return found


def is_embedded(field: dataclasses.Field[Any]) -> bool:
    """Whether the settings of a field's class stand among those around it, without a prefix."""
    return any(getattr(mark, "name", None) == "" for mark in getattr(field.type, "__metadata__", ()))


def classes_in(hint: Any) -> Iterator[Any]:
    """The settings classes in an annotation."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from classes_in(part)


def registry_of(hint: Any) -> Registry | None:
    """The registry of the choices in an annotation, if it has one."""
    found = (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Registry))
    inside = (registry_of(part) for part in typing.get_args(hint))
    return next(found, None) or next(filter(None, inside), None)


def parts_of(cls: Any, before: str = "") -> dict[str, Registry | None]:
    """Dotted name of each part that has settings or choices, with the registry of its choices, if it has one."""
    found: dict[str, Registry | None] = {}
    for name, hint in fields(cls).items():
        registry, inner = registry_of(hint), next(classes_in(hint), None)
        if registry is not None or inner is not None:
            found[before + name] = registry
        if registry is None and inner is not None:
            found |= parts_of(inner, f"{before}{name}.")
    return found


def settings_of_choices(cls: Any, before: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every setting that only a choice has: its dotted name, the word for the choice, and its annotation.

    >>> ("objective.kind", "objective:dpo") in [found[:2] for found in settings_of_choices(Config)]  # doctest: +SKIP
    True
    """
    for name, hint in fields(cls).items():
        registry, inner = registry_of(hint), next(classes_in(hint), None)
        if registry is not None and registry.settings:
            for choice, entry in registry.items():
                yield from (
                    (f"{before}{name}.{own}", f"{before}{name}:{choice}", of) for own, of in fields(entry).items()
                )
        elif inner is not None and type(None) in typing.get_args(hint):
            word = f"{before}{name}:{snake_case(inner.__name__)}"
            yield from ((f"{before}{name}.{own}", word, of) for own, of in fields(inner).items())
        elif inner is not None:
            yield from settings_of_choices(inner, f"{before}{name}.")


def choices_of(cls: Any, given: Collection[str], before: str = "") -> Iterator[str]:
    """Every word that may still choose beside those given, such as `objective:dpo`, also within what was chosen."""
    for name, hint in fields(cls).items():
        part, registry, inner = before + name, registry_of(hint), list(classes_in(hint))
        optional = OPTIONAL in getattr(hint, "__metadata__", ()) or type(None) in typing.get_args(hint)
        if registry is None and len(inner) == 1 and not optional:
            yield from choices_of(inner[0], given, f"{part}.")
            continue
        named = dict(registry.items()) if registry else {snake_case(one.__name__): one for one in inner}
        chosen = [choice for choice in (*named, "none") if f"{part}:{choice}" in given]
        for choice in chosen:
            if dataclasses.is_dataclass(named.get(choice)):
                yield from choices_of(named[choice], given, f"{part}.")
        if not chosen:
            yield from (f"{part}:{choice}" for choice in (*named, *(["none"] if named and optional else [])))


def accepts(hint: Any, value: str) -> bool:
    """Whether a setting may have a value, as far as its annotation lists its values; True where it lists none."""
    listed = [one for one in (hint, *typing.get_args(hint)) if typing.get_origin(one) is typing.Literal]
    return not value or not listed or any(value in map(str, typing.get_args(one)) for one in listed)


def in_full(word: str, cls: Any) -> str:
    """A word with the name that a command gives to a setting: `source:` and `data.source:` mean the same in all.

    `data.X` and `X` are one setting where the command has only one of them.

    >>> in_full("--source.path=x", Mine), in_full("data.source:hub", Inject)  # doctest: +SKIP
    ('--data.source.path=x', 'source:hub')
    """
    found = re.fullmatch(r"(--)?(no[_-])?([a-z][\w-]*)([.:=].*)?", word, re.DOTALL)
    if found is None or not (found[1] or re.fullmatch(r"[\w.]+:[\w-]*", word)):
        return word
    dashes, no, name, rest = (part or "" for part in found.groups())
    own = fields(cls)
    first = name.replace("-", "_")
    if "data" in own and first not in own:
        data = next(classes_in(own["data"]), None)
        if data is not None and first in fields(data):
            return f"{dashes}data.{no}{name}{rest}"
    inner = re.match(r"\.(no_)?(\w+)", rest)
    if first == "data" and "data" not in own and inner and inner[2] in own:
        return f"{dashes}{no}{rest[1:]}"
    return word


def as_registered(words: Sequence[str], cls: Any, names: dict[str, Any] | None = None) -> list[str]:
    """The words of a command with the settings class `cls`, each setting and choice by its full and registered name.

    So `source:gsm8k-solutions`, `data.source:Gsm8kSolutions` and `--data.source=gsm8k_solutions` are one word.
    """
    parts = parts_of(cls)
    known: dict[str, Any] = {**dict.fromkeys(parts, Part), **dict(names_of(cls))} if names is None else names
    return [_as_choice(as_switch(_underscored(in_full(word, cls), known), known), known, parts) for word in words]


def _underscored(word: str, names: dict[str, Any]) -> str:
    """A setting whose name is written with dashes, with underscores; any other word as it is."""
    found = re.fullmatch(r"--([\w.-]+)(=.*)?", word, re.DOTALL)
    if found is None or "-" not in found[1]:
        return word
    name = found[1].replace("-", "_")
    return f"--{name}{found[2] or ''}" if {name, re.sub(r"\bno_(?=\w+$)", "", name)} & names.keys() else word


@dataclasses.dataclass(frozen=True)
class Part:
    """Stands among the names of settings for a part that has no default."""


def as_switch(word: str, names: dict[str, Any]) -> str:
    """A switch as tyro reads it: `--overwrite=True` becomes `--overwrite`, `--data.leak=False` `--data.no_leak`."""
    found = re.fullmatch(r"--((?:\w+\.)*)(\w+)=(.*)", word)
    known = names.get(found[1] + found[2], True) if found else None
    if not found or not isinstance(known, bool):
        return word
    if found[3].lower() in ("true", "false"):
        return f"--{found[1]}{'no_' if found[3].lower() == 'false' else ''}{found[2]}"
    if found[1] + found[2] in names:
        raise InputError(f"{word}: a switch takes True or False")
    return word


def _as_choice(word: str, names: dict[str, Any], parts: Mapping[str, Registry | None]) -> str:
    """A choice with its registered name: `data.task:chat-task` and `--data.task=chat` become `data.task:chat`."""
    found = re.fullmatch(r"--([a-z][\w.]*)=([A-Za-z][\w-]*)", word)
    if found and (found[1] not in names or dataclasses.is_dataclass(names[found[1]])) and is_part(found[1], names):
        word = f"{found[1]}:{found[2]}"
    choice = CHOICE.fullmatch(word)
    if choice is None:
        return word
    registry = parts.get(choice[1])
    return f"{choice[1]}:{(registry and registry.resolve(choice[2])) or resolve(choice[2])}"


def is_part(name: str, names: dict[str, Any]) -> bool:
    """Whether `name` is a part that has settings, or would have if it were chosen."""
    return name in names or any(other.startswith(f"{name}.") for other in names)


def names_of(settings: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of each setting in a tree of dataclasses; of a class those that have a default."""
    for field in dataclasses.fields(settings):
        made = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        value = getattr(settings, field.name, made)
        if dataclasses.is_dataclass(value) and not isinstance(value, type) and dataclasses.fields(value):
            yield from names_of(value, before if is_embedded(field) else f"{before}{field.name}.")
        elif hasattr(settings, field.name) or made is not None:  # a dataclass without fields is a choice
            yield before + field.name, value
