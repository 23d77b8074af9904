"""`mtjax.inspect`: what it says of small files is what was worked out by hand, and it loads no weights."""

import json

import pytest

from mtjax.data.overlap import overlap
from mtjax.data.sources import InMemory
from mtjax.inspect import main

TALK = [{"role": role, "content": text} for role, text in (("user", "hi"), ("assistant", "yo"))]


def written(folder, *records):
    file = folder / "data.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def facts(text):
    """Name and description of the lines before the table."""
    lines = text.split("\n\n")[0].splitlines()[1:]
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines}


def test_a_file_by_hand(tmp_path, capsys):
    """Three KTO rows in bytes: begin token, `ab` and a line break, the completion and the end token: 6, 6 and 26."""
    rows = [{"prompt": "ab", "completion": text, "label": label} for text, label in (("c", True), ("d", False))]
    path = written(tmp_path, *rows, rows[0] | {"completion": "e" * 21, "id": "long"})
    assert main([path, "--model=bytes", "--sequence_length=16", f"--html={tmp_path / 'page.html'}"]) == 0
    said = capsys.readouterr().out
    found = facts(said)
    assert found["format"] == "kto (3 records)"
    assert found["records"] == "3"
    assert found["task"].startswith("completion")
    assert found["examples"] == "2 (1 dropped)"
    assert found["length"] == "1 of 3 examples are longer than 16 tokens (data.sequence_length) and left out"
    assert found["packing"] == "75.0% of 1 rows of 16 tokens filled"
    assert found["targets"] == "33.3% of 12 tokens"
    quantiles = {line.split("  ")[0]: line.split()[-6:] for line in said.splitlines() if line.startswith("tok")}
    assert quantiles["tokens, before truncation"] == ["6", "6", "6", "22", "26", "26"]
    assert "right: 2 of 6 tokens are targets\n  <|bos|>ab↵\n  [[c<|end|>]]\n" in said
    assert "wrong: 2 of 6 tokens are targets\n  <|bos|>ab↵\n  [[d<|end|>]]\n" in said
    page = (tmp_path / "page.html").read_text()
    assert 'style="--h:.5">c</span>' in page
    assert 'class="c">a</span>' in page
    assert "http" not in page


def test_examples_are_shown_as_they_are_trained(tmp_path, capsys):
    """A prompt of 22 bytes with begin token and line break, the answer and the end token: 26, of which 10 are cut."""
    path = written(tmp_path, {"prompt": "abcdefghijklmnopqrstuv", "completion": "x"})
    assert main([path, "--model=bytes", "--sequence_length=16", "--truncation=left"]) == 0
    assert (
        "2 of 16 tokens are targets, cut from 26\n  <|bos|>klmnopqrstuv↵\n  [[x<|end|>]]\n" in capsys.readouterr().out
    )
    assert main([written(tmp_path, {"prompt": "a" * 30, "completion": "x"}, {"prompt": "b", "completion": "y"}),
                 "--model=bytes", "--sequence_length=16"]) == 0  # fmt: skip
    assert "2 of 34 tokens are targets, longer than a row: left out\n" in capsys.readouterr().out


def test_pairs_of_conversations_take_the_chat_template_and_a_text_none(tmp_path, capsys):
    rows = [
        {"chosen": TALK, "rejected": [TALK[0], TALK[1] | {"content": "no"}], "score_chosen": 2, "score_rejected": 2}
    ]
    assert main([written(tmp_path, *rows), "--model=bytes"]) == 0
    said = capsys.readouterr().out
    assert facts(said)["task"] == "pair, template 'chat'"
    assert "[[yo" in said.split("chosen: ")[1].split("rejected: ")[0]
    assert "[[no" in said.split("rejected: ")[1]
    assert "1 pairs whose chosen side has no higher score" in said
    assert main([written(tmp_path, {"text": "all"}, {"text": "all"}), "--model=bytes", "--examples=1"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("data.jsonl:1/right/0\n4 of 5 tokens are targets\n  <|bos|>[[all<|end|>]]\n")
    assert "1 records are copies of earlier ones; the first: number 2, of 1" in said


def test_colour_marks_targets(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main([written(tmp_path, {"prompt": "q", "completion": "r"}), "--model=bytes"]) == 0
    said = capsys.readouterr().out
    assert "\x1b[30;48;5;157mr" in said
    assert "[[" not in said


def test_a_config_and_what_is_held_out(tmp_path, capsys):
    (tmp_path / "held.jsonl").write_text('{"prompt": "Q ", "completion": "x"}\n{"prompt": "z", "completion": "x"}\n')
    path = written(tmp_path, {"prompt": "q", "completion": "r"}, {"prompt": "p", "completion": "r"})
    config = tmp_path / "config.py"
    config.write_text(
        "from mtjax.config import Config, HeldOut\nfrom mtjax.data.batches import DataConfig\n"
        "from mtjax.data.sources import Files\nfrom mtjax.data.tasks import CompletionTask\n"
        "from mtjax.objectives.nll import Nll\n"
        f"data = DataConfig(source=Files({path!r}), task=CompletionTask(), tokenizer='bytes', sequence_length=8)\n"
        f"held = HeldOut(source=Files({str(tmp_path / 'held.jsonl')!r}))\n"
        "config = Config(data=data, objective=Nll(), held_out=held)\n"
    )
    assert main([str(config), "--data.sequence_length=16", "--examples=0"]) == 0
    found = facts(capsys.readouterr().out)
    assert found["held out"] == (
        f"1 of 2 held-out records are in the training data too, such as {tmp_path}/held.jsonl:1, which is {path}:1"
    )
    assert found["packing"] == "62.5% of 1 rows of 16 tokens filled"
    assert main([str(config), "--sequence_length=16"]) == 2
    assert "--sequence_length is for files; change the setting of the config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{in}", "--task=chta"], "did you mean 'chat'"),
        (["{in}", "--foo=1"], "'--foo=1' is not understood"),
        (["{in}", "--source=kot"], "source 'kot'"),
        (["{in}", "--format=kto"], "the format 'kto' needs it: use another --format"),
        (["{in}", "--sequence_length=2"], "0 of 1 problems gave an example"),
        (["{in}x"], "did you mean 'data.jsonl'"),
    ],
)
def test_wrong_words_are_one_line(words, says, tmp_path, capsys):
    path = written(tmp_path, {"prompt": "q", "completion": "r"})
    assert main([word.replace("{in}", path) for word in [*words, "--model=bytes"]]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


ASKED = {"role": "user", "content": "What is 2+3?"}
SAID = {"role": "assistant", "content": "5"}
FORMS = (
    {"prompt": "What is 2+3?", "completion": "5"},
    {"question": "what  is 2+3?", "answer": "5"},
    {"messages": [ASKED, SAID]},
    {"messages": [{"role": "system", "content": "Be brief."}, ASKED, SAID]},
    {"prompt": [ASKED], "chosen": [SAID], "rejected": [{"role": "assistant", "content": "6"}]},
    {"prompt": "What is 2+3?", "chosen": "5", "rejected": "6"},
    {"instruction": "What is 2+3?", "input": "", "output": "5"},
    {"conversations": [{"from": "human", "value": "What is 2+3?"}, {"from": "gpt", "value": "5"}]},
    {"prompt": "What is 2+3?", "completion": "5", "label": True},
)


def test_overlap_counts_conversations_as_a_whole():
    longer = [*TALK, {"role": "user", "content": "more"}, TALK[1]]
    train = InMemory(({"messages": TALK}, {"text": "a b"}, {"prompt": "q", "completion": "r"}))
    held = InMemory(
        ({"messages": longer}, {"messages": TALK}, {"text": "A  b"}, {"prompt": "q", "completion": "other"})
    )
    assert overlap(train, held)[:2] == (3, 4)


@pytest.mark.parametrize("train", FORMS, ids=lambda form: "-".join(form))
@pytest.mark.parametrize("held", FORMS, ids=lambda form: "-".join(form))
def test_overlap_is_found_whatever_the_formats(train, held):
    assert overlap(InMemory((train, {"text": "else"})), InMemory((held, {"text": "no"})))[:2] == (1, 2)
