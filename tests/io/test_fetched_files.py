"""Files on an object store are fetched once and read as files of this machine, with the same problems and digests."""

import errno
import gzip
import json
import os
import pathlib
import subprocess
import sys
import time

import fsspec
import pytest
from fsspec.registry import _registry as registered

from mtjax import audit, convert, inspect, train
from mtjax.data.sources.error_detection import ErrorDetection
from mtjax.data.sources.jsonl import Files
from mtjax.data.sources.mined import Mined
from mtjax.data.sources.svamp import Svamp
from mtjax.errors import InputError, note
from mtjax.io import bucket
from mtjax.io.files import cache_folder
from tests.fake_store import new_store

LINES = [json.dumps({"question": f"{n} + 1 =", "answer": str(n + 1), "right": [str(n + 1)], "wrong": [str(n)]})
         for n in range(40)]  # fmt: skip
TEXT = "\n".join(LINES).encode()
TREE = {"part/a.jsonl": TEXT, "part/b.jsonl.gz": gzip.compress(TEXT[:500].rpartition(b"\n")[0]), "part/notes.md": b"?"}


@pytest.fixture
def store(monkeypatch, tmp_path):
    """An empty store, a cache folder of its own, and a process that has read nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(bucket, "_found", {})
    note.cache_clear()
    kind = new_store()
    monkeypatch.setitem(registered, "gs", kind)
    return kind


def put(store, files):
    for name, data in files.items():
        store().pipe(f"gs://b/{name}", data)


def another_process():
    bucket._found.clear()


def copies():
    return [path for path in (cache_folder() / "fetched").rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", ["part/a.jsonl", "part/b.jsonl.gz", "part", "part/", "part/*.jsonl*", "p*/a.jsonl"])
def test_an_address_is_what_a_local_path_is(store, tmp_path, path):
    put(store, TREE)
    for name, data in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    there, here = Files(f"gs://b/{path}"), Files(f"{tmp_path}/{path}")
    assert there.fingerprint() == here.fingerprint()
    found, expected = there.problems().items, here.problems().items
    assert [(one.id, one.question, one.right) for one in found] == [(o.id, o.question, o.right) for o in expected]
    assert len(found) >= 5
    assert all("/b/part/" in one.where for one in found)  # a message names a path that can be opened
    assert not any("notes" in name for name in store.fetched)


def test_it_is_fetched_once_until_it_changes_and_a_process_keeps_what_it_read(store, capfd):
    put(store, TREE)
    source = Files("gs://b/part/a.jsonl")
    before = source.fingerprint()
    assert len(source.problems().items) == 40
    another_process()
    assert source.fingerprint() == before
    assert len(store.fetched) == 1
    assert capfd.readouterr().err.count("note: gs://b/part/a.jsonl is fetched into") == 1
    put(store, {"part/a.jsonl": TEXT.replace(b"39 + 1", b"38 + 2")})  # of the same size
    assert source.fingerprint() == before
    another_process()
    assert source.fingerprint() != before
    assert len(store.fetched) == 2
    # The earlier version is deleted once it was not used for a day.
    assert len(copies()) == 2
    (used,) = {path.parents[2] for path in copies()} - {pathlib.Path(bucket._found[source.path][0])}
    os.utime(used, (time.time() - 90_000,) * 2)
    another_process()
    source.fingerprint()
    assert len(copies()) == 1


def test_a_copy_that_is_deleted_is_fetched_again_unless_the_file_is_another_now(store):
    put(store, TREE)
    source = Files("gs://b/part/a.jsonl")
    before = source.fingerprint()
    for path in copies():
        path.unlink()
        for folder in list(path.parents)[:3]:
            folder.rmdir()
    assert source.fingerprint() == before
    for path in copies():
        path.unlink()
        for folder in list(path.parents)[:3]:
            folder.rmdir()
    put(store, {"part/a.jsonl": TEXT + b"\n\n"})
    with pytest.raises(InputError, match="has changed since this process read it"):
        source.fingerprint()


KILLED = """
import os, pathlib, fsspec
from mtjax.io.bucket import local_copy
from tests.fake_store import new_store
store = new_store()
fsspec.register_implementation("gs", store, clobber=True)
store().pipe("gs://b/a.jsonl", b"1234")
def die(remote, local):
    pathlib.Path(local).write_bytes(b"12")
    os._exit(9)
store.fault = staticmethod(die)
local_copy("gs://b/a.jsonl")
"""


def test_a_killed_download_leaves_nothing_that_is_taken_for_a_copy(store):
    said = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60)
    assert said.returncode == 9, said.stderr
    assert [path.read_bytes() for path in copies()] == [b"12"]  # in a temporary folder
    put(store, {"a.jsonl": b"1234"})
    assert pathlib.Path(bucket.local_copy("gs://b/a.jsonl")).read_bytes() == b"1234"
    left = next(path for path in copies() if path.read_bytes() == b"12").parents[1]
    os.utime(left, (time.time() - 90_000,) * 2)
    another_process()
    put(store, {"a.jsonl": b"12345"})
    bucket.local_copy("gs://b/a.jsonl")
    assert not left.exists()


def test_a_file_that_changes_while_it_is_fetched_is_not_kept(store):
    put(store, TREE)
    store.fault = staticmethod(lambda *_: put(store, {"part/a.jsonl": TEXT[:-1]}))
    with pytest.raises(InputError, match="'gs://b/part/a.jsonl' changed while it was fetched; start again"):
        bucket.local_copy("gs://b/part/a.jsonl")
    assert not copies()


def raising(error):
    def fault(*_):
        raise error

    return staticmethod(fault)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (PermissionError("Access Denied"), "may not be read.*give this machine's account the right to read"),
        (OSError("Forbidden: https://storage/b"), "may not be read"),
        (RuntimeError("Anonymous caller, 401"), "may not be read"),
        (TimeoutError("no\nanswer"), r"cannot be fetched \(TimeoutError: no answer\); check the address"),
        (OSError(errno.ENOSPC, "No space left"), r"cannot be kept in .*cache.*No space left.*XDG_CACHE_HOME"),
    ],
)
def test_a_fault_of_the_store_or_the_disk_is_one_sentence_and_leaves_nothing(store, fault, says):
    put(store, TREE)
    store.fault = raising(fault)
    with pytest.raises(InputError, match=says):
        Files("gs://b/part/a.jsonl").fingerprint()
    assert not copies()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("gs://b/part/a.json", "nothing at 'gs://b/part/a.json'; check bucket and name: did you mean 'a.jsonl'"),
        ("gs://b/*/c.jsonl", "nothing at 'gs://b/.*/c.jsonl'; check bucket and name$"),
        ("gs://other/a.jsonl", "nothing at 'gs://other/a.jsonl'"),
        ("gs://", "'gs://' names no bucket; expected gs://BUCKET/FILE"),
        ("gs://b/empty", "'gs://b/empty' is a folder; expected a file in it, or a folder with files whose names end"),
        ("gs://b/split", "folder 'gs://b/split' holds files of the parts test, train; .*'gs://b/split/train"),
        ("gs://b/odd", "has no place in a folder; rename it"),
    ],
)
def test_what_is_not_there_or_cannot_be_told_is_refused(store, address, says):
    put(store, TREE | {"empty/x.md": b"?", "split/train.jsonl": TEXT, "split/test.jsonl": TEXT})
    store.store["/b/odd/../../x.jsonl"] = store.store["/b/part/a.jsonl"]
    with pytest.raises(InputError, match=says):
        Files(address).problems()


def test_a_reader_of_one_file_refuses_a_folder(store):
    put(store, TREE)
    with pytest.raises(InputError, match="'gs://b/part' is a folder; expected a file in it"):
        Svamp("gs://b/part").problems()


def test_a_missing_package_is_named_with_the_way_out(store, monkeypatch):
    monkeypatch.setattr(fsspec, "filesystem", lambda *_: (_ for _ in ()).throw(ImportError("install gcsfs")))
    for address, package, extra in (("gs://b/x.jsonl", "gcsfs", "gcs"), ("s3://b/x.jsonl", "s3fs", "s3")):
        with pytest.raises(InputError) as refused:
            Files(address).fingerprint()
        assert f"'{address}' needs the package '{package}': run pip install '.[{extra}]'" in str(refused.value)


def test_sources_that_look_for_files_find_them(store, tmp_path):
    put(store, {"mined/solutions.jsonl": Mined.example.encode(), "mined/manifest.json": b"{}"})
    put(store, {"s/SVAMP.json": Svamp.example.encode(), "part/a.jsonl": TEXT})
    (tmp_path / "solutions.jsonl").write_text(Mined.example)
    for path in ("gs://b/mined", "gs://b/mined/solutions.jsonl", "gs://b/mined/*.jsonl"):
        assert Mined(path).fingerprint() == Mined(str(tmp_path)).fingerprint()
        assert [problem.id for problem in Mined(path).problems().items] == ["a"]
    assert [problem.id for problem in Svamp("gs://b/s/SVAMP.json").problems().items] == ["chal-1"]
    assert len(ErrorDetection("gs://b/part/a.jsonl").problems().items) == 320


def test_commands_that_take_a_file_take_an_address(store, tmp_path, capsys):
    put(store, TREE)
    assert inspect.main(["gs://b/part/a.jsonl", "--model=arithmetic"]) == 0
    assert convert.main(["gs://b/part/a.jsonl", str(tmp_path / "out.jsonl"), "--to=solutions"]) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 40
    assert audit.main(["gs://b/part/a.jsonl", f"--output={tmp_path / 'audit'}", "--checks", "duplicates"]) in (0, 4)
    assert "40" in capsys.readouterr().out


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]


@pytest.mark.usefixtures("one_device")
def test_a_run_on_an_address_resumes_from_a_local_copy_of_the_file(store, tmp_path, capsys):
    put(store, TREE)
    (tmp_path / "a.jsonl").write_bytes(TEXT)
    small = ["configs/tiny.py", "--model.width=16", "--model.layers=1", "--batch_size=8", "held-out:none"]
    small += ["--no_tensorboard", "--no_self_check", "data.source:jsonl", "--data.source.split=all"]
    there, here = "--data.source.path=gs://b/part/a.jsonl", f"--data.source.path={tmp_path / 'a.jsonl'}"
    moved, whole = tmp_path / "moved", tmp_path / "whole"
    assert train.main([*small, there, f"--run_dir={moved}", "--steps=2"]) == 0
    assert train.main([*small, here, f"--run_dir={moved}", "--steps=3", "--accept_changed_data"]) == 0
    assert "trains on something else" not in capsys.readouterr().out
    assert train.main([*small, here, f"--run_dir={whole}", "--steps=3"]) == 0
    assert metrics(moved) == metrics(whole)
