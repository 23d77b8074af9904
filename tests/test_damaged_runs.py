"""A run whose files were changed or damaged goes on as the same run, or is refused in one line; never another run."""

import contextlib
import gc
import json
import shutil

import jax
import numpy as np
import pytest

from mtjax import train
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode, InputError
from mtjax.io.lock import LOCK, locked
from mtjax.runs.loading import load_any
from mtjax.training.checkpoint import METADATA, place_of, read_about
from mtjax.training.checksums import FILE, ITEM
from tests.devices import only_one_device

CONFIG = """
from mtjax.config import CheckpointConfig, Config, HeldOut
from mtjax.data.batches import DataConfig
from mtjax.data.sources import Jsonl
from mtjax.data.sources.mixture import Mixture
from mtjax.data.tasks import CompletionTask
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.nll import Nll
config = Config(
    model=DecoderConfig(width=16, layers=1, heads=1, kv_heads=1, head_dim=16, mlp_width=32, max_length=64),
    data=DataConfig(
        source=Mixture((Jsonl("{0}/a.jsonl"), Jsonl("{0}/b.jsonl"))), task=CompletionTask(), tokenizer="{0}/words",
        sequence_length=64, cache_dir="{0}/cache",
    ),
    held_out=HeldOut(source=Jsonl("{0}/held.jsonl"), every=2, batches=1),
    objective=Nll(), checkpoint=CheckpointConfig(every=2, keep=9), steps=4, batch_size=4, run_dir="{0}/run",
    tensorboard=False, self_check=False,
)
"""


def cached(folder):
    """The files of the cache of tokenised examples."""
    return [file for file in (folder / "cache").rglob("*") if file.is_file() and file.stat().st_size]


def lines(first, number):
    rows = ({"question": f"What is {n} + 1?", "right": [f"Answer: {n + 1}"]} for n in range(first, first + number))
    return "".join(json.dumps(row) + "\n" for row in rows)


def go_on(folder, *words):
    with only_one_device():
        return train.main([str(folder / "tiny.py"), "--steps=6", *words])


def metrics(folder):
    kept = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in kept]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder that stays where it is, with the run of four steps, a copy of it, and the metrics of all six steps."""
    folder = tmp_path_factory.mktemp("run") / "here"
    folder.mkdir()
    (folder / "tiny.py").write_text(CONFIG.replace("{0}", str(folder)))
    for name, first in (("a", 0), ("b", 100), ("held", 200)):
        (folder / f"{name}.jsonl").write_text(lines(first, 40))
    load_tokenizer("bytes").save(folder / "words")
    assert go_on(folder, "--steps=4") == 0
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    assert go_on(folder) == 0
    return folder, kept, metrics(folder)


@pytest.fixture
def run(trained):
    folder, kept, _ = trained
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    return folder


def flip(file, place=0.5, bit=3):
    text = bytearray(file.read_bytes())
    text[int(len(text) * place)] ^= 1 << bit
    file.write_bytes(bytes(text))


def newest(folder):
    return folder / "run" / "checkpoints" / "4"


def largest(folder):
    return max(
        (place for place in newest(folder).rglob("*") if place.is_file()), key=lambda place: place.stat().st_size
    )


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# Name: what happens to the folder, and the words of a refusal; None where the run goes on as it was.
DAMAGES = {
    "data: shorter": (lambda f: (f / "a.jsonl").write_text(lines(0, 30)), "part 1 of the mixture was 40 examples"),
    "data: another number": (lambda f: replace(f / "b.jsonl", "Answer: 103", "Answer: 104"), "data, part 2 of the mix"),
    "data: another order": (
        lambda f: (f / "a.jsonl").write_text(lines(20, 20) + lines(0, 20)),
        "data, part 1 of the mixture",
    ),
    "data: held out": (lambda f: (f / "held.jsonl").write_text(lines(210, 40)), "held-out data was 40 examples"),
    "data: gone": (lambda f: (f / "a.jsonl").unlink(), "a.jsonl"),
    "data: a bit": (lambda f: flip(f / "a.jsonl", 0.001, 0), "a.jsonl:1"),
    "data: a blank line": (lambda f: (f / "a.jsonl").write_text(lines(0, 40) + "\n"), None),
    "tokenizer: another end token": (
        lambda f: replace(f / "words" / "tokenizer_config.json", '"eos_token": "<|end|>"', '"eos_token": "<|bos|>"'),
        "tokenizer was",
    ),
    "tokenizer: another rule": (
        lambda f: replace(f / "words" / "tokenizer.json", '"add_prefix_space": false', '"add_prefix_space": true'),
        "tokenizer was",
    ),
    "tokenizer: gone": (lambda f: shutil.rmtree(f / "words"), None),
    "cache: nothing in it": (lambda f: [p.write_bytes(b"") for p in cached(f)], None),
    "cache: a bit": (lambda f: [flip(p, 0.3) for p in cached(f)], None),
    "cache: cut short": (lambda f: [p.write_bytes(p.read_bytes()[:200]) for p in cached(f)], None),
    "cache: garbled": (lambda f: [p.write_bytes(b"\xff" * 900) for p in cached(f)], None),
    "checkpoint: a bit of the numbers": (lambda f: flip(largest(f)), None),
    "checkpoint: another bit": (lambda f: flip(largest(f), 0.8, 6), None),
    "checkpoint: a bit of the description": (lambda f: flip(newest(f) / METADATA, 0.7), None),
    "checkpoint: description is empty": (lambda f: (newest(f) / METADATA).write_bytes(b""), None),
    "checkpoint: a bit of the checksums": (lambda f: flip(newest(f) / ITEM / FILE, 0.7), None),
    "checkpoint: checksums are empty": (lambda f: (newest(f) / ITEM / FILE).write_bytes(b""), None),
    "checkpoint: checksums are gone": (lambda f: shutil.rmtree(newest(f) / ITEM), None),
    "checkpoint: half-written": (lambda f: (newest(f) / "default" / "manifest.ocdbt").write_bytes(b""), None),
    "checkpoint: the one before in its place": (
        lambda f: shutil.copytree(newest(f).with_name("2"), shutil.rmtree(newest(f)) or newest(f)),
        None,
    ),
    "metrics: a line": (lambda f: flip(f / "run" / "metrics.jsonl", 0.05, 7), None),
    "metrics: cut short": (lambda f: (f / "run" / "metrics.jsonl").write_text(""), None),
    "config: empty": (lambda f: (f / "run" / "config.py").write_bytes(b""), None),
    "config: zeros": (lambda f: (f / "run" / "config.py").write_bytes(bytes(300)), None),
    "config: gone": (lambda f: (f / "run" / "config.py").unlink(), None),
    "config: gone in both forms": (
        lambda f: [(f / "run" / name).unlink() for name in ("config.py", "snapshot.json")],
        None,
    ),
    "config: a digit": (lambda f: replace(f / "run" / "config.py", "batch_size=4", "batch_size=5"), None),
    "shapes: empty": (lambda f: (f / "run" / "checkpoints" / "shapes.json").write_bytes(b""), None),
    "shapes: a bit": (lambda f: flip(f / "run" / "checkpoints" / "shapes.json", 0.5, 0), None),
    "made by: a bit": (lambda f: flip(f / "run" / "checkpoints" / "made_by.json", 0.5, 0), None),
    "left over: temporary files": (lambda f: (f / "run" / ".config.py.0123abcd.tmp").write_text("x"), None),
    "left over: a lock": (lambda f: (f / "run" / LOCK).write_text('{"pid": 1, "host": "gone"}'), None),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_the_same_run_or_one_line(name, trained, run, capsys):
    spoil, refusal = DAMAGES[name]
    spoil(run)
    before = {str(file): file.read_bytes() for file in (run / "run").rglob("*") if file.is_file()}
    code = go_on(run)
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    if name.startswith("metrics"):  # lines are lost, and that is all
        assert code == 0
        assert metrics(run) == trained[2][5 if "cut" in name else 1 :]
        assert ("no lines of steps 1 to 4" if "cut" in name else "damaged lines are left out (1)") in said.out
    elif refusal is None:
        assert code == 0, said.err
        assert metrics(run) == trained[2]
        assert not [place for place in (run / "run").iterdir() if place.name.startswith(".")]
    else:
        assert code == ExitCode.BAD_INPUT
        assert refusal in said.err
        assert len(said.err.strip().splitlines()) == 1
        assert {str(file): file.read_bytes() for file in (run / "run").rglob("*") if file.is_file()} == before


def test_a_bit_of_a_checkpoint_never_passes(trained, run):
    """The numbers that are read are those that were saved, or the checkpoint is refused."""
    sound, file = load_any(str(run / "run")).params, largest(run)
    for place in (step / 17 for step in range(17)):
        flip(file, place, bit := int(place * 100) % 8)
        with contextlib.suppress(InputError):
            jax.tree.map(np.testing.assert_array_equal, sound, load_any(str(run / "run"), step=4).params)
        flip(file, place, bit)
    gc.collect()  # an error that a read of Orbax left behind fails this test, not a later one
    jax.tree.map(np.testing.assert_array_equal, sound, load_any(str(run / "run"), step=4).params)


def test_changed_data_may_be_accepted_once_and_are_recorded(run, capsys):
    (run / "a.jsonl").write_text(lines(0, 30))
    assert go_on(run) == ExitCode.BAD_INPUT
    assert "pass --accept_changed_data to go on" in capsys.readouterr().err
    assert go_on(run, "--accept_changed_data") == 0
    changes = json.loads((run / "run" / "changes.json").read_text())
    assert [change["after_step"] for change in changes] == [4]
    was, now = changes[0]["changed"]["data, part 1 of the mixture"]
    assert (was[:11], now[:11]) == ("40 examples", "30 examples")
    assert read_about(place_of(run / "run" / "checkpoints"), 6)["changes"] == changes
    (run / "a.jsonl").write_text(lines(0, 40))
    assert go_on(run, "--steps=7") == ExitCode.BAD_INPUT  # each change is accepted by itself
    assert go_on(run, "--steps=7", "--accept_changed_data") == 0
    assert [change["after_step"] for change in json.loads((run / "run" / "changes.json").read_text())] == [4, 6]


def test_a_changed_tokenizer_is_refused_by_every_reader_of_a_run_that_keeps_none(run):
    before = load_any(str(run / "run")).tokenizer.end_ids
    replace(run / "words" / "tokenizer_config.json", '"eos_token": "<|end|>"', '"eos_token": "<|bos|>"')
    assert load_any(str(run / "run")).tokenizer.end_ids == before  # its own
    shutil.rmtree(run / "run" / "start")
    with pytest.raises(InputError, match="has changed since .*4 was trained with it.*--tokenizer"):
        load_any(str(run / "run"))
    assert load_any(str(run / "run"), tokenizer=str(run / "words")).step == 4


def test_a_run_folder_serves_one_trainer(run, capsys):
    before = {str(file): file.read_bytes() for file in (run / "run").rglob("*") if file.is_file()}
    with locked(run / "run", "--run_dir"):
        assert go_on(run) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert "another process is at work in" in said
    assert "pid" in said
    assert "since 20" in said
    assert "another --run_dir" in said
    assert {str(file): file.read_bytes() for file in (run / "run").rglob("*") if file.is_file()} == before
    assert go_on(run) == 0


def test_a_full_disk_under_the_metrics_is_code_7_and_finishes_the_checkpoint(run, monkeypatch, capsys):
    from mtjax.training.metrics_log import MetricsLog

    class Full:
        def __init__(self, file):
            self.file, self.lines = file, 0

        def write(self, text):
            self.lines += 1
            if self.lines == 3:
                raise OSError(28, "No space left on device")
            return self.file.write(text)

        def __getattr__(self, name):
            return getattr(self.file, name)

    make = MetricsLog.__init__

    def init(self, *args, **kwargs):
        make(self, *args, **kwargs)
        self.file = Full(self.file)

    monkeypatch.setattr(MetricsLog, "__init__", init)
    assert go_on(run, "--steps=7") == ExitCode.STORAGE
    said = capsys.readouterr().err
    assert "metrics cannot be written in" in said
    assert len(said.strip().splitlines()) == 1
    assert (run / "run" / "checkpoints" / "6").is_dir()
