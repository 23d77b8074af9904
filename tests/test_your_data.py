"""docs/your_data.md: every format has a file of three lines there, and `mtjax.new` writes a config that reads it."""

import pathlib
import re

import pytest

from mtjax import config, new
from mtjax.data.formats import FORMATS
from mtjax.data.sources import Files
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode
from mtjax.inspection.new_config import read_data

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "your_data.md").read_text()
SECTION = re.compile(r"^### (\w+)\n\n.*?Goal: `(\w+)`\.\n\n```json\n(.*?)```", re.MULTILINE | re.DOTALL)
SHOWN = {name: (goal, text) for name, goal, text in SECTION.findall(PAGE)}


def test_every_format_is_shown():
    assert SHOWN.keys() == set(FORMATS)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("smollm2")


@pytest.mark.parametrize("name", SHOWN)
def test_the_file_is_read_and_its_goal_is_taken(tmp_path, tokenizer, name):
    goal, text = SHOWN[name]
    file = tmp_path / "data.jsonl"
    file.write_text(text)
    assert text.count("\n") == 3
    found, reader = Files(str(file), format=name if name == "hh_chat" else "auto").scan()
    assert len(found.items) == 3
    assert dict(reader.counts) == {name: 3}
    _, taken, task, records = read_data(str(file), "auto", tokenizer)
    assert (taken, records) == (goal, 3)
    assert task.name == {"pairs": "pair", "mistakes": "mistake"}.get(goal, goal)


@pytest.mark.parametrize("name", ["completion", "text"])
def test_new_writes_a_config_that_is_read(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("data.jsonl").write_text(SHOWN[name][1])
    assert new.main(["mine", "--data=data.jsonl", "--epochs=2"]) == ExitCode.DONE
    assert "wrote mine.py: completion, 3 examples of 3 records" in capsys.readouterr().out
    made = config.read_file("mine.py")
    assert made.init_from == "smollm2"
    assert made.run_dir == "runs/mine"
    assert made.data.task.is_chat == (name == "completion")


def test_what_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("data.jsonl").write_text(SHOWN["completion"][1])
    for words, says in {
        ("mine", "--data=none.jsonl"): "none.jsonl",
        ("mine", "--data=data.jsonl", "--goal=pairs"): "fits no --goal=pairs, which needs pairs",
        ("mine", "--data=data.jsonl", "--goal=chatt"): "chatt",
        ("no/mine", "--data=data.jsonl"): "is not a folder",
        ("mine",): "--data",
        ("mine", "--data=data.jsonl", "--model=no/such"): "no/such",
    }.items():
        assert new.main(list(words)) == ExitCode.BAD_INPUT, words
        assert says in capsys.readouterr().err
    pathlib.Path("mine.py").write_text("kept")
    assert new.main(["mine.py", "--data=data.jsonl"]) == ExitCode.BAD_INPUT
    assert "--overwrite" in capsys.readouterr().err
    assert pathlib.Path("mine.py").read_text() == "kept"


def test_a_larger_file_is_split_and_every_goal_has_a_config_that_trains_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(SHOWN["solutions"][1].replace("6 + 1", f"{n} + 1").replace("3 *", f"{n} *") for n in range(70))
    pathlib.Path("many.jsonl").write_text(rows)
    assert new.main(["mine", "--data=many.jsonl", "--full"]) == ExitCode.DONE
    made = config.read_file("mine.py")
    assert (made.data.source.split, made.held_out.source.split) == ("train", "validation")
    assert made.data.task.decode_prefix == "correct"
    assert made.model.adapter is None
    for goal, objective in {"pairs": "Dpo", "mistakes": "MistakeTuning"}.items():
        words = ["mine", "--data=many.jsonl", f"--goal={goal}", "--overwrite", "--held_out=many.jsonl"]
        assert new.main(words) == ExitCode.DONE
        made = config.read_file("mine.py")
        assert type(made.objective).__name__ == objective
        assert type(made.model.adapter).__name__ == "Lora"
        assert made.held_out.source.split == "all"
        assert made.steps * made.batch_size > 0
