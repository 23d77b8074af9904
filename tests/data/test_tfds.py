"""TFDS without TensorFlow: what is built from JSONL comes back equal and in order."""

import json
import pathlib
import sys

import pytest

from mtjax.data.sources import Jsonl, Tfds
from mtjax.data.sources.tfds import build_tfds
from mtjax.errors import InputError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    records = [{"question": f"q{i} é", "answer": str(i), "right": ["r"] * (i % 3), "wrong": ["w"]} for i in range(30)]
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}]
    records += [{"messages": turns, "source": "s"}, {"prompt": "", "completion": ""}]
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path), build_tfds(str(path), str(folder / "out"))


def test_built_and_read_is_the_jsonl(built):
    path, folder = built
    problems = Tfds(folder).problems()
    assert list(problems.items) == list(Jsonl(path).problems().items)
    assert problems.items[-2].messages[1].content == ""
    assert problems.items[7] == Jsonl(path).problems().items[7]
    assert "tensorflow" not in sys.modules
    assert len(Tfds(folder).fingerprint()) == 64


def test_splits_and_columns(built):
    path, folder = built
    assert list(Tfds(folder, split="test").problems().items) == list(Jsonl(path, "test").problems().items)
    renamed = Tfds(folder, columns=("answer=question", "id", "wrong")).problems().items[3]
    assert (renamed.question, renamed.id, renamed.wrong) == ("3", "a.jsonl:4", ("w",))


def test_bad_folders_and_names(built, tmp_path):
    path, folder = built
    with pytest.raises(InputError, match=r"no dataset_info.json"):
        Tfds(str(tmp_path)).problems()
    with pytest.raises(InputError, match="no part 'trian': did you mean 'train'"):
        Tfds(folder, part="trian").problems()
    with pytest.raises(InputError, match="is there already"):
        build_tfds(path, str(pathlib.Path(folder).parents[1]))
    with pytest.raises(InputError, match="lower case"):
        build_tfds(path, str(tmp_path), name="My-Set")
    (tmp_path / "bad.jsonl").write_text("x\n")
    with pytest.raises(InputError, match=r"bad.jsonl:1"):
        build_tfds(str(tmp_path / "bad.jsonl"), str(tmp_path))
