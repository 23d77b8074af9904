"""Files of records in any container: JSON lines, a JSON array, CSV, TSV, Parquet, Arrow; plain, gzip or zstd.

Everything is read as a stream, record by record.
"""

import csv
import glob
import io
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from mtjax.errors import InputError
from mtjax.io.bucket import is_address, local_copy
from mtjax.io.jsonl import PARQUET, array_decoder, existing_file, needs_pyarrow, open_plain, read_lines, unpacking

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")  # Files of records in a folder.
PACKED = (".gz", ".zst")  # Further suffixes that a name may have.
ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "manifest.json", "config.json")
"""Files in a folder that describe its data and hold no records."""
PARTS = {"train": "train", "test": "test", "eval": "test", "dev": "validation", "validation": "validation"}
PARTS |= {"valid": "validation", "val": "validation"}  # Words at the start of a name that say which part it is.
SPACE = re.compile(r"[ \t\r\n]*")
CHUNK = 1 << 20  # Characters of a JSON array to read at a time.


def files_of(path: str) -> list[str]:
    """The files that a path means, in order of their names: a file, those that a glob matches, or those in a folder.

    A folder is searched with all folders in it, for names that end as a file of records does (`SUFFIXES`). Of an
    address on an object store they are the files of its local copy (`mtjax.io.bucket`).

    Raises:
        InputError: nothing is found, or a folder holds training and test files beside each other.
    """
    named, path = path, local_copy(path, _names_records) if is_address(path) else os.path.expanduser(path)
    if os.path.isdir(path):
        found = glob.glob(f"{glob.escape(path)}/**/*", recursive=True)
        found = [file for file in found if os.path.isfile(file) and _names_records(file)]
        if not found:
            raise InputError(
                f"'{named}' is a folder; expected a file in it, or a folder with files whose names end in "
                f"{', '.join(SUFFIXES)}, packed or not"
            )
        parts = {part for file in found if (part := _part_of(file, path))}
        if len(parts) > 1:
            example = next((file for file in sorted(found) if _part_of(file, path) == "train"), min(found))
            pattern = re.sub("[-_.].*", "*", os.path.relpath(example, path))
            raise InputError(
                f"folder '{named}' holds files of the parts {', '.join(sorted(parts))}; name those of one part, such "
                f"as '{os.path.join(named, pattern)}'"
            )
        return sorted(found)
    if os.path.exists(path) or not glob.has_magic(path):
        return [str(existing_file(path))] if path else [path]
    found = [file for file in glob.glob(path, recursive=True) if os.path.isfile(file)]
    if not found:
        raise InputError(f"no file matches '{named}' (seen from '{pathlib.Path.cwd()}'); check folder and pattern")
    return sorted(found)


def _part_of(file: str, folder: str) -> str | None:
    """The part (train, validation, test) that a file's name, or that of a folder below `folder`, begins with."""
    words = (re.match("[a-z]*", name.lower())[0] for name in pathlib.Path(file).relative_to(folder).parts)  # type: ignore[index]
    return next((PARTS[word] for word in words if word in PARTS), None)


def _names_records(file: str) -> bool:
    """Whether a name is that of a file of records."""
    name = os.path.basename(file).lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return name.endswith(SUFFIXES) and name not in ABOUT


class Cells(dict[str, Any]):
    """A row of a CSV or TSV file: every value is a text, also numbers and lists."""


class Columns(dict[str, Any]):
    """A row of a Parquet or Arrow file, in which a key that other rows have is null, at any depth."""


Row = tuple[Any, str, str]
"""A record, where it stands (`data/a.jsonl:3` or `data/a.parquet: record 2`) and a name for it (`a.jsonl:3`).

The record is JSON as bytes, an object, or an InputError that says why there is none."""


def read_rows(path: str) -> Iterator[Row]:
    """The records of all files that a path means (`files_of`), one by one.

    Raises:
        InputError: a file that is missing or not what its name says. A record that cannot be read is a row.
    """
    files = files_of(path)
    common = os.path.commonpath(map(os.path.dirname, map(os.path.abspath, files)))
    for file in files:
        yield from _rows_of(file, os.path.relpath(file, common) if len(files) > 1 else os.path.basename(file))


def _rows_of(file: str, name: str) -> Iterator[Row]:
    with existing_file(file).open("rb") as opened:
        head = opened.read(8)
    plain = name.lower().removesuffix(".gz").removesuffix(".zst")
    if head.startswith(PARQUET) or plain.endswith(".arrow"):
        rows: Iterator[Any] = _arrow_rows(file, head.startswith(PARQUET))
    elif plain.endswith((".csv", ".tsv")):
        yield from _table_rows(file, name, plain.endswith(".tsv"))
        return
    elif _is_array(file, plain.endswith(".json")):
        rows = _array_rows(file)
    else:
        for number, line in read_lines(file):
            yield line, f"{file}:{number}", f"{name}:{number}"
        return
    for number, record in enumerate(rows):
        yield record, f"{file}: record {number}", f"{name}[{number}]"


def _is_array(file: str, json: bool) -> bool:
    """Whether a text is a JSON list of objects (any list where the name ends in `.json`), not lines."""
    with unpacking(file), open_plain(file) as opened:
        start = opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        while len(start[:1] + start[1:].lstrip()) < 2 and (block := opened.read(64)):
            start += block.lstrip()
    return start[:1] == b"[" and (json or start[1:].lstrip()[:1] in (b"{", b"]", b""))


def _array_rows(file: str) -> Iterator[Any]:
    """The items of a JSON array, read in blocks."""
    strict, lenient = array_decoder(), json.JSONDecoder()
    with unpacking(file), open_plain(file) as opened, io.TextIOWrapper(opened, "utf-8-sig") as text:
        buffer, at, expected = text.read(CHUNK), 0, "["
        for number in itertools.count():
            where = f"{file}: record {number}"
            while True:  # to the next value
                at = SPACE.match(buffer, at).end()  # type: ignore[union-attr]
                if at == len(buffer):
                    buffer, at = text.read(CHUNK), 0
                    if not buffer:
                        raise InputError(f"{where}: the JSON list breaks off here; fetch the file again")
                elif buffer[at] in expected:
                    at, mark, expected = at + 1, buffer[at], {"[": "]", ",": ""}.get(buffer[at], "")
                    if mark == "]":
                        if (buffer[at:] + text.read(CHUNK)).strip():
                            raise InputError(
                                f"{file}: text after the end of the JSON list; expected one list in a file"
                            )
                        return
                elif expected == ",]":
                    raise InputError(f"{where}: found {buffer[at : at + 40]!r}; expected ',' or ']' after a record")
                else:
                    break
            decoder = strict
            while True:
                try:
                    value, end = decoder.raw_decode(buffer, at)
                    if end < len(buffer) or not (block := text.read(CHUNK)):
                        break
                except json.JSONDecodeError as error:
                    cut = error.pos > len(buffer) - 16 or error.msg.startswith("Unterminated string")
                    if not cut or not (block := text.read(max(CHUNK, len(buffer) - at))):
                        said = f"{error.msg}: {buffer[max(error.pos - 20, at) : error.pos + 20]!r}"
                        raise InputError(f"{where}: not JSON ({said}); fix the file") from error
                except RecursionError as error:
                    raise InputError(f"{where}: not JSON ({error}); fix the file") from error
                except ValueError:  # a key that stands twice
                    decoder = lenient
                    continue
                buffer, at = buffer[at:] + block, 0
            written = buffer[at:end]
            yield written.encode() if decoder is lenient or "\\ud" in written.lower() else value  # checked by `json_of`
            at, expected = end, ",]"


def _table_rows(file: str, name: str, tabs: bool) -> Iterator[Row]:
    """The rows of a CSV or TSV file, whose first line names the columns."""
    csv.field_size_limit(1 << 30)
    with unpacking(file), open_plain(file) as opened, io.TextIOWrapper(opened, "utf-8-sig", newline="") as text:
        first = text.readline()
        delimiter = "\t" if tabs else ";" if ";" in first and "," not in first else ","
        reader = csv.reader(itertools.chain([first], text), delimiter=delimiter, strict=True)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if bad := next((cell for n, cell in enumerate(header) if not cell or cell in header[:n]), None):
                raise InputError(f"{file}:1: column {bad!r} stands twice; rename one of them")
            if "" in header or not header:
                raise InputError(f"{file}:1: a column has no name; expected a first line with the names of the columns")
            line = reader.line_num + 1
            for cells in reader:
                record: Any = Cells(zip(header, cells, strict=False))
                if cells and len(cells) != len(header):
                    record = InputError(f"{file}:{line}: {len(cells)} cells; expected {len(header)}, one per column")
                if cells:
                    yield record, f"{file}:{line}", f"{name}:{line}"
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{file}:{reader.line_num}: not a table ({error}); quote cells that hold quotes"
            ) from error


def _arrow_rows(file: str, parquet: bool) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet or Arrow file, batch by batch."""
    needs_pyarrow(file, "a Parquet file" if parquet else "an Arrow file")
    import pyarrow
    import pyarrow.parquet

    try:
        if parquet:
            with pyarrow.parquet.ParquetFile(file) as opened:
                for batch in opened.iter_batches(batch_size=1024):
                    yield from map(Columns, batch.to_pylist())
            return
        with pyarrow.memory_map(file) as mapped:
            try:
                batches: Any = pyarrow.ipc.open_stream(mapped)
            except pyarrow.ArrowInvalid:
                table = pyarrow.ipc.open_file(mapped)
                batches = map(table.get_batch, range(table.num_record_batches))
            for batch in batches:
                yield from map(Columns, batch.to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"'{file}' is damaged ({str(error)[:100]}); fetch it again") from error


def content_of(path: str) -> Iterator[bytes]:
    """The bytes of all files that a path means; of several, each after its name and size."""
    files = files_of(path)
    common = os.path.commonpath(map(os.path.dirname, map(os.path.abspath, files)))
    for file in files:
        with existing_file(file).open("rb") as opened:
            if len(files) > 1:
                yield f"{os.path.relpath(file, common)}\0{os.path.getsize(file)}\0".encode()
            yield from iter(lambda: opened.read(1 << 20), b"")  # noqa: B023  (read before the next file)
