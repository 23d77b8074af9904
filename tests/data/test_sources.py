"""Sources: each gives the same problems, in order; broken files name the place; fingerprints follow the content."""

import dataclasses
import gzip
import json
import pathlib

import pytest

from mtjax.data.problem import Problem, in_split
from mtjax.data.sources import Arithmetic, Hub, InMemory, Jsonl, Mixture
from mtjax.errors import InputError

RECORDS = [
    {"prompt": "1 + 1 =", "completion": " 2"},
    {"question": "2 + 2?", "answer": "4", "right": ["4"], "wrong": ["5", "é"]},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}], "id": "chat"},
    {"prompt": "3 + 3 =", "answer": "6"},
]


def write(path, lines):
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def nameless(problems):
    return [dataclasses.replace(problem, id="") for problem in problems.items]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_jsonl_gives_the_records_in_order(name, tmp_path):
    path = write(tmp_path / name, [RECORDS[0], "", *RECORDS[1:], "  "])
    problems = Jsonl(path).problems("raise")
    assert problems[1:] == (0, ())
    assert [p.id for p in problems.items] == [f"{name}:1", f"{name}:3", "chat", f"{name}:5"]
    assert nameless(problems) == nameless(InMemory(tuple(RECORDS)).problems())
    assert problems.items[1].wrong == ("5", "é")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt": "x", "compl', "not JSON"),
        ("[1, 2]", "expected an object"),
        ('{"prompt": "x", "completion": 3}', "'completion' is 3"),
        ('{"prompt": "x", "complation": "y"}', "did you mean 'completion'"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_corrupt_line_names_file_and_line(line, says, tmp_path):
    path = write(tmp_path / "bad.jsonl", [RECORDS[0], line, RECORDS[1]])
    with pytest.raises(InputError) as error:
        Jsonl(path).problems("raise")
    assert str(error.value).startswith(f"{path}:2: ")
    assert says in str(error.value)
    assert "on_error=skip" in str(error.value)
    kept = Jsonl(path).problems("skip")
    assert (len(kept.items), kept.skipped) == (2, 1)
    assert kept.notes[0].startswith(f"1 records skipped; the first: {path}:2: ")


def test_files_that_cannot_be_read(tmp_path):
    good = write(tmp_path / "train.jsonl", RECORDS)
    with pytest.raises(InputError, match="did you mean 'train.jsonl'"):
        Jsonl(str(tmp_path / "trian.jsonl")).problems()
    with pytest.raises(InputError, match="has no files"):
        Jsonl(str(tmp_path / "nowhere" / "x.jsonl")).problems()
    with pytest.raises(InputError, match="holds no problem"):
        Jsonl(write(tmp_path / "empty.jsonl", [])).problems()
    with pytest.raises(InputError, match="3 records skipped; the first"):
        Jsonl(write(tmp_path / "noise.jsonl", ["x", "y", "z"])).problems("skip")
    (tmp_path / "latin.jsonl").write_bytes(json.dumps(RECORDS[0]).encode() + b'\n{"prompt": "\xe9"}\n')
    with pytest.raises(InputError, match=r"latin.jsonl:2: byte 12 is not UTF-8"):
        Jsonl(str(tmp_path / "latin.jsonl")).problems()
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(pathlib.Path(good).read_bytes() * 50)[:-20])
    with pytest.raises(InputError, match=r"cut.jsonl.gz:\d+: the gzip stream breaks off"):
        Jsonl(str(cut)).problems()
    (tmp_path / "plain.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match=r"plain.gz:1: not JSON"):
        Jsonl(str(tmp_path / "plain.gz")).problems("skip")


def test_columns_rename_and_drop(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"problem": "1 + 1", "level": 5, "answer": "2"}])
    assert nameless(Jsonl(path, columns=("problem=question", "answer")).problems()) == [Problem("", "1 + 1", "2")]
    with pytest.raises(InputError, match=r"a.jsonl:1: column 'problm' is not in the record: did you mean 'problem'"):
        Jsonl(path, columns=("problm=question",)).problems()


def test_splits_part_the_problems(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"question": f"q{i}", "answer": str(i)} for i in range(60)])
    parts = [Jsonl(path, split=split).problems().items for split in ("train", "validation", "test")]
    assert sorted(p.id for part in parts for p in part) == sorted(p.id for p in Jsonl(path).problems().items)
    assert all(in_split(p.question, "test") for p in parts[2])


def test_fingerprints_follow_content_and_settings_but_not_the_place(tmp_path):
    one, two = write(tmp_path / "a.jsonl", RECORDS), write(tmp_path / "b.jsonl", RECORDS)
    assert Jsonl(one).fingerprint() == Jsonl(two).fingerprint()
    assert Jsonl(one).fingerprint() != Jsonl(one, "test").fingerprint()
    assert Jsonl(one).fingerprint() != Jsonl(write(tmp_path / "b.jsonl", RECORDS[:3])).fingerprint()
    assert InMemory(tuple(RECORDS)).fingerprint() != InMemory(tuple(RECORDS[::-1])).fingerprint()
    sources = (Jsonl(one), Arithmetic(3))
    assert Mixture(sources, (1.0, 3.0)).fingerprint() == Mixture(sources, (2.0, 6.0)).fingerprint()
    assert Mixture(sources, (1.0, 3.0)).fingerprint() != Mixture(sources, (3.0, 1.0)).fingerprint()


def test_mixtures(tmp_path):
    path = write(tmp_path / "bad.jsonl", [RECORDS[0], "x"])
    mixture = Mixture((Jsonl(path), InMemory((Problem("p", "q"),))), (1.0, 3.0))
    assert mixture.shares == (0.25, 0.75)
    assert Mixture(mixture.sources).shares == (0.5, 0.5)
    problems = mixture.problems("skip")
    assert ([p.id for p in problems.items], problems.skipped) == (["bad.jsonl:1", "p"], 1)
    assert len(problems.notes) == 1
    for weights, says in [
        ((1.0,), "2 sources and 1 weights"),
        ((1.0, 0.0), "weight 0.0"),
        ((1.0, -1.0), "weight -1.0"),
    ]:
        with pytest.raises(InputError, match=says):
            Mixture(mixture.sources, weights)
    with pytest.raises(InputError, match="weight inf"):
        Mixture(mixture.sources, (float("inf"), 1.0))
    with pytest.raises(InputError, match="no sources"):
        Mixture(())


def test_hub_reads_a_local_folder_lazily(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    rows = [{"problem": f"q{i}", "answer": None if i == 1 else str(i), "level": i} for i in range(4)]
    write(tmp_path / "set" / "train.jsonl", rows)
    source = Hub(str(tmp_path / "set"), columns=("problem=question", "answer"))
    problems = source.problems()
    assert len(problems.items) == 4
    assert [p.question for p in problems.items[2:]] == ["q2", "q3"]
    assert problems.items[-1].answer == "3"
    with pytest.raises(InputError, match=r"set\[1\]: only a question"):
        list(problems.items)
    assert source.problems("skip").skipped == 1
    assert source.fingerprint() == source.fingerprint()
    with pytest.raises(InputError, match="column 'question' is not in the record"):
        Hub(str(tmp_path / "set"), columns=("question",)).problems().items[0]
    with pytest.raises(InputError, match=r"part 'tset'\) cannot be loaded"):
        Hub(str(tmp_path / "set"), part="tset").problems()


def test_hub_without_its_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install '.\[hub\]'"):
        Hub("owner/name").problems()
