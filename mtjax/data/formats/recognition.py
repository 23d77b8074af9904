"""Which format a record has: by its keys, and the same in the entire file."""

import collections
import contextlib
import dataclasses
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from mtjax.data.formats.base import ABOUT, FORMATS, Format, typed
from mtjax.data.problem import AS_GIVEN, SCHEMAS, Problem, UnknownKeys, problem_from_record, without_nulls
from mtjax.errors import InputError, nearest
from mtjax.io.containers import Cells, Columns

MEANING = {"prompt", "completion", "messages", "conversations", "chosen", "rejected", "completions", "right", "wrong"}
MEANING |= {"label", "labels", "kto_tag", "rewards", "answer", "tools", "text"}
"""Keys that would give a record another meaning, so that they are never left out with a note alone."""
FOREIGN_KEYS = {
    **dict.fromkeys(("instruction", "query", "problem", "input_text", "user"), "prompt"),
    **dict.fromkeys(("output", "response", "canonical_solution", "solution", "assistant"), "completion"),
    **dict.fromkeys(("rationale", "explanation", "generation", "cot"), "completion"),
    "solutions": "right",
    "system_prompt": "system",
    **dict.fromkeys(("task_id", "idx", "uid", "uuid"), "id"),
}
"""Keys of the field's formats, and the keys here that mean the same."""
SPOKEN = ("messages", "conversations", "prompt", "chosen")  # Keys that may hold a conversation.
NATIVE = ("completion", "messages", "solutions", "preference")  # Formats that always stood together in a file.


def recognise(record: Mapping[str, Any], where: str) -> str:
    """The name of the one format that a record has.

    A format fits if the record has the keys that it needs. Of two formats that fit, the one that takes all that the
    other needs, and more, is meant.

    Raises:
        InputError: no format fits, or several that mean different things.
    """
    fitting = [name for name, kind in FORMATS.items() if kind().fits(record)]
    best = [name for name in fitting if not any(_covers(other, name) for other in fitting)]
    for name, kind in FORMATS.items():  # more keys than those of the format that fits, but not its types
        if best and kind.needs.keys() <= record.keys() and name not in fitting and _covers(name, best[0]):
            kind().read(dict(record), where, where)
    if len(best) == 1:
        return best[0]
    if not best:
        raise _unknown(record, where)
    first, second = best[:2]
    raise UnknownKeys(
        f"{where}: keys {sorted(record)} have the formats '{first}' and '{second}', which mean different things; name "
        f"the keys to read, such as --data.source.columns {' '.join(FORMATS[first].needs)}, or force a format with "
        f"--data.source.format={first}"
    )


def _covers(one: str, other: str) -> bool:
    """Whether format `one` has all keys that `other` needs, and not the other way round."""
    has = lambda name: {*FORMATS[name].needs, *FORMATS[name].takes, *FORMATS[name].beside}
    return one != other and {*FORMATS[other].needs} <= has(one) and not {*FORMATS[one].needs} <= has(other)


def _unknown(record: Mapping[str, Any], where: str) -> InputError:
    """What to say about a record that has no format."""
    from mtjax.data.sources.detection import marked_source

    if source := marked_source(record):
        return UnknownKeys(f"{where}: a record of the source '{source}'; read the file with data.source:{source}")
    own = {*ABOUT}.union(*SCHEMAS.values())
    if record.keys() <= own:  # which of our own keys is wrong, missing or too many
        problem_from_record(record, where)
    for name, kind in FORMATS.items():  # keys of a format, but not its types
        if not kind.strict and kind.needs.keys() <= record.keys():
            kind().read(dict(record), where, where)
            return InputError(f"{where}: keys {sorted(record)} are those of the format '{name}', but not its values")
    names = {"question": "prompt", **FOREIGN_KEYS} if "prompt" not in record else FOREIGN_KEYS
    ours = {names.get(key, key): key for key in record if key in own or key in names}
    if {"prompt", "completion"} <= ours.keys() or {"prompt", "right"} <= ours.keys():
        columns = " ".join(theirs if theirs == key else f"{theirs}={key}" for key, theirs in ours.items())
        unknown = next((key for key in record if key not in own), "question")
        return UnknownKeys(f"{where}: unknown key {unknown!r}; say which keys to read: --data.source.columns {columns}")
    common = lambda name: len(record.keys() & FORMATS[name].needs.keys()) / max(len(FORMATS[name].needs), 1)
    near = max(FORMATS, key=common) if any(map(common, FORMATS)) else ""
    missing = [key for key in FORMATS[near].needs if key not in record] if near else []
    keys = {key for kind in FORMATS.values() for key in (*kind.needs, *kind.takes)} | own
    unknown = next((key for key in record if key not in keys), "")
    meant = nearest(str(unknown), keys, cutoff=0.75)
    said = f"unknown key {unknown!r}" + (f": did you mean {meant!r}? (" if meant else " (") if unknown else "("
    said = f"{said}keys {sorted(record)} have no format)"
    close = f"; the nearest format is '{near}', which needs {_listed(missing)} too" if missing else ""
    return InputError(
        f"{where}: {said}{close}; name the keys to read, each with what it is: --data.source.columns THEIRS=prompt "
        "THEIRS=completion (docs/data.md lists all formats)"
    )


def _difficulty(record: dict[str, Any], cells: bool) -> float | None:
    """The number under `difficulty`, which every format takes, and takes it out; another value is a key of its own.

    In `cells` of a table it is written as text.
    """
    value = record.get("difficulty")
    if isinstance(value, str) and cells:
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    del record["difficulty"]
    return float(value)


def _is_part(one: str, other: str) -> bool:
    """Whether one of two formats is the other without a key."""
    keys, others = ({*FORMATS[name].needs} for name in (one, other))
    return bool(keys and others) and (keys < others or others < keys)


def _listed(keys: Iterable[str]) -> str:
    return " and ".join(map(repr, keys))


class Reader:
    """Reads the records of one source: recognises the format of each, and counts what there is to report.

    Args:
        name: the format that all records have; "auto" recognises it by their keys.
        earlier: where the first record of each format stands in the records before these.
    """

    def __init__(self, name: str = "auto", earlier: Mapping[str, str] = MappingProxyType({})):
        self.forced = None if name == "auto" else str(FORMATS.name_of(FORMATS.find(name)))
        self.earlier = dict(earlier)
        self.formats: dict[str, Format] = {}  # those that were found, in order
        self.first: dict[str, str] = {}  # where the first record of each stands
        self.counts: collections.Counter[str] = collections.Counter()  # records of each
        self.talks = False  # whether any record is written as a conversation
        self.extra: collections.Counter[str] = collections.Counter()  # keys that are not read
        self._known: dict[frozenset[tuple[str, type]], str] = {}
        self._keys: dict[str, frozenset[str]] = {}

    def read(self, record: Any, where: str, id: str) -> Problem:
        """The problem of a record; InputError, opened by `where`, for one that has no format or is not as it says."""
        if not isinstance(record, Mapping):
            return problem_from_record(record, where)  # raises what is wrong
        keep, cells = () if isinstance(record, Columns) else AS_GIVEN, isinstance(record, Cells)
        record = without_nulls(typed(record) if isinstance(record, Cells) else record, keep)
        difficulty = _difficulty(record, cells)
        name = self.forced or self._format_of(record, where)
        kind = self.formats.get(name) or FORMATS[name]()
        if self.forced and (missing := [key for key in kind.needs if key not in record]):
            raise UnknownKeys(
                f"{where}: no {_listed(missing)} in keys {sorted(record)}; the format '{name}' needs it: use another "
                "--data.source.format, or name it in --data.source.columns THEIRS=OURS"
            )
        problem = kind.read(record, where, id)
        if difficulty is not None:
            problem = dataclasses.replace(problem, difficulty=difficulty)
        if name not in self.formats:
            self._check_mixture(name, where)
            self.formats[name], self.first[name] = kind, where
        self.counts[name] += 1
        self.talks |= any(isinstance(record.get(key), list | tuple) for key in SPOKEN)
        if not kind.strict and (extra := record.keys() - self._taken(name)):
            self.extra.update(key for key in record if key in extra)
        return problem

    def _taken(self, name: str) -> frozenset[str]:
        """The keys that a format reads."""
        if name not in self._keys:
            self._keys[name] = frozenset((*FORMATS[name].needs, *FORMATS[name].takes, *ABOUT))
        return self._keys[name]

    def _format_of(self, record: Mapping[str, Any], where: str) -> str:
        shape = frozenset((key, type(value)) for key, value in record.items())
        if shape not in self._known:
            name = recognise(record, where)
            self._check_extra(FORMATS[name], name, record, where)
            self._known[shape] = name
        return self._known[shape]

    @staticmethod
    def _check_extra(kind: type[Format], name: str, record: Mapping[str, Any], where: str) -> None:
        """InputError for a key that is probably misspelt, or that gives the record another meaning."""
        if kind.strict:
            return
        taken = (*kind.needs, *kind.takes, *kind.beside, *ABOUT)
        for key in record:
            alike = [one for one in taken if one not in record and len(one) > 3 and abs(len(one) - len(str(key))) < 2]
            near = nearest(str(key), alike, cutoff=0.8)
            if key not in taken and (near or key in MEANING):
                way_out = f"did you mean {near!r}?" if near else f"a record of the format '{name}' has none"
                columns = " ".join(one for one in record if one in (*kind.needs, *kind.takes, *ABOUT))
                raise UnknownKeys(
                    f"{where}: unknown key {key!r}: {way_out} Name the keys to read to leave it out: "
                    f"--data.source.columns {columns}".replace("none Name", "none; name")
                )

    def _check_mixture(self, name: str, where: str) -> None:
        """InputError for a record that has the format of others but for a missing key."""
        for other, first in (self.earlier | self.first).items():
            if _is_part(name, other):
                keys, others = ({*FORMATS[one].needs} for one in (name, other))
                raise InputError(
                    f"{where}: a record of the format '{name}', but {first} has the format '{other}' "
                    f"({_listed(sorted(keys ^ others))} makes the difference); write them to files of their own, or "
                    f"force one with --data.source.format={min((name, other), key=lambda one: len(FORMATS[one].needs))}"
                )

    def clashes(self, later: "Reader") -> bool:
        """Whether `later`, which does not know these records, took some that are refused beside them."""
        return any(_is_part(name, other) for name in later.formats for other in self.formats)

    def merge(self, later: "Reader") -> None:
        """Add what was found in the records that follow."""
        for name, kind in later.formats.items():
            if name in self.formats:
                self.formats[name].found.update(kind.found)
            else:
                self.formats[name], self.first[name] = kind, later.first[name]
        self.counts.update(later.counts)
        self.extra.update(later.extra)
        self.talks |= later.talks

    def notes(self) -> tuple[str, ...]:
        """One sentence for each thing that a user should know about the formats of the records."""
        notes = []
        if len(self.formats) > 1 and not {*self.formats} <= {*NATIVE}:
            listed = ", ".join(f"{self.counts[name]:,} {name} (first {self.first[name]})" for name in self.formats)
            notes.append(f"records of several formats: {listed}")
        if self.extra:
            listed = ", ".join(map(repr, [*self.extra][:12])) + ", ..." * (len(self.extra) > 12)
            notes.append(f"keys that are not read (format {', '.join(self.formats)}): {listed}")
        for kind in self.formats.values():
            notes += [sentence.format(f"{count:,}") for sentence, count in kind.found.items()]
        return tuple(notes)
