"""Batches: a packed row written out, and that batch n depends on settings, seed and n alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.batches import DataConfig, fingerprint_of, make_batches, problems
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory, Jsonl, Mixture
from mtjax.data.tasks import ChatTask, CompletionTask, MistakeTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

BYTES = load_tokenizer("bytes")._replace(bos_id=None)
PAD, END = BYTES.pad_id, BYTES.end_id
MISTAKE = MistakeTask(correct_prefix="+", incorrect_prefix="-", decode_prefix="correct", loss_on="rationale")


def words(count, name="p", longest=9):
    """Problems whose solutions have 1 to `longest` letters."""
    return InMemory(tuple(Problem(f"{name}{n}", "q", right=("a" * (1 + 7 * n % longest),)) for n in range(count)))


def data(source, **changes):
    settings = {"task": CompletionTask(), "sequence_length": 24, "max_segments": 3} | changes
    return DataConfig(source=source, **settings)


def same(one, two):
    """Whether two batches are equal bit for bit."""
    arrays = lambda batch: [
        batch.tokens,
        batch.weights,
        batch.segments,
        *(batch.extras[k] for k in sorted(batch.extras)),
    ]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(arrays(one), arrays(two), strict=True))


def test_a_packed_row_by_hand():
    # right: "q\n+\nab" and end, 7 tokens; wrong: "q\n-\nxyz" and end, 8 tokens. Longest first: wrong, then right.
    source = InMemory((Problem("p", "q", right=("ab",), wrong=("xyz",)),))
    made = make_batches(data(source, task=MISTAKE, sequence_length=17), BYTES, batch_size=1, seed=0)
    batch = made.batch_at(0)
    text = [*b"q\n-\nxyz", END, *b"q\n+\nab", END, PAD, PAD]
    assert batch.tokens.tolist() == [text]
    assert batch.weights.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0]]
    assert batch.segments.tolist() == [[1] * 8 + [2] * 7 + [0] * 2]
    assert batch.extras["segment_id"].tolist() == [[1, 0, -1]]
    assert batch.extras["segment_polarity"].tolist() == [[0, 1, 1]]
    assert (batch.tokens.dtype, batch.weights.dtype, batch.segments.dtype) == (np.int32, np.float32, np.int32)
    assert made.ids_at(0) == ["p/wrong/0", "p/right/0"]
    assert made.report.packing_efficiency == 15 / 17
    assert made.report.target_share == 7 / 15
    assert (
        str(made.report)
        == "2 examples in 1 rows (88.2% full), 15 tokens, 46.7% targets; nothing left out; one epoch is 1 step"
    )


def test_without_packing_each_row_is_one_example():
    made = make_batches(data(words(10), pack=False), BYTES, batch_size=4, seed=0)
    batch = made.batch_at(0)
    assert set(batch.segments.flat) == {0, 1}
    assert batch.extras["segment_id"].shape == (4, 3)
    assert made.report.rows == 10
    for row, name in zip(batch.tokens, made.ids_at(0), strict=True):
        letters = 1 + 7 * int(name.split("/")[0][1:]) % 9
        assert row.tolist() == [*b"q\n", *b"a" * letters, END] + [PAD] * (21 - letters)


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.booleans(), st.integers(0, 3))
def test_one_pass_shows_each_example_once(count, batch_size, max_segments, pack, seed):
    config = data(words(count), max_segments=max_segments, pack=pack)
    made = make_batches(config, BYTES, batch_size=batch_size, seed=seed, repeat=False)
    batches = [made.batch_at(step) for step in range(made.steps_per_epoch)]
    ids = np.concatenate([batch.extras["segment_id"].ravel() for batch in batches])
    assert sorted(ids[ids >= 0].tolist()) == list(range(count))
    names = [name for step in range(made.steps_per_epoch) for name in made.ids_at(step)]
    assert sorted(names) == sorted(f"p{number}/right/0" for number in range(count))
    for batch in batches:
        assert batch.tokens.shape == (batch_size, 24)
        assert batch.segments.max() <= max_segments
        # padding and empty rows hold the pad token and no weight; all others belong to a segment that has an id
        assert np.all(batch.tokens[batch.segments == 0] == PAD)
        assert not batch.weights[batch.segments == 0].any()
        assert np.array_equal(batch.segments.max(axis=1), (batch.extras["segment_id"] >= 0).sum(axis=1))
    with pytest.raises(InputError, match=f"step {made.steps_per_epoch}: expected 0 to"):
        made.batch_at(made.steps_per_epoch)


def test_the_first_batch_of_one_pass_stands_for_all_lengths_and_sources():
    # A long example of a fills a row: packing and the mixture put these rows first.
    long = InMemory(tuple(Problem(f"a{n}", "q", right=("a" * 18,)) for n in range(40)))
    short = words(40, "b", longest=1)
    for source in (InMemory((*long.items, *short.items)), Mixture((long, short))):
        first = make_batches(data(source), BYTES, batch_size=8, seed=0, repeat=False).ids_at(0)
        assert {name[0] for name in first} == {"a", "b"}


def test_epochs_follow_each_other_without_gaps():
    made = make_batches(data(words(23)), BYTES, batch_size=4, seed=0)
    rows = made.report.rows
    seen = np.concatenate([made.batch_at(step).extras["segment_id"] for step in range(rows)])  # 4 epochs of rows
    epochs = seen.reshape(4, rows, 3)
    for epoch in epochs:
        assert sorted(epoch[epoch >= 0].tolist()) == list(range(23))
    assert not np.array_equal(epochs[0], epochs[1])


MIXED = Mixture((words(30, "a"), words(7, "b")), (0.75, 0.25))


@pytest.mark.parametrize("source", [words(30), MIXED], ids=["one source", "mixture"])
def test_batches_have_no_memory(source):
    config = data(source)
    in_order = make_batches(config, BYTES, batch_size=5, seed=7)
    run = [in_order.batch_at(step) for step in range(40)]
    # resuming at any step, in any order, gives the run's batches; so does another process with the same seed
    resumed = make_batches(config, BYTES, batch_size=5, seed=7)
    for step in (39, 0, 17, 3, 38, 17, 2_000, 21):
        batch = in_order.batch_at(step) if step == 2_000 else run[step]
        assert same(resumed.batch_at(step), batch)
    assert resumed.made_of == in_order.made_of


def test_another_seed_gives_other_batches():
    one, two = (make_batches(data(words(30)), BYTES, batch_size=5, seed=seed) for seed in (1, 2))
    assert not same(one.batch_at(0), two.batch_at(0))


def test_hosts_make_their_own_rows_of_the_same_batch():
    config = data(MIXED)
    whole = make_batches(config, BYTES, batch_size=6, seed=0)
    hosts = [make_batches(config, BYTES, batch_size=6, seed=0, rows=slice(n, n + 2)) for n in (0, 2, 4)]
    for step in (0, 5, 11):
        parts = [host.batch_at(step) for host in hosts]
        assert np.array_equal(np.concatenate([part.tokens for part in parts]), whole.batch_at(step).tokens)
        assert sum((host.ids_at(step) for host in hosts), []) == whole.ids_at(step)


def test_a_host_whose_rows_are_all_empty_gets_padding():
    made = make_batches(data(words(3), pack=False), BYTES, batch_size=8, seed=0, rows=slice(4, 8), repeat=False)
    batch = made.batch_at(0)
    assert np.all(batch.tokens == PAD)
    assert not batch.weights.any()
    assert np.all(batch.extras["segment_id"] == -1)
    assert made.ids_at(0) == []


def test_a_mixture_gives_each_source_its_share_of_examples():
    # The second source has short examples, so a row holds more of them: shares are of examples all the same.
    short = words(40, "b", longest=1)
    made = make_batches(data(Mixture((words(60, "a"), short), (0.7, 0.3))), BYTES, batch_size=32, seed=0)
    names = [name for step in range(400) for name in made.ids_at(step)]
    share = np.mean([name.startswith("b") for name in names])
    assert abs(share - 0.3) < 0.01


def test_mixtures_nest():
    inner = Mixture((words(20, "a"), words(20, "b")))
    made = make_batches(data(Mixture((inner, words(5, "c")), (2.0, 1.0))), BYTES, batch_size=32, seed=0)
    names = [name[0] for step in range(200) for name in made.ids_at(step)]
    # 2/3 halved, and 1/3
    assert all(abs(names.count(letter) / len(names) - 1 / 3) < 0.01 for letter in "abc")


LONG = InMemory((Problem("long", "q" * 30, right=("a",)), Problem("fits", "q", right=("a",))))


def test_what_does_not_fit_is_counted():
    dropped = make_batches(data(LONG), BYTES, batch_size=1, seed=0)
    assert (dropped.report.counts.dropped, dropped.report.examples) == (1, 1)
    assert "1 dropped" in str(dropped.report)
    left = make_batches(data(LONG, truncation="left"), BYTES, batch_size=1, seed=0)
    assert (left.report.counts.truncated, left.report.examples) == (1, 2)
    # cutting the end off leaves no target in the long one
    kept = make_batches(data(LONG, truncation="keep"), BYTES, batch_size=1, seed=0)
    assert (kept.report.counts.targetless, kept.report.examples) == (1, 1)


def test_records_and_problems_left_out_are_counted(tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text('{"prompt": "q", "completion": "a"}\nbroken\n{"question": "q", "answer": "1"}\n')
    with pytest.raises(InputError, match=r"data\.jsonl:2"):
        make_batches(data(Jsonl(str(file))), BYTES, batch_size=1, seed=0)
    config = data(Jsonl(str(file)), on_error="skip")
    report = make_batches(config, BYTES, batch_size=1, seed=0).report
    assert (report.counts.skipped, report.counts.unused, report.examples) == (1, 1, 1)
    assert "data.jsonl:2" in report.notes[0]
    assert len(problems(config).items) == 2


def test_the_index_is_kept_and_built_anew_when_something_changes(tmp_path):
    calls = []
    counting = BYTES._replace(encode=lambda text: calls.append(text) or BYTES.encode(text))
    config = data(words(9), cache_dir=str(tmp_path / "cache"))
    first = make_batches(config, counting, batch_size=2, seed=0)
    (folder,) = (tmp_path / "cache").iterdir()
    file = folder / "manifest.json"
    calls.clear()
    again = make_batches(config, counting, batch_size=2, seed=0)
    assert not calls
    assert same(first.batch_at(3), again.batch_at(3))
    assert (first.report, first.ids_at(3)) == (again.report, again.ids_at(3))
    file.write_bytes(file.read_bytes()[:100])  # a damaged file is built anew
    assert same(first.batch_at(3), make_batches(config, counting, batch_size=2, seed=0).batch_at(3))
    changed = [
        dataclasses.replace(config, source=words(8)),
        dataclasses.replace(config, task=CompletionTask(template="{question}?\n")),
        dataclasses.replace(config, sequence_length=25),
    ]
    for other in changed:
        assert calls
        calls.clear()
        make_batches(other, counting, batch_size=2, seed=0)
        assert fingerprint_of(other, counting) != fingerprint_of(config, counting)
    make_batches(config, counting._replace(fingerprint="other"), batch_size=2, seed=0)
    assert len(list((tmp_path / "cache").iterdir())) == 5
    with pytest.raises(InputError, match="cannot be written"):
        make_batches(dataclasses.replace(config, cache_dir=str(file)), BYTES, batch_size=2, seed=0)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (data(words(3)), {"batch_size": 0}, "batch_size=0: expected a number of at least 1"),
        (data(words(3)), {"seed": -1}, "seed=-1"),
        (data(words(3), max_segments=0), {}, "data.max_segments=0"),
        (data(words(3), sequence_length=1), {}, "data.sequence_length=1"),
        (data(words(3), sequence_length=3), {}, "3 too long.*raise it"),
        (data(InMemory((Problem("p", "q", answer="1"),))), {}, "1 unused.*right solutions"),
        (data(InMemory((Problem("p", "q", right=("a",)),)), task=ChatTask(), sequence_length=3), {}, "1 too long"),
        (
            data(LONG, sequence_length=4, truncation="keep", task=CompletionTask(template="!!!!!{question}")),
            {},
            "target",
        ),
        (data(InMemory(())), {}, "no problem"),
    ],
    ids=lambda value: None,
)
def test_bad_input_is_refused(config, settings, message):
    with pytest.raises(InputError, match=message):
        make_batches(config, BYTES, **({"batch_size": 2, "seed": 0} | settings))
