"""Data that are larger than memory: batches of texts, mapped arrays, the cache, reading ahead, and mixtures."""

import dataclasses
import json
import os
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.ahead import Ahead, read_ahead
from mtjax.data.arrays import content_digest, join_indices
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.cache import DataCache
from mtjax.data.example_batch import make_examples
from mtjax.data.examples import make_example
from mtjax.data.index import Fit, build_index
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory, Jsonl, Mixture
from mtjax.data.special_tokens import shield
from mtjax.data.stored import Joined, Names, OnDisk
from mtjax.data.tasks import CompletionTask
from mtjax.data.tasks.base import Rendered, Span
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.io.file_digest import remembered

BYTES = load_tokenizer("bytes")


def write(path, count=40):
    rows = ({"prompt": f"q{n}", "completion": "a" * (n % 7 + 1)} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def data(source, **changes):
    return DataConfig(source=source, task=CompletionTask(), **({"sequence_length": 24, "max_segments": 3} | changes))


def equal(one, two):
    return all(
        np.array_equal(a, b) and a.dtype == b.dtype
        for a, b in zip((one.tokens, one.weights, one.segments), (two.tokens, two.weights, two.segments), strict=True)
    ) and all(np.array_equal(one.extras[name], two.extras[name]) for name in one.extras)


PIECES = st.lists(st.sampled_from(["a", "b ", " ", "\n", "é", "漢", "12", "<|end|>", "the ", "😀"]), max_size=8)


@pytest.mark.parametrize("boundary", ["split", "raise", "allow"])
@given(st.lists(st.tuples(PIECES, PIECES, st.booleans(), st.floats(-1, 1)), min_size=2, max_size=6))
def test_texts_in_a_batch_are_the_examples_of_each_alone(boundary, texts):
    rendered = []
    for number, (prompt, answer, shields, weight) in enumerate(texts):
        one, two = ("".join(part) for part in (prompt, answer))
        one, two = (shield(part, BYTES.special) if shields else part for part in (one, two))
        span, steps = Span(len(one), len(one + two), weight), (len(one),) if shields else None
        rendered.append(Rendered(f"r/{number}", one + two, (span,), len(one), shields, {"polarity": 1.0}, steps, 1))
    made = make_examples(rendered, [f"p{n}" for n in range(len(texts))], BYTES, boundary=boundary)
    for number, one in enumerate(rendered):
        alone = make_example(one, f"p{number}", BYTES, boundary=boundary)
        for name, expected, found in zip(alone._fields, alone, made[number], strict=True):
            if name == "per_token":
                expected, found = ({k: v.tolist() for k, v in x.items()} for x in (expected, found))
            assert np.array_equal(expected, found) if isinstance(expected, np.ndarray) else expected == found, name


def test_joined_arrays_read_like_one(tmp_path):
    (tmp_path / "a.raw").write_bytes(np.arange(5, dtype=np.int64).tobytes())
    joined = Joined([OnDisk(tmp_path / "a.raw", "<i8", 5), np.arange(3)], add=[0, 100], sizes=[4, 3])
    whole = np.array([0, 1, 2, 3, 100, 101, 102])
    assert np.array_equal(np.asarray(joined), whole)
    assert np.array_equal(joined[2:6], whole[2:6])
    assert np.array_equal(joined[np.array([6, 0, 4, 3])], [102, 0, 100, 3])
    assert (joined[5], joined[-1], len(joined)) == (101, 102, 7)


def test_an_array_on_disk_reads_like_one_in_memory(tmp_path):
    whole = np.arange(100, dtype=np.int32) * 3
    (tmp_path / "a.raw").write_bytes(whole.tobytes())
    found = OnDisk(tmp_path / "a.raw", "<i4", 100)
    places = np.array([7, 8, 9, 3, 3, 99, 0, 1])
    for key in (places, places[:0], slice(5, 9), slice(9, 5), slice(None), slice(90, 3, -4)):
        assert np.array_equal(found[key], whole[key])
    assert (found[4], found[-1], found[places].dtype) == (12, 297, np.int32)
    for key in (100, np.array([3, 100]), np.array([-1])):
        with pytest.raises(IndexError):
            found[key]
    os.truncate(tmp_path / "a.raw", 200)
    with pytest.raises(ValueError, match=r"a\.raw was cut off while it was read"):
        found[:]


def test_names_are_any_texts():
    names = ["a", "", "é漢", "\ud800 alone"]
    kept = Names.of(names)
    assert list(kept) == names
    assert (kept[2], kept[-1], kept[1:3], len(kept)) == ("é漢", "\ud800 alone", ["", "é漢"], 4)


def test_batches_from_the_cache_are_those_from_memory(tmp_path):
    one, two = (Jsonl(str(write(tmp_path / name, count))) for name, count in (("a.jsonl", 40), ("b.jsonl", 9)))
    for source in (one, Mixture((one, two), (0.7, 0.3)), Mixture((one, InMemory((Problem("m", "q", right=("a",)),))))):
        held = make_batches(data(source, cache_dir=None), BYTES, batch_size=4, seed=3)
        for _ in range(2):  # the first pass, and a second start
            kept = make_batches(data(source, cache_dir=str(tmp_path / "cache")), BYTES, batch_size=4, seed=3)
            assert all(equal(kept.batch_at(step), held.batch_at(step)) for step in (0, 7, 2))
            assert (kept.report, kept.made_of, kept.ids_at(5)) == (held.report, held.made_of, held.ids_at(5))
            assert kept.seen_at(9) == held.seen_at(9)


def test_rows_are_kept_and_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("mtjax.data.kept.PLANNED", 1)
    config = data(Jsonl(str(write(tmp_path / "a.jsonl"))), cache_dir=str(tmp_path / "cache"))
    first = make_batches(config, BYTES, batch_size=4, seed=3)
    assert len(list((tmp_path / "cache").glob("rows-*"))) == 1
    monkeypatch.setattr("mtjax.data.kept.pack", lambda *args, **settings: pytest.fail("packed again"))
    again = make_batches(config, BYTES, batch_size=4, seed=3)
    assert equal(first.batch_at(5), again.batch_at(5))
    assert first.made_of == again.made_of


def test_data_in_memory_are_not_written_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    make_batches(data(InMemory((Problem("m", "q", right=("a",)),))), BYTES, batch_size=1, seed=0)
    assert not list(tmp_path.iterdir())
    make_batches(data(Jsonl(str(write(tmp_path / "a.jsonl")))), BYTES, batch_size=1, seed=0)
    assert len(list((tmp_path / "mtjax" / "data").glob("index-*"))) == 1


def test_a_first_pass_that_fails_leaves_nothing(tmp_path):
    source, cache = Jsonl(str(write(tmp_path / "a.jsonl"))), tmp_path / "cache"
    fit = Fit(64, "drop", "split")
    with pytest.raises(ZeroDivisionError):
        build_index(source, "raise", CompletionTask(), BYTES._replace(encode=lambda text: 1 // 0), fit, str(cache))
    assert not list(cache.glob("index-*"))
    found, held = (build_index(source, "raise", CompletionTask(), BYTES, fit, into) for into in (str(cache), None))
    assert content_digest(found) == content_digest(held)
    assert [place.name[:6] for place in cache.iterdir()] == ["index-"]


def test_two_at_once_build_once(tmp_path):
    cache, built = DataCache(tmp_path), []

    def build(writer):
        time.sleep(0.3)
        built.append(1)
        writer.add("x", np.arange(3))
        return {"a": 1}

    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.get(("k", 1), build))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]
    assert [(columns["x"][:].tolist(), about) for columns, about in found] == [([0, 1, 2], {"a": 1})] * 2


def test_what_was_not_used_for_longest_is_deleted(tmp_path):
    def build(writer):
        writer.add("x", np.zeros(1000))
        return {}

    cache = DataCache(tmp_path, limit=25_000)
    for number in range(3):
        cache.get(("k", number), build)
        os.utime(cache.kept()[-1].folder / "manifest.json", (number + 1, number + 1))
    oldest = cache.kept()[0].folder
    cache.get(("k", 0), lambda writer: pytest.fail("built again"))  # used, so no longer the oldest
    cache.get(("k", 3), build)
    assert len(cache.kept()) == 3
    assert oldest in [one.folder for one in cache.kept()]


def test_the_cache_is_listed_and_cleaned_by_a_command(tmp_path, monkeypatch, capsys):
    from mtjax.cache import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["list"]) == 0
    assert capsys.readouterr().out == f"0.0 MB in {tmp_path}/mtjax/data\n"
    for name, count in (("a", 40), ("b", 39)):
        make_batches(data(Jsonl(str(write(tmp_path / f"{name}.jsonl", count)))), BYTES, batch_size=4, seed=0)
    cache = DataCache("auto")
    old = cache.kept()[0].folder
    os.utime(old / "manifest.json", (time.time() - 9.5 * 86_400,) * 2)
    work = cache.folder / ".index-0.work"
    (work / "arrays").mkdir(parents=True)
    (work / "arrays" / "tokens.raw").write_bytes(bytes(1_000_000))
    opened = make_batches(data(Jsonl(str(tmp_path / "b.jsonl"))), BYTES, batch_size=4, seed=0)
    assert main(["list"]) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    assert first.split()[0] == old.name
    assert first.endswith("used 10 days ago  40 examples")
    assert second.endswith("used today  39 examples")
    assert total.startswith("1.0 MB in")
    assert main(["clean", "--unused_days=9"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 folders deleted; 0.0 MB are left in")
    assert [place.name[:6] for place in cache.folder.iterdir()] == ["index-"]
    assert main(["clean", "--all"]) == 0
    assert list(cache.folder.iterdir()) == []
    assert len(opened.ids_at(7)) > 0  # what is open is still read
    for words, says in (
        (["clean"], "clean needs --gb=N, --unused_days=N or --all"),
        (["list", "--gb=3"], "--gb is for clean"),
        (["clear"], "did you mean 'clean'?"),
        (["list", "--folder=/nowhere"], "'/nowhere' is not a folder"),
        (["clean", "--gb=-1"], "gb=-1"),
    ):
        assert main(words) == 2
        assert says in capsys.readouterr().err


def test_a_large_file_is_read_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("mtjax.io.file_digest.LARGE", 1)
    file, calls = tmp_path / "a", []
    digest = lambda: remembered([str(file)], "k", lambda: calls.append(1) or f"{len(calls):064d}")
    file.write_text("one")
    assert (digest(), digest()) == ("0" * 63 + "1", "0" * 63 + "2")  # changed a moment ago: not remembered
    monkeypatch.setattr("mtjax.io.file_digest.SETTLED", -60.0)
    assert digest() == digest() == "0" * 63 + "3"
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # the same size and time: ctime tells
    assert digest() == "0" * 63 + "4"


def test_reading_ahead_gives_the_same_and_raises_where_it_belongs():
    seen = []

    def make(step, more=0):
        seen.append(step)
        if step == 3:
            raise InputError("step 3 is bad")
        return step * 10 + more

    ahead = Ahead(make)
    assert ahead(0) == 0
    ahead.thread.submit(lambda: None).result()
    assert seen == [0, 1, 2]  # two ahead, no more
    assert [ahead(1), ahead(2), ahead(7, 5), ahead(7)] == [10, 20, 75, 70]
    with pytest.raises(InputError, match="step 3 is bad"):
        ahead(3)
    assert ahead(4) == 40
    ahead.close()
    assert not any(thread.name.startswith("mtjax-batches") for thread in threading.enumerate())
    assert ahead(5) == 50


def test_the_loop_does_not_wait_while_the_device_works():
    batches = read_ahead(make_batches(data(InMemory((Problem("m", "q", right=("a",)),))), BYTES, batch_size=1, seed=0))
    slow = Ahead(lambda step: time.sleep(0.02) or step)
    slow(0)
    began = slow.waited
    for step in range(1, 4):
        time.sleep(0.1)
        slow(step)
    assert slow.waited - began < 0.03
    slow.close()
    batches.batch_at(0)
    assert batches.waited() > 0
    batches.close()


def test_what_each_source_gave_follows_from_the_step(tmp_path):
    one, two = (InMemory(tuple(Problem(f"{k}{n}", "q", right=("a" * 9,)) for n in range(8))) for k in "ab")
    made = make_batches(data(Mixture((one, two), (0.75, 0.25)), pack=False), BYTES, batch_size=4, seed=1)
    rows = {"1": 0, "2": 0}
    for step in range(30):
        for name in made.ids_at(step):
            rows["1" if name[0] == "a" else "2"] += 1
        seen = made.seen_at(step)
        assert {n: seen[f"data/rows/{n}"] for n in rows} == rows
        assert seen["data/epochs/2"] == rows["2"] / 8


def test_mixed_indices_equal_joined_arrays(tmp_path):
    sources = [Jsonl(str(write(tmp_path / f"{n}.jsonl", n))) for n in (5, 8)]
    build = lambda source, cache: build_index(source, "raise", CompletionTask(), BYTES, Fit(64, "drop", "split"), cache)
    mapped = join_indices([build(source, str(tmp_path / "cache")) for source in sources])
    held = join_indices([build(source, None) for source in sources])
    assert content_digest(mapped) == content_digest(held)
    assert mapped.targets == held.targets
    assert np.array_equal(mapped.lengths_of(np.array([12, 0, 5])), held.lengths[[12, 0, 5]])


def test_where_the_cache_is_does_not_decide_a_resume():
    from mtjax.runs.folder import MAY_CHANGE

    assert {"data.cache_dir", "data.cache_gb"} <= MAY_CHANGE
    assert {field.name for field in dataclasses.fields(DataConfig)} >= {"cache_dir", "cache_gb"}
