"""How sources are mixed (odds by size, limits of epochs, the share of old data), and curricula."""

import dataclasses
import json

import numpy as np
import pytest

from mtjax.data.batches import DataConfig, fingerprint_of, make_batches
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory, Jsonl, Mixture
from mtjax.data.sources.mixture import mixing_of, parts_of
from mtjax.data.tasks import CompletionTask, PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

BYTES = load_tokenizer("bytes")


def mixture(**settings):
    return Mixture((InMemory(), InMemory()), **settings)


def words(count, name):
    return InMemory(tuple(Problem(f"{name}{n}", "q", right=("a" * 5,)) for n in range(count)))


def made(source, **changes):
    config = DataConfig(source=source, task=CompletionTask(), sequence_length=24, pack=False, **changes)
    return make_batches(config, BYTES, batch_size=8, seed=0)


def test_odds_by_size_by_hand():
    assert mixture(temperature=1.0).shares_by_size([300, 100]) == [0.75, 0.25]
    assert mixture(temperature=1.0, weights=(1.0, 3.0)).shares_by_size([300, 100]) == [0.5, 0.5]  # three times as often
    assert mixture(temperature=2.0).shares_by_size([900, 100]) == [0.75, 0.25]  # 30 : 10
    assert mixture(temperature=1.0, cap=200).shares_by_size([900, 100]) == pytest.approx([2 / 3, 1 / 3])
    nested = Mixture((mixture(temperature=1.0, epochs=(None, 2.0)), InMemory()), (1.0, 1.0), epochs=(5.0, None))
    assert parts_of(nested, [30, 10, 7]) == [(0.375, 5.0), (0.125, 2.0), (0.5, float("inf"))]


def test_fingerprints_see_how_sources_are_mixed():
    nested = Mixture((mixture(temperature=1.0, epochs=(None, 2.0)), InMemory()), epochs=(5.0, None))
    assert mixing_of(mixture()) == []
    assert mixing_of(nested) == [{"epochs": (5.0, None)}, (0, [{"temperature": 1.0, "epochs": (None, 2.0)}])]
    assert mixture().fingerprint() != mixture(epochs=(None, 2.0)).fingerprint()
    one, two = words(9, "a"), words(5, "b")
    prints = [
        fingerprint_of(DataConfig(source=source, task=CompletionTask()))
        for source in (
            Mixture((one, two)),
            Mixture((one, two), temperature=2.0),
            Mixture((one, two), epochs=(None, 3.0)),
        )
    ]
    assert len(set(prints)) == 3


def test_a_temperature_mixes_by_the_number_of_examples():
    batches = made(Mixture((words(90, "a"), words(10, "b")), temperature=2.0), max_repeats=99)
    names = [name[0] for step in range(512) for name in batches.ids_at(step)]
    assert names.count("b") / len(names) == pytest.approx(0.25, abs=1e-3)  # 3 : 1


def test_a_source_ends_after_its_epochs_and_a_resumed_run_goes_on():
    source = Mixture((words(40, "a"), words(10, "b")), (0.5, 0.5), epochs=(None, 2.0))
    batches = made(source)
    names = [name for step in range(60) for name in batches.ids_at(step)]
    counts = {name: names.count(name) for name in names if name[0] == "b"}
    assert set(counts.values()) == {2}
    assert len(counts) == 10
    end = max(place for place, name in enumerate(names) if name[0] == "b")
    assert any(note == f"source 2 ends at step {(end + 1) // 8}, after 2 epochs" for note in batches.report.notes)
    seen = batches.seen_at(59)
    assert (seen["data/rows/2"], seen["data/epochs/2"], seen["data/rows/1"]) == (20, 2.0, 460)
    assert seen["data/epoch"] == 460 / 40
    again = made(source)  # as after a resume: any step, without those before
    assert [name for step in range(30, 60) for name in again.ids_at(step)] == names[240:]


def test_the_share_of_old_data_is_exact():
    batches = made(Mixture((words(400, "new"), words(300, "old")), (0.95, 0.05)))
    old = [sum(name.startswith("old") for name in batches.ids_at(step)) for step in range(1000)]
    assert sum(old) / 8000 == pytest.approx(0.05, abs=0.01 * 0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature 0.0: expected a positive number"),
        ({"cap": 5}, "cap 5 is for a temperature"),
        ({"temperature": 1.0, "cap": 0}, "cap=0"),
        ({"epochs": (1.0,)}, "2 sources and 1 epochs"),
        ({"epochs": (1.0, 0.0)}, "epochs 0.0: expected a positive number"),
        ({"epochs": (1.0, 2.0)}, "limit every source, so the data would end; leave one with None"),
    ],
)
def test_a_mixture_that_cannot_be_mixed_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        mixture(**settings)


def test_mixtures_of_before_are_mixed_as_before():
    shares = [part.share for part in parts_of(Mixture((mixture(), InMemory()), (0.7, 0.3)), [3, 4, 5])]
    assert np.array_equal(shares, [0.7 * 0.5, 0.7 * 0.5, 0.3])


def graded(path, count):
    rows = ({"prompt": f"q{n}", "completion": "a" * (n % 7 + 1), "difficulty": n * 7 % count} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Jsonl(str(path))


def test_the_first_epoch_goes_from_easy_to_hard(tmp_path):
    source = graded(tmp_path / "a.jsonl", 40)
    ordered = lambda batches, steps: [
        int(name.split(":")[1].split("/")[0]) - 1 for step in steps for name in batches.ids_at(step)
    ]
    batches = made(source, curriculum="difficulty")
    first, second = ordered(batches, range(5)), ordered(batches, range(5, 10))
    assert [n * 7 % 40 for n in first] == list(range(40))
    assert sorted(second) == list(range(40))
    assert second != sorted(second, key=lambda n: n * 7 % 40)
    assert [n * 7 % 40 for n in ordered(made(source, curriculum="-difficulty"), range(5))] == list(range(40))[::-1]
    lengths = [len(str(n)) + n % 7 for n in ordered(made(source, curriculum="length"), range(5))]
    assert lengths == sorted(lengths)
    plain = made(source)
    assert plain.made_of["packing"] != batches.made_of["packing"]
    assert batches.batch_at(0).extras["segment_difficulty"][:, 0].tolist() == list(range(8))
    assert ordered(made(source, curriculum="difficulty"), [3]) == first[24:32]  # as after a resume


def test_packed_rows_come_by_the_mean_of_their_examples(tmp_path, monkeypatch):
    monkeypatch.setattr("mtjax.data.packing.WINDOW", 64)
    settings = {"source": graded(tmp_path / "a.jsonl", 640), "task": CompletionTask(), "sequence_length": 64}
    batches = make_batches(DataConfig(**settings, curriculum="difficulty"), BYTES, batch_size=4, seed=0)
    means = []
    for step in range(batches.steps_per_epoch - 1):
        extras = batches.batch_at(step).extras
        there = extras["segment_id"] >= 0
        means += ((extras["segment_difficulty"] * there).sum(1) / there.sum(1)).tolist()
    assert means == sorted(means)
    assert max(abs(mean - 640 * n / len(means)) for n, mean in enumerate(means)) < 70  # about a window of examples


def test_a_number_that_the_examples_do_not_have_is_refused(tmp_path):
    for name, says in (
        ("difficulty", "no example has this number.*THEIRS=difficulty"),
        ("succes_rate", "no example has this number"),
        ("success_rate", "set data.task.success_rate=True"),
    ):
        with pytest.raises(InputError, match=f"data.curriculum='{name}'.*{says}"):
            made(words(9, "a"), curriculum=name)


def test_a_difficulty_is_a_number_in_any_format(tmp_path):
    from mtjax.data.formats import Reader
    from mtjax.io.containers import Cells

    read = lambda record: Reader().read(record, "a.jsonl:1", "a.jsonl:1").difficulty
    assert read({"prompt": "q", "chosen": "a", "rejected": "b", "difficulty": 3}) == 3.0
    assert read({"question": "q", "right": ["a"], "difficulty": 0}) == 0.0
    assert read(Cells(prompt="q", completion="a", difficulty="2.5")) == 2.5
    assert read({"instruction": "q", "output": "a", "difficulty": "hard"}) is None  # a key that is not read
    pairs = tmp_path / "p.jsonl"
    pairs.write_text(
        "".join(
            json.dumps({"prompt": "q", "chosen": "a" * n, "rejected": "b", "difficulty": -n}) + "\n"
            for n in range(2, 9)
        )
    )
    config = DataConfig(
        source=Jsonl(str(pairs)), task=PairTask(), sequence_length=24, pack=False, curriculum="difficulty"
    )
    batches = make_batches(config, BYTES, batch_size=1, seed=0)
    assert [batches.batch_at(step).extras["segment_difficulty"][0, 0, 0] for step in range(7)] == [
        -8,
        -7,
        -6,
        -5,
        -4,
        -3,
        -2,
    ]
    assert dataclasses.replace(Problem("a", "q"), difficulty=1.0) != Problem("a", "q")
