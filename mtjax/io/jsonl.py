"""JSON lines: reading them, with errors that name the file and the line."""

import gzip
import json
import os
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

from mtjax.errors import InputError, suggest


def existing_file(path: str) -> pathlib.Path:
    """`path` as a path; InputError, with the nearest name in its folder, when there is no such file."""
    file = pathlib.Path(path)
    if file.is_dir():
        raise InputError(f"'{path}' is a folder; expected a file in it")
    if not file.is_file():
        beside = [p.name for p in file.parent.iterdir() if p.is_file()] if file.parent.is_dir() else []
        hint = suggest(file.name, beside[:20]) if beside else f"the folder '{file.parent}' has no files"
        raise InputError(f"no file '{path}' (seen from '{pathlib.Path.cwd()}'): {hint}")
    if not os.access(file, os.R_OK):
        raise InputError(f"file '{path}' cannot be read; change its permissions")
    return file


def read_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """The non-blank lines of a file, plain or `.gz`, with their numbers from 1."""
    file, number = existing_file(path), 0
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}:{number + 1}: the gzip stream breaks off here ({error}); fetch it again") from error


def json_of(line: bytes, where: str) -> Any:
    """The value of one line; InputError naming `where` when it is no UTF-8 or no JSON."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
        if rb"\ud" in line.lower():  # an escape may be half of a pair, which no text can hold
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: the escape {ascii(error.object[error.start])} is half a character; mend the text"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        text = line.decode().strip()
        raise InputError(f"{where}: not JSON ({error}): {text[:60]!r}; expected one object per line") from error
