"""Arrays of examples in files: written piece by piece, and read where a batch needs them.

A folder holds one raw file per array and `manifest.json`, which says their types and lengths. Several folders, as of a
mixture, look like one array after the other.
"""

import bisect
import json
import os
import pathlib
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, cast

import numpy as np

MANIFEST = "manifest.json"
BLOCK = 1 << 20  # Numbers of one block where an array is read from its start to its end.
CHECKED_BYTES = 1 << 28  # Folders up to this size are read through and compared with their checksums when opened.

Column = Any
"""A `np.ndarray`, `OnDisk` or `Joined`: has `len`, `dtype`, `shape`, and `[]` for a number, a slice or an array."""


class LazyArray:
    """What `OnDisk` and `Joined` share: a length, and the entire array where NumPy asks for one."""

    shape: tuple[int]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError


class OnDisk(LazyArray):
    """An array in a file, which is open: what is asked for is read and nothing is kept, so memory does not grow.

    Mapping the file would let the kernel count up to 2 MiB for each example that is read, and is slower.
    """

    def __init__(self, file: pathlib.Path, dtype: str, size: int):
        self.dtype, self.shape, self.file = np.dtype(dtype), (size,), file
        self.opened = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self.opened)
        if (found := os.fstat(self.opened).st_size) != size * self.dtype.itemsize:
            raise ValueError(f"{file.name} has {found} bytes, expected {size * self.dtype.itemsize}")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer):
            place = range(len(self))[key]
            return self[place : place + 1][0]
        if isinstance(key, slice):
            places = range(len(self))[key]
            if places.step != 1:
                return self[np.arange(len(self))[key]]
            out = np.empty(len(places), self.dtype)
            self._read(_bytes_of(out), places.start * self.dtype.itemsize)
            return out
        key = np.asarray(key, np.int64)
        if len(key) and not 0 <= key.min() <= key.max() < len(self):
            raise IndexError(f"{self.file.name}: places {key.min()} to {key.max()}; expected 0 to {len(self) - 1}")
        out = np.empty(len(key), self.dtype)
        view = _bytes_of(out)
        # Examples are stretches of numbers: each is read at once.
        starts = np.concatenate([[0], np.flatnonzero(np.diff(key) != 1) + 1]) if len(key) else np.zeros(0, np.int64)
        ends = [*(starts[1:] * self.dtype.itemsize).tolist(), out.nbytes]
        places = (key[starts] * self.dtype.itemsize).tolist()
        for start, end, place in zip((starts * self.dtype.itemsize).tolist(), ends, places, strict=False):
            self._read(view[start:end], place)
        return out

    def _read(self, into: memoryview, place: int) -> None:
        """Read bytes from a place of the file on."""
        while size := len(into):
            if not (done := os.preadv(self.opened, [into], place)):
                raise ValueError(f"{self.file} was cut off while it was read; start again")
            into, place, size = into[done:], place + done, size - done


def _bytes_of(values: np.ndarray) -> memoryview:
    return memoryview(cast(Any, values)).cast("B") if values.size else memoryview(b"")


class Joined(LazyArray):
    """Arrays one after the other, each with a number added to all of its values."""

    def __init__(self, parts: Sequence[Column], add: Sequence[int] | None = None, sizes: Sequence[int] | None = None):
        self.parts, self.add = parts, add or [0] * len(parts)
        self.sizes = [len(part) for part in parts] if sizes is None else list(sizes)
        self.first = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)
        self.dtype, self.shape = np.result_type(*(part.dtype for part in parts)), (int(self.first[-1]),)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer):
            place = range(len(self))[key]
            part = bisect.bisect_right(self.first.tolist(), place) - 1
            return self.parts[part][place - int(self.first[part])] + self.dtype.type(self.add[part])
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return np.concatenate([np.zeros(0, self.dtype), *self._stretches(start, max(start, stop))])
            key = np.arange(start, stop, step)
        out = np.empty(len(key), self.dtype)
        owner = np.searchsorted(self.first, key, side="right") - 1
        for part in np.unique(owner).tolist():
            here = owner == part
            out[here] = self.parts[part][key[here] - self.first[part]] + self.dtype.type(self.add[part])
        return out

    def _stretches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for part, add, first, size in zip(self.parts, self.add, self.first.tolist(), self.sizes, strict=False):
            low, high = max(start - first, 0), min(stop - first, size)
            if low < high:
                yield (part[low:high] + self.dtype.type(add)).astype(self.dtype)


def blocks(column: Column) -> Iterator[np.ndarray]:
    """An array in blocks, from its start to its end."""
    for start in range(0, len(column), BLOCK):
        yield np.ascontiguousarray(column[start : start + BLOCK])


class Names(Sequence[str]):
    """Texts that lie one after the other in an array of bytes (UTF-8), as `text[ends[n - 1]:ends[n]]`."""

    def __init__(self, text: Column, ends: Column):
        self.text, self.ends = text, ends

    @classmethod
    def of(cls, names: Sequence[str]) -> "Names":
        """The names of a list."""
        if isinstance(names, Names):
            return names
        parts = [name.encode("utf-8", "surrogatepass") for name in names]
        return cls(np.frombuffer(b"".join(parts), np.uint8), np.cumsum([len(part) for part in parts], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self[number] for number in range(len(self))[key]]
        number = range(len(self))[key]
        start = int(self.ends[number - 1]) if number else 0
        return self.text[start : int(self.ends[number])].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        start = 0
        for ends in blocks(self.ends):
            text = self.text[start : int(ends[-1])].tobytes()
            places = [0, *(ends - start).tolist()]
            yield from (text[a:b].decode("utf-8", "surrogatepass") for a, b in zip(places, places[1:], strict=False))
            start = int(ends[-1])


class Writer:
    """Arrays that grow at their ends: in files of a folder, or in memory without one."""

    def __init__(self, folder: pathlib.Path | None = None):
        self.folder = folder
        self.files: dict[str, IO[bytes]] = {}
        self.kept: dict[str, list[np.ndarray]] = {}
        self.types: dict[str, np.dtype] = {}
        self.sizes: dict[str, int] = {}
        self.checks: dict[str, int] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """Append values to an array, which begins with its first ones."""
        values = np.ascontiguousarray(values)
        if name not in self.types:
            self.types[name], self.sizes[name], self.checks[name] = values.dtype, 0, 0
            if self.folder is None:
                self.kept[name] = []
            else:
                self.files[name] = (self.folder / f"{name}.raw").open("wb")
        values = values.astype(self.types[name], copy=False)
        self.sizes[name] += len(values)
        if self.folder is None:
            self.kept[name].append(values)
        else:
            self.checks[name] = zlib.crc32(values.data, self.checks[name])
            self.files[name].write(values.data)

    def fill(self, name: str, size: int, dtype: Any) -> None:
        """Append zeros until an array has this size."""
        while (missing := size - self.sizes.get(name, 0)) > 0 or name not in self.sizes:
            self.add(name, np.zeros(min(missing, BLOCK), dtype))

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()

    def columns(self) -> dict[str, Column]:
        """The arrays as they are now; they take nothing more."""
        if self.folder is None:
            return {name: np.concatenate(parts) for name, parts in self.kept.items()}
        self.close()
        return {
            name: OnDisk(self.folder / f"{name}.raw", self.types[name].str, self.sizes[name]) for name in self.types
        }

    def manifest(self) -> dict[str, Any]:
        """What `open_columns` needs to know of the files."""
        return {
            name: {"dtype": self.types[name].str, "size": self.sizes[name], "crc32": self.checks[name]}
            for name in self.types
        }


def write_manifest(folder: pathlib.Path, columns: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write what a folder of arrays holds, with a checksum of its own."""
    text = json.dumps({"columns": columns, "about": about})
    (folder / MANIFEST).write_text(json.dumps({"crc32": zlib.crc32(text.encode()), "text": text}), encoding="utf-8")


def open_columns(folder: pathlib.Path) -> tuple[dict[str, Column], dict[str, Any]]:
    """The arrays of a folder, and what its manifest says of them.

    The sizes of all files are compared; in folders of up to 256 MiB their checksums too, which takes a fraction of a
    second. Raises ValueError, OSError, KeyError or TypeError for a folder that is damaged or missing.
    """
    outer = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    text = outer["text"]
    if zlib.crc32(text.encode()) != outer["crc32"]:
        raise ValueError("the manifest has another checksum")
    manifest: dict[str, Any] = json.loads(text)
    columns, total = {}, 0
    for name, about in manifest["columns"].items():
        columns[name] = OnDisk(folder / f"{name}.raw", about["dtype"], about["size"])
        total += (folder / f"{name}.raw").stat().st_size
    for name, column in columns.items() if total <= CHECKED_BYTES else ():
        found = 0
        for block in blocks(column):
            found = zlib.crc32(block.data, found)
        if found != manifest["columns"][name]["crc32"]:
            raise ValueError(f"{name}.raw has another checksum")
    return columns, manifest["about"]
