"""Registries: the methods of one kind by name, such as every objective or every source.

A method is one file in the folder of its kind, with one decorator:

    @OBJECTIVES.register("dpo")
    @dataclasses.dataclass(frozen=True)
    class Dpo: ...

The name then works on the command line (`objective:dpo`), in the messages about misspelt names, in
`python -m mtjax.list` and in the contract tests of the kind.
"""

import contextlib
import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
import sys
import traceback
import typing
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, Union

import tyro

from mtjax.errors import InputError, suggest

Entry = TypeVar("Entry", bound=Callable[..., Any])

CONFIG_MODULE = "mtjax_config_"
"""How the names of the modules that are made of config files begin."""

OPTIONAL = "None is allowed"  # Mark of a setting that may have none of the entries.

REGISTRIES: dict[str, "Registry"] = {}
"""Every registry by its kind; `python -m mtjax.list` prints them."""

_ANNOTATIONS: "weakref.WeakKeyDictionary[type, dict[str, Any]]" = weakref.WeakKeyDictionary()
"""What `annotations_of` has read of each settings class since an entry of a registry changed."""


class Registry(Mapping[str, Any]):
    """The classes or functions of one kind by name, in alphabetical order.

    Args:
        kind: what one entry is called, such as "objective"; used in messages and as the key in `REGISTRIES`.
        requires: attributes that every entry must have, such as `("task", "needs_reference")`.
        settings: whether entries are frozen dataclasses whose fields are their settings; otherwise they are functions.
    """

    def __init__(self, kind: str, requires: tuple[str, ...] = (), settings: bool = True):
        self.kind, self.requires, self.settings = kind, requires, settings
        self._entries: dict[str, Any] = {}
        REGISTRIES[kind] = self

    __hash__ = object.__hash__  # a registry is a mark in type annotations
    __eq__ = object.__eq__

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Decorator that adds a class or function under `name`.

        Raises:
            ValueError: the name is taken, an attribute of `requires` is missing, or a class is not a dataclass.
        """

        def add(entry: Entry) -> Entry:
            before = self._entries.get(name)
            # A config file may be read again in one process, or an edited one: that defines its classes again.
            is_own = before is not None and before.__module__.startswith(CONFIG_MODULE)
            again = is_own and entry.__module__.startswith(CONFIG_MODULE)
            where = lambda cls: (cls.__module__, cls.__qualname__)
            if before is not None and not again and where(before) != where(entry):
                raise ValueError(f"{self.kind} '{name}' is registered twice: {before} and {entry}")
            missing = [attribute for attribute in self.requires if not hasattr(entry, attribute)]
            if self.settings and not dataclasses.is_dataclass(entry):
                missing.append("the decorator @dataclasses.dataclass(frozen=True)")
            if missing:
                raise ValueError(f"{self.kind} '{name}' lacks {', '.join(missing)}: add it to {entry}")
            self._entries[name] = entry
            _ANNOTATIONS.clear()
            return entry

        return add

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """What is registered inside gives way to what was registered before."""
        before = dict(self._entries)
        try:
            yield
        finally:
            self._entries |= before
            _ANNOTATIONS.clear()

    def __getitem__(self, name: str) -> Any:
        """The entry called `name`; KeyError for an unknown name (`find` answers with a suggestion)."""
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """The names in alphabetical order."""
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._entries)

    def find(self, name: str) -> Any:
        """The entry called `name`; InputError with the nearest name where there is none."""
        if name not in self._entries:
            raise InputError(f"unknown {self.kind} '{name}': {suggest(name, self._entries)}")
        return self._entries[name]

    def resolve(self, word: str) -> str | None:
        """The registered name that a word of the command line means; None where it means none.

        Dashes count as underscores, and a class may be called by its own name: `chat_task` and `ChatTask` mean `chat`.
        """
        word = snake_case(word.replace("-", "_"))
        if word in self._entries:
            return word
        return next((name for name, entry in self._entries.items() if snake_case(entry.__name__) == word), None)

    def name_of(self, entry: Any) -> str | None:
        """The registered name of a class, an instance of it, or a function; None for one that is not registered."""
        entry = entry if inspect.isclass(entry) or inspect.isroutine(entry) else type(entry)
        return next((name for name, known in self._entries.items() if known is entry), None)

    def setting(self, *, optional: bool = False) -> Any:
        """The type of a settings field that holds one of the entries: on the command line, `field:NAME` chooses.

        It is open until the command line is read or settings are checked: `annotations_of` then puts `union` in its
        place. An `optional` one may be None, `field:none` on the command line.
        """
        return Annotated[Any, self, OPTIONAL] if optional else Annotated[Any, self]

    def union(self, *, optional: bool = False) -> Any:
        """The type of all entries that are registered by now, with their names on the command line."""
        choices = tuple(Annotated[cls, tyro.conf.subcommand(name)] for name, cls in self.items())
        if optional:
            return Annotated[Union[(*choices, None)], self, OPTIONAL]
        return Annotated[Union[choices], self]  # noqa: UP007


def snake_case(name: str) -> str:
    """A class name in lower case with underscores.

    >>> snake_case("Gsm8kSolutions")
    'gsm8k_solutions'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def resolve(word: str) -> str:
    """The registered name, of whatever kind, that a word means; the word itself where it means none."""
    exact = word.replace("-", "_")
    if any(exact in registry for registry in REGISTRIES.values()):
        return exact
    found = (registry.resolve(word) for registry in REGISTRIES.values())
    return next((name for name in found if name is not None), word)


def plain_settings(value: Any) -> Any:
    """A tree of settings as dicts, lists and plain values; a registered choice without settings is its name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        names = (registry.name_of(value) for registry in REGISTRIES.values()) if not fields else ()
        named = next((name for name in names if name is not None), None)
        return named or {field.name: plain_settings(getattr(value, field.name)) for field in fields}
    return [plain_settings(item) for item in value] if isinstance(value, tuple | list) else value


def annotations_of(settings: type) -> Mapping[str, Any]:
    """The annotation of each field of a settings class, the unions up to date with their registries.

    A class that a config file registers comes after the settings classes were made: a union of a registry's entries is
    put into the class anew, and into those that its fields may hold. Read once until an entry changes.
    """
    if settings not in _ANNOTATIONS:
        # Kept before its parts are, since a tree may hold its own class.
        found = _ANNOTATIONS[settings] = typing.get_type_hints(settings, include_extras=True)
        for field, hint in found.items():
            registry = next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Registry)), None)
            if registry is not None and field in vars(settings).get("__annotations__", {}):
                hint = registry.union(optional=OPTIONAL in hint.__metadata__)
                found[field] = settings.__annotations__[field] = hint
            for part in _classes(hint):
                if dataclasses.is_dataclass(part):
                    annotations_of(part)
    return _ANNOTATIONS[settings]


def _classes(hint: Any) -> Iterator[type]:
    """The classes in a type annotation."""
    if isinstance(hint, type):
        yield hint
    for part in typing.get_args(hint):
        yield from _classes(part)


def import_modules(package: str) -> None:
    """Import every module in the folder of `package`, so that their methods register; called by its `__init__`.

    Raises:
        InputError: a file cannot be imported; the message names it and the line.
    """
    folder = sys.modules[package].__path__
    for module in pkgutil.iter_modules(folder):
        try:
            importlib.import_module(f"{package}.{module.name}")
        except InputError:
            raise
        except Exception as error:
            raise InputError(_not_imported(error, folder[0], module.name)) from error


def _not_imported(error: Exception, folder: str, name: str) -> str:
    """What is wrong with the file of a method that Python cannot import, and where: in that file, if it has a part."""
    own = os.path.join(folder, f"{name}.py")
    calls = [(call.filename, call.lineno) for call in traceback.extract_tb(error.__traceback__)]
    file, line = next((call for call in reversed(calls) if call[0] == own), (own, None))
    said = str(error)
    if isinstance(error, SyntaxError):
        file, line, said = error.filename or own, error.lineno, error.msg
    where = f"{file}, line {line}" if line else file
    return f"{where}: {type(error).__name__}: {said}; fix the file, or take it out of its folder"


def summary(entry: Any) -> str:
    """The first line of an entry's docstring; "" where it has none of its own."""
    return (inspect.getdoc(entry) or "").strip().split("\n")[0]


def paper(entry: Any) -> str:
    """What the docstring of an entry gives as its source, up to the end of the paragraph; "" where it names none."""
    found = re.search(r"^Source: (.*?)(?:\n\n|\Z)", inspect.getdoc(entry) or "", re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""
