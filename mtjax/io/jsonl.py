"""JSON lines: reading them and decoding their records, with errors that name the file, the line and the key."""

import contextlib
import dataclasses
import functools
import gzip
import importlib.util
import io
import json
import os
import pathlib
import re
import types
import typing
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any, Literal, TypeVar

import msgspec

from mtjax.errors import InputError, suggest
from mtjax.io.bucket import is_address, local_copy

_MADE_BY = (
    ("data/gsm8k/", "`make example-data` makes it, in the folder of mtjax"),
    ("runs/", "the head of a config names the commands that make what it reads"),
)


def existing_file(path: str) -> pathlib.Path:
    """`path` as a path, of a file on an object store that of its copy; InputError, with the nearest name in its folder,
    when there is no such file.
    """
    file = pathlib.Path(local_copy(path) if is_address(path) else path)
    if file.is_dir():
        raise InputError(f"'{path}' is a folder; expected a file in it")
    if not file.is_file():
        beside = [p.name for p in file.parent.iterdir() if p.is_file()] if file.parent.is_dir() else []
        hint = suggest(file.name, beside[:20]) if beside else f"the folder '{file.parent}' has no files"
        made_by = next((how for folder, how in _MADE_BY if path.startswith(folder)), "")
        hint += f"; {made_by}" if made_by else ""
        raise InputError(f"no file '{path}' (seen from '{pathlib.Path.cwd()}'): {hint}")
    if not os.access(file, os.R_OK):
        raise InputError(f"file '{path}' cannot be read; change its permissions")
    return file


GZIP, ZSTD, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"  # The first bytes of such files, whatever their names.
OTHER_KINDS = {
    PARQUET: "a Parquet file; read it with data.source:files --data.source.path=FILE",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"BZh": "compressed with bzip2; unpack it first",
    b"\xfd7zXZ": "compressed with xz; unpack it first",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
}
"""What else a file may be, by its first bytes, and what to do then."""


def open_plain(path: str) -> IO[bytes]:
    """A file for reading, unpacked if it is gzip or zstd; InputError for another kind of file than text."""
    file = existing_file(path)
    with file.open("rb") as opened:
        head = opened.read(32)
    if kind := next((kind for start, kind in OTHER_KINDS.items() if head.startswith(start)), None):
        raise InputError(f"'{path}' is {kind}; expected text, plain, gzip or zstd")
    if head.startswith(ZSTD):
        needs_pyarrow(path, "compressed with zstd")
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(file)), "zstd"))  # type: ignore[type-var]
    return gzip.open(file, "rb") if head.startswith(GZIP) else file.open("rb")  # type: ignore[return-value]


def read_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """The non-blank lines of a file, plain or gzip, with their numbers from 1."""
    number = 0
    try:
        with open_plain(path) as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield number, line
    except BROKEN as error:
        raise _broken(f"{path}:{number + 1}", error) from error


BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, OSError)  # What a compressed file that is damaged raises.


def _broken(where: str, error: Exception) -> Exception:
    """What to raise for one of these; an error of the system, such as of a disk, stays what it is."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    kind = "zstd" if type(error) is OSError else "gzip"
    return InputError(f"{where}: the {kind} stream breaks off here ({error}); fetch it again")


@contextlib.contextmanager
def unpacking(path: str) -> Iterator[None]:
    """InputError for a compressed file that is damaged, or one that is not UTF-8."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.object[error.start]:#x} is not UTF-8; save the file as UTF-8") from error
    except BROKEN as error:
        raise _broken(path, error) from error


def needs_pyarrow(path: str, kind: str) -> None:
    """InputError, with the way out, where the optional package `pyarrow` is missing."""
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"'{path}' is {kind}, which needs the package 'pyarrow': run pip install '.[files]' in mtjax's "
            "folder, or write the records as JSON lines"
        )


def json_of(line: bytes, where: str) -> Any:
    """The value of one line; InputError naming `where` if it is not UTF-8, not JSON, or has a key twice."""
    try:
        value = _DECODER.decode(line.decode("utf-8-sig"))
        if rb"\ud" in line.lower():  # an escape may be half of a pair, which no text can hold
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: the escape {ascii(error.object[error.start])} is half a character; fix the text"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except _Twice as error:
        raise InputError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        text = line.decode("utf-8-sig").strip()
        way_out = "expected one object per line"
        if text in ("[", "{"):
            list_or_object = ".[]" if text == "[" else "."
            way_out += f"; `jq -c '{list_or_object}' FILE > FILE.jsonl` writes a file of several lines per record so"
        raise InputError(f"{where}: not JSON ({error}): {text[:60]!r}; {way_out}") from error


class _Twice(ValueError):
    """A key that one object has twice; the last value would silently win."""

    def __str__(self) -> str:
        return f"the key {self.args[0]!r} stands twice in one object; remove one of them"


def array_decoder() -> json.JSONDecoder:
    """A decoder of JSON values that refuses, with ValueError, an object with a key twice."""
    return json.JSONDecoder(object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        raise _Twice(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return made


_DECODER = array_decoder()
Record = TypeVar("Record")

WORDS: dict[Any, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


def decode(record: Any, kind: type[Record], where: str, way_out: str = "fix the record") -> Record:
    """A JSON object as an instance of the dataclass `kind`.

    Types are strict: a boolean is not a number, and text is not converted. A whole number passes as a `float`, a list
    as a tuple. Unknown keys are refused.

    Raises InputError, which begins with `where` (file and line) and ends with `way_out`, if the record is not an
    object, has an unknown or missing key or a value of another type.
    """
    fields: dict[str, Any] = _fields(kind)  # type: ignore[arg-type]
    if not isinstance(record, Mapping):
        raise InputError(f"{where}: got {record!r:.80}; expected an object with {', '.join(fields)}")
    refuse_unknown(record, fields, where)
    for name, items in record.items():  # some hold a tuple of another dataclass
        parts = typing.get_args(fields[name]) if isinstance(items, list | tuple) else ()
        if parts and dataclasses.is_dataclass(parts[0]):
            for number, item in enumerate(items):
                if isinstance(item, Mapping):
                    refuse_unknown(item, _fields(parts[0]), f"{where}: {name}[{number}]")  # type: ignore[arg-type]
    try:
        return msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_explained(str(error), record, kind)}; {way_out}") from error


def field_of(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """One field of a published record; InputError when it is missing or of another type."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: got {record!r:.80}; expected an object")
    if key not in record:
        raise InputError(f"{where}: no key {key!r}: is this the right reader? {suggest(key, map(str, record))}")
    if not isinstance(record[key], kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join(WORDS.get(k, "an object") for k in kinds)
        raise InputError(f"{where}: {key!r} is {record[key]!r:.80}; expected {names}{in_quotes(record[key], kind)}")
    return record[key]


def refuse_unknown(record: Mapping[str, Any], known: Mapping[str, Any] | tuple[str, ...], where: str) -> None:
    """InputError for the first key of a record that is not among `known`, with the nearest known one."""
    for key in record:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}: {suggest(str(key), known)}")


@functools.cache
def _fields(kind: type) -> dict[str, Any]:
    """Names and types of the fields of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]


def _explained(said: str, record: Any, kind: Any) -> str:
    """What msgspec says of a record, with the value that was found; `$.a[0].b` is the path that it gives."""
    place = re.search(r"`\$(.*)`$", said)
    value, hint, name = record, kind, ""
    for key, number in re.findall(r"\.(\w+)|\[(\d+)\]", place[1] if place else ""):
        value = value[key or int(number)]
        if typing.get_origin(hint) is types.UnionType:  # `X | None`
            hint = typing.get_args(hint)[0]
        hint = _fields(hint)[key] if key else typing.get_args(hint)[0]
        name += f".{key}" if key and name else key or f"[{number}]"
    inside = f"{name}: " if name else ""
    if missing := re.search(r"missing required field `(\w+)`", said):
        return f"{inside}no {missing[1]!r} in keys {sorted(map(str, value))}; expected it in every record"
    if typing.get_origin(hint) is Literal and isinstance(value, str):
        return f"{name} {value!r}: {suggest(value, typing.get_args(hint))}"
    before, _, last = name.rpartition(".")
    shown = f"{before}: {last!r}" if before else name if "[" in name else repr(name)
    return f"{shown} is {value!r:.80}; expected {_said(hint)}{in_quotes(value, hint)}"


def in_quotes(value: Any, hint: Any) -> str:
    """How to write a number or a boolean where a text belongs; "" for others."""
    plain = value if isinstance(value, bool | int | float) else None
    return "" if hint is not str or plain is None else f": write {json.dumps(json.dumps(plain))}, in quotes"


def _said(hint: Any) -> str:
    """A type in words."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(_said, parts))
    if typing.get_origin(hint) is tuple:
        of = _said(parts[0]).removeprefix("a ").removeprefix("an ") + "s"
        return f"a list of {of}" if parts[1:] == (...,) else f"a list of {len(parts)} {of}"
    return WORDS.get(hint, "an object")
