"""Checkpoints and data in a bucket: runs against a stand-in server, by the real clients (gcsfs, Orbax, tensorstore).

Needs gcsfs (`pip install '.[gcs]'`), or a folder that has it in MTJAX_GCSFS.
"""

import gzip
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from mtjax.errors import ExitCode
from tests.devices import ONE_DEVICE
from tests.distributed.start import Hosts
from tests.training.bucket import serve

SMALL = ["configs/tiny.py", "--model.width=16", "--model.layers=1", "--data.source.count=40", "--batch_size=8"]
SMALL += ["held-out:none", "--no_tensorboard", "--no_self_check", "--checkpoint.every=2", "--checkpoint.keep=2"]
ELSEWHERE = os.environ.get("MTJAX_GCSFS", "")
HAS = bool(ELSEWHERE) or importlib.util.find_spec("gcsfs") is not None
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS, reason="gcsfs is not installed: pip install '.[gcs]'")]


LINES = [f'{{"question": "{n} + 1 =", "right": ["{n + 1}"], "wrong": ["{n}"]}}\n' for n in range(40)]
FIRST, SECOND = "".join(LINES[:30]).encode(), gzip.compress("".join(LINES[30:]).encode(), mtime=0)


def clients(address):
    """The environment in which Google's clients find the server at `address`."""
    found = {"STORAGE_EMULATOR_HOST": address, "TENSORSTORE_GCS_HTTP_URL": address, "NO_PROXY": "*"}
    found |= {"GOOGLE_AUTH_TOKEN_FOR_TESTING": "none", "PYTHONPATH": os.pathsep.join(filter(None, (".", ELSEWHERE)))}
    return found | {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}  # gcsfs asks another service for a bucket's kind


def python(address, *words, **environment):
    """Python in a process of its own with one device, whose Google clients find the server at `address`."""
    found, command = os.environ | ONE_DEVICE | clients(address) | environment, [sys.executable, *words]
    return subprocess.run(command, env=found, capture_output=True, text=True, timeout=300)


def train(address, *words):
    """A run on generated arithmetic."""
    return python(address, "-m", "mtjax.train", *SMALL, *words)


def metrics(folder):
    lines = [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: {k: v for k, v in line.items() if not k.startswith("time/")} for line in lines}


def test_a_run_resumes_from_a_bucket_on_a_new_machine_bit_for_bit(tmp_path):
    with serve() as (bucket, address):
        words = ["--checkpoint.folder=gs://bucket/run"]
        said = train(address, *words, "--steps=4", f"--run_dir={tmp_path / 'first'}")
        assert said.returncode == ExitCode.DONE, said.stderr[-2000:]
        assert {name.split("/")[2] for name in bucket.objects if name.startswith("run/checkpoints/")} >= {"2", "4"}
        assert not any(".tmp" in name for name in bucket.objects)
        shutil.rmtree(tmp_path / "first")  # the machine is gone
        said = train(address, *words, "--steps=6", f"--run_dir={tmp_path / 'first'}")
        assert said.returncode == ExitCode.DONE, said.stderr[-2000:]
        assert "steps 5 to 6" in said.stdout
        assert "run/checkpoints/2/_CHECKPOINT_METADATA" not in bucket.objects  # keep=2
        # Damaged bytes are found by the checksum, and the checkpoint before is used.
        arrays = [name for name in bucket.objects if name.startswith("run/checkpoints/6/default/")]
        name = max(arrays, key=lambda name: len(bucket.objects[name][1]))
        data = bytearray(bucket.objects[name][1])
        data[len(data) // 2] ^= 1
        bucket.put(name, bytes(data))
        said = train(address, *words, "--steps=8", f"--run_dir={tmp_path / 'first'}")
        assert said.returncode == ExitCode.DONE, said.stderr[-2000:]
        assert "steps 5 to 8" in said.stdout, said.stdout + said.stderr
    said = train("", "--steps=8", f"--run_dir={tmp_path / 'local'}")
    assert said.returncode == ExitCode.DONE, said.stderr[-2000:]
    assert metrics(tmp_path / "first") == metrics(tmp_path / "local")


def test_a_bucket_that_does_not_answer_is_one_line(tmp_path):
    said = train(
        "http://127.0.0.1:9", "--checkpoint.folder=gs://bucket/run", "--steps=2", f"--run_dir={tmp_path / 'run'}"
    )
    assert said.returncode in (ExitCode.BAD_INPUT, ExitCode.STORAGE), said.stderr[-2000:]
    assert "error: " in said.stderr
    assert said.stderr.splitlines()[-1].startswith("error: ")  # the client logs in words of its own before


def test_a_run_on_data_in_a_bucket_goes_on_with_local_files(tmp_path):
    small = [word for word in SMALL if "count" not in word] + ["data.source:files", "--data.source.split=all"]
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_bytes(FIRST)
    (tmp_path / "data" / "b.jsonl.gz").write_bytes(SECOND)
    there, here = "--data.source.path=gs://bucket/data", f"--data.source.path={tmp_path / 'data'}"

    def run(address, path, name, steps):
        words = [*small, path, f"--steps={steps}", f"--run_dir={tmp_path / name}", "--accept_changed_data"]
        said = python(address, "-m", "mtjax.train", *words, **cache)
        assert said.returncode == ExitCode.DONE, said.stderr[-2000:]
        return said

    with serve() as (bucket, address):
        bucket.put("data/a.jsonl", FIRST)
        bucket.put("data/b.jsonl.gz", SECOND)
        bucket.put("data/notes.md", b"?")
        assert "gs://bucket/data is fetched" in run(address, there, "moved", 2).stderr
        assert "is fetched" not in run(address, there, "moved", 3).stderr
        media = [name for method, name in bucket.asked if method == "GET" and name.endswith((".jsonl", ".gz", ".md"))]
        assert any(name.endswith("a.jsonl") for name in media)
        assert not any(name.endswith("notes.md") for name in media)
    assert "trains on something else" not in run("", here, "moved", 4).stdout
    run("", here, "whole", 4)
    assert metrics(tmp_path / "moved") == metrics(tmp_path / "whole")


def sums(text):
    """Checksums of parameters and optimizer state by leaf, which a checkpoint keeps."""
    found = json.loads(text)
    assert len(found) > 20
    return found


@pytest.mark.parametrize("victim", [0, 1])
def test_two_hosts_that_share_a_bucket_alone_go_on_after_one_was_killed(victim, tmp_path):
    """In the middle of a save. Data and checkpoints are in the bucket; the hosts have no file in common."""
    small = [word for word in SMALL[1:] if "count" not in word]
    words = ["-m", "mtjax.train", str(pathlib.Path(SMALL[0]).resolve()), *small, "--mesh.data=2", "--mesh.fsdp=2"]
    words += ["data.source:files", "--data.source.split=all", "--steps=8", "--run_dir=run"]
    with serve() as (bucket, address):
        bucket.put("data/a.jsonl", FIRST)
        bucket.put("data/b.jsonl.gz", SECOND)
        there = [*words, "--data.source.path=gs://bucket/data", "--checkpoint.folder=gs://bucket/run"]
        settings = {"devices": 2, "apart": tmp_path / "cloud", **clients(address)}
        put, two = bucket.put, Hosts(there, **settings)

        def dying(name, data):
            if name.startswith("run/checkpoints/6"):
                two.processes[victim].kill()
            return put(name, data)

        bucket.put = dying
        assert two.codes() == {victim: -9, 1 - victim: ExitCode.HOST_LOST}, two.texts
        assert f"error: host {victim} (" in two.texts[1 - victim]
        bucket.put = put
        assert any(name.startswith("run/checkpoints/6") for name in bucket.objects)
        # The machine of the host that died is another one now.
        shutil.rmtree(tmp_path / "cloud" / f"host-{victim}")
        two = Hosts(there, **settings)
        assert two.codes() == {0: 0, 1: 0}, two.texts
        assert "steps 5 to 8" in two.texts[0], two.texts
        ours = sums(bucket.objects["run/checkpoints/8/checksums/checksums.json"][1])
        logged = sorted(
            int(line["step"]) for line in map(json.loads, bucket.objects["run/metrics.jsonl"][1].splitlines())
        )
        assert logged == list(range(1, 9))  # as they were on the machine that is lost
    assert not (tmp_path / "cloud" / "host-1" / "run").exists()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_bytes(FIRST)
    (tmp_path / "data" / "b.jsonl.gz").write_bytes(SECOND)
    two = Hosts([*words[:-1], f"--data.source.path={tmp_path / 'data'}", f"--run_dir={tmp_path / 'run'}"], devices=2)
    assert two.codes() == {0: 0, 1: 0}, two.texts
    assert ours == sums((tmp_path / "run" / "checkpoints" / "8" / "checksums" / "checksums.json").read_text())
    whole, resumed = metrics(tmp_path / "run"), metrics(tmp_path / "cloud" / "host-0" / "run")
    assert resumed == whole


READ = """
import sys
from mtjax.data.sources.jsonl import Files
from mtjax.errors import InputError
for path in sys.argv[1:]:
    try:
        print(len(Files(path).problems().items))
    except InputError as error:
        print(error)
"""


def test_files_patterns_and_what_cannot_be_read(tmp_path):
    with serve() as (bucket, address):
        bucket.put("data/a.jsonl", FIRST)
        bucket.put("data/b.jsonl.gz", SECOND)
        bucket.put("data/secret.jsonl", FIRST)
        bucket.forbidden.add("data/secret.jsonl")
        names = ["data/a.jsonl", "data/[ab].jsonl*", "data/c.jsonl", "other/*.jsonl", "data/secret.jsonl"]
        paths = [f"gs://bucket/{name}" for name in names]
        said = python(address, "-c", READ, *paths, XDG_CACHE_HOME=str(tmp_path / "cache"))
    found = said.stdout.splitlines()
    assert found[:2] == ["30", "40"], said.stdout + said.stderr
    assert "nothing at 'gs://bucket/data/c.jsonl'; check bucket and name: did you mean 'a.jsonl'?" in found[2]
    assert found[3] == "nothing at 'gs://bucket/other/*.jsonl'; check bucket and name"
    assert "'gs://bucket/data/secret.jsonl' may not be read" in found[4]
    assert len(found) == 5
