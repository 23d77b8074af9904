"""The first pass over data: the same for any number of processes, and safe against kills and a second run."""

import json
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading

import pytest

import mtjax.data.workers as workers
from mtjax.data.arrays import content_digest
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.index import build_index
from mtjax.data.pieces import Fit
from mtjax.data.sources import InMemory, Jsonl
from mtjax.data.sources.gsm8k import Gsm8k
from mtjax.data.tasks import CompletionTask, PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

BYTES = load_tokenizer("bytes")
FIT = Fit(64, "drop", "split")


class InThread:
    """In place of a process: a thread on the same pipe, which stops after some pieces as if it was killed."""

    pieces = 1 << 30

    def __init__(self, file):
        self.pipe, self.left = multiprocessing.connection.Connection(os.dup(file)), InThread.pieces
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        try:
            workers.answer(self)
        except (EOFError, OSError):
            self.pipe.close()

    def recv(self):
        self.left -= 1
        if self.left < 0:
            raise EOFError
        return self.pipe.recv()

    def recv_bytes(self):
        return self.pipe.recv_bytes()

    def send(self, value):
        self.pipe.send(value)

    def kill(self):
        pass

    def wait(self):
        return -9


@pytest.fixture
def small(monkeypatch):
    """Pieces of 4 records, of which the first is made alone, and threads in place of processes."""
    monkeypatch.setattr(workers, "ALONE", 1)
    monkeypatch.setattr("mtjax.data.pieces.PIECE", 4)
    monkeypatch.setattr(workers, "_start", InThread)


def lines(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return Jsonl(str(path))


def rows(count, **more):
    return [{"prompt": f"q{n}", "completion": "a" * (n % 7 + 1), **more} for n in range(count)]


def made(source, processes, task=None, on_error="raise"):
    """All that an index says, or the error in its place."""
    try:
        index = build_index(source, on_error, task or CompletionTask(), BYTES, FIT, None, processes)
    except InputError as error:
        return str(error)
    return content_digest(index), index.counts, index.notes, index.needed.tolist(), index.targets, index.ids


BAD = "{not json"
PAIRS = [{"prompt": f"p{n}", "chosen": "a" * (n % 3 + 1), "rejected": "bb"} for n in range(9)]
KTO, WITHOUT_LABEL = {"prompt": "q", "completion": "a", "label": True}, {"prompt": "q", "completion": "b"}
GRADED = [{"question": f"q{n}", "right": ["a"], "success_rate": 0.5} for n in range(9)]


@pytest.mark.parametrize(
    ("records", "on_error", "task"),
    [
        (rows(50), "raise", None),
        (rows(21, extra=1) + rows(3, id="x") + [{"prompt": "", "completion": "b"}], "raise", None),  # with notes
        (rows(11) + [BAD] + rows(30, another=2) + [BAD], "skip", None),
        (rows(11) + [BAD] + rows(30), "raise", None),
        (rows(30) + [{"prompt": "q", "completion": "<|end|> x" * 99}], "raise", None),  # a special token; too long
        ([KTO] * 9 + [WITHOUT_LABEL] * 9 + [KTO] * 9, "raise", None),  # of one format, but for a missing key
        ([KTO] * 9 + [WITHOUT_LABEL] * 9 + [KTO] * 9, "skip", None),
        (rows(13) + GRADED + rows(5), "raise", CompletionTask(steps=True)),  # numbers that not every record has
        (PAIRS + rows(14), "raise", PairTask()),
        (rows(40) + [{"prompt": 3, "completion": "b"}], "raise", None),
    ],
)
def test_any_number_of_processes_gives_the_same(tmp_path, small, records, on_error, task):
    source = lines(tmp_path / "a.jsonl", records)
    alone = made(source, 1, task, on_error)
    assert made(source, 2, task, on_error) == alone
    assert made(source, 5, task, on_error) == alone


def test_pieces_do_not_decide_what_is_made(tmp_path, small, monkeypatch):
    source = lines(tmp_path / "a.jsonl", rows(21, extra=1) + rows(3, id="x") + PAIRS)
    few = made(source, 1)
    monkeypatch.setattr("mtjax.data.pieces.PIECE", 1000)
    assert made(source, 1) == few


def test_sources_that_do_not_read_lines(tmp_path, small):
    (tmp_path / "g.jsonl").write_text(
        "".join(json.dumps({"question": f"{n}?", "answer": f"#### {n}"}) + "\n" for n in range(30))
    )
    memory = InMemory(tuple(rows(30)))
    for source in (Gsm8k(str(tmp_path / "g.jsonl")), memory):
        assert made(source, 3) == made(source, 1)


def test_a_process_that_dies_is_done_without(tmp_path, small, monkeypatch, capsys):
    source = lines(tmp_path / "a.jsonl", rows(80))
    alone = made(source, 1)
    monkeypatch.setattr(InThread, "pieces", 2)
    assert made(source, 3) == alone
    assert "a process that tokenises ended with status -9; the others go on" in capsys.readouterr().out


def test_what_no_other_process_can_read_is_made_here(tmp_path, small, capsys):
    class Own(CompletionTask):
        name = "own"

    source = lines(tmp_path / "a.jsonl", rows(30))
    assert made(source, 3, Own()) == made(source, 1, Own())
    assert "one process tokenises: the data cannot be sent to other processes" in capsys.readouterr().out
    changed = BYTES._replace(decode=lambda ids: BYTES.decode(ids))
    one, three = (build_index(source, "raise", CompletionTask(), changed, FIT, None, n) for n in (1, 3))
    assert content_digest(one) == content_digest(three)
    assert "the tokenizer has functions of its own" in capsys.readouterr().out


def test_batches_do_not_depend_on_processes(tmp_path, small):
    source = lines(tmp_path / "a.jsonl", rows(60))
    settings = {"source": source, "task": CompletionTask(), "sequence_length": 24}
    one, three = (
        make_batches(DataConfig(**settings, cache_dir=str(tmp_path / str(n)), workers=n), BYTES, batch_size=4, seed=0)
        for n in (1, 3)
    )
    assert (one.made_of, one.report) == (three.made_of, three.report)
    assert one.ids_at(7) == three.ids_at(7)


IN_FORKS = """
import os, signal, sys, time
import mtjax.data.cache as cache, mtjax.data.index as index, mtjax.data.pieces as pieces
from tests.data.test_first_pass import BYTES, FIT, Jsonl, CompletionTask, build_index, content_digest

folder, file = sys.argv[1:]
pieces.PIECE = 8
build = lambda into: build_index(Jsonl(file), 'raise', CompletionTask(), BYTES, FIT, into)
expected = content_digest(build(None))
die = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)

def fork(change):
    if not (child := os.fork()):
        try:
            change()
            assert content_digest(build(folder)) == expected
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    return child

def after(times, target, name):
    def change():
        found, left = getattr(target, name), iter(range(times))
        def call(*args, **more):
            return found(*args, **more) if next(left, None) is not None else die()
        setattr(target, name, call)
    return change

moments = [
    after(0, index, '_write'), after(3, index, '_write'),  # before and between pieces
    after(0, index, 'content_digest'), after(0, cache, 'write_manifest'), after(1, cache.os, 'fsync'),
    after(0, cache.pathlib.Path, 'rename'),
]
for moment in moments:
    assert os.waitpid(fork(moment), 0)[1] == signal.SIGKILL
    assert not [name for name in os.listdir(folder) if not name.endswith('.work')], os.listdir(folder)

def counted(build=index._build):
    def call(*args):
        open(file + '.built', 'a').write('x')
        time.sleep(.2)
        return build(*args)
    index._build = call

pair = [fork(counted), fork(counted)]
assert [os.waitpid(child, 0)[1] for child in pair] == [0, 0]
assert open(file + '.built').read() == 'x'
assert len(os.listdir(folder)) == 1
print('done')
"""


def test_kills_at_any_moment_and_two_at_once(tmp_path):
    source = lines(tmp_path / "a.jsonl", rows(30))
    code = [sys.executable, "-c", IN_FORKS, str(tmp_path / "cache"), source.path]
    done = subprocess.run(
        code, env=os.environ | {"PYTHONPATH": ".", "TOKENIZERS_PARALLELISM": "false"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr


@pytest.mark.slow
def test_real_processes_give_the_same_and_end_with_their_parent(tmp_path):
    source = lines(tmp_path / "a.jsonl", rows(40_000))
    assert made(source, 3) == made(source, 1)
    code = (
        "import os, signal, sys, mtjax.data.workers as w; from tests.data import test_first_pass as t\n"
        "map_ = w._Pool.map\n"
        "def map(self, pieces):\n"
        "    print(*(one.pid for one in self.processes.values()), flush=True)\n"
        "    next(map_(self, pieces)); os.kill(os.getpid(), signal.SIGKILL)\n"
        "w._Pool.map = map\n"
        "t.build_index(t.Jsonl(sys.argv[1]), 'raise', t.CompletionTask(), t.BYTES, t.FIT, None, 2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, source.path],
        env=os.environ | {"PYTHONPATH": "."},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL
    for pid in map(int, done.stdout.splitlines()[-1].split()):
        for _ in range(100):
            if not os.path.exists(f"/proc/{pid}"):
                break
            threading.Event().wait(0.1)
        assert not os.path.exists(f"/proc/{pid}")
