"""Conversion: what one format says, another says too, or it is counted and named."""

import gzip
import json

import pytest

from mtjax.convert import main
from mtjax.data.conversion import TEXTS, convert, facts, write_problem
from mtjax.data.formats import FORMATS, Reader
from mtjax.data.sources import Files, Mistakes
from mtjax.data.sources.detection import source_of
from mtjax.errors import InputError

USER, YES, NO = (
    {"role": role, "content": text} for role, text in zip(("user", *["assistant"] * 2), "qrw", strict=True)
)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_in_every_other_loses_nothing_that_is_not_named(name):
    """What is not reported as lost is there when the records are read again."""
    problem = Reader(name).read(FORMATS[name].example, "a.jsonl:1", "a.jsonl:1")
    for to in FORMATS:
        records, lost = write_problem(FORMATS[to], problem, 0)
        readers = [to, *FORMATS[to].same]
        back = set().union(*(facts(Reader(kind).read(record, "b:1", "b:1")) for record in records for kind in readers))
        missing = {what for what, _ in facts(problem) - back}
        assert {what.replace("pairing of the two sides", "pair") for what in lost} == missing, to
        assert records or {*TEXTS} & lost, to


@pytest.mark.parametrize(
    ("name", "to", "lost"),
    [
        ("preference", "solutions", set()),
        ("preference", "kto", {"pairing of the two sides"}),
        ("preference", "rise", set()),
        ("preference", "hh", set()),
        ("preference_implicit", "hh_chat", set()),
        ("hh", "preference", set()),
        ("ultrafeedback", "preference", {"scores"}),
        ("reward_bench", "preference", set()),
        ("reward_bench", "ultrafeedback", {"right solution", "wrong solution", "pairing of the two sides", "source"}),
        ("rise", "preference", {"answer"}),
        ("step_dpo", "preference", {"answer", "kind of pair"}),
        ("solutions", "preference", {"answer"}),
        ("solutions", "group", {"answer"}),
        ("group", "kto", {"pairing of the two sides"}),
        ("stepwise", "kto", {"labels of steps"}),
        ("messages", "sharegpt", set()),
        ("sharegpt", "alpaca", set()),
        ("alpaca", "messages", set()),
        ("kto", "solutions", set()),
        ("kto", "completion", {"wrong solution"}),
        ("text", "completion", set()),
    ],
)
def test_what_a_format_has_no_place_for(name, to, lost):
    problem = Reader(name).read(FORMATS[name].example, "a.jsonl:1", "a.jsonl:1")
    assert write_problem(FORMATS[to], problem, 0)[1] == lost


def written(folder, *records, name="in.jsonl"):
    file = folder / name
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def read(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def test_conversations_keep_their_turns(tmp_path):
    talk = [{"role": "system", "content": "s"}, USER, YES, USER]
    path = written(tmp_path, {"prompt": talk, "chosen": [YES], "rejected": [NO], "id": "a"})
    out = tmp_path / "out.jsonl"
    for to in ("preference_implicit", "trl", "ultrafeedback"):
        out.unlink(missing_ok=True)
        if to == "ultrafeedback":
            with pytest.raises(InputError, match="no place for texts"):
                convert(Files(path).problems().items, str(out), to)
            continue
        convert(Files(path).problems().items, str(out), to)
        (again,) = Files(str(out)).problems().items
        assert again == Files(path).problems().items[0]
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}] * 2
    path = written(tmp_path, {"conversations": turns, "system": "s"}, name="s.jsonl")
    convert(Files(path).problems().items, str(tmp_path / "alpaca.jsonl"), "alpaca")
    (row,) = read(tmp_path / "alpaca.jsonl")
    assert row == {"instruction": "q", "input": "", "output": "r", "system": "s", "history": [["q", "r"]]}


def test_the_command_writes_all_or_nothing_and_counts(tmp_path, capsys):
    path = written(tmp_path, {"id": "a", "question": "q", "answer": "4", "right": ["r", "s"], "wrong": ["w"]})
    out = tmp_path / "out.jsonl.gz"
    assert main([path, str(out), "--to=trl"]) == 0
    assert read(out) == [
        {"id": "a/0", "prompt": "q", "chosen": "r", "rejected": "w"},
        {"id": "a/1", "prompt": "q", "chosen": "s", "rejected": "w"},
    ]
    said = capsys.readouterr().out
    assert f"2 records of 1 problems in {out}" in said
    assert "no place in this format for: answer (1)" in said
    assert main([path, str(out), "--to=trl"]) == 2
    assert "pass --overwrite to replace it" in capsys.readouterr().err
    before = out.read_bytes()
    assert main([path, str(out), "--to=alpaca", "--overwrite"]) == 2
    error = capsys.readouterr().err
    assert "no place for texts of 1 with a wrong solution of 1 problems" in error
    assert out.read_bytes() == before
    assert "which the formats group, solutions hold" in error or "solutions" in error.split("which the formats")[1]
    assert main([path, str(out), "--to=alpaca", "--overwrite", "--lossy"]) == 0
    assert [row["output"] for row in read(out)] == ["r", "s"]
    assert "wrong solution (1)" in capsys.readouterr().out
    assert main([path, str(tmp_path / "list.json"), "--to=kto"]) == 0
    assert [row["label"] for row in json.loads((tmp_path / "list.json").read_text())] == [True, True, False]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{in}"], "expected two files"),
        (["{in}", "{out}"], "--to is missing"),
        (["{in}", "{out}", "--to=kot"], "did you mean 'kto'"),
        (["{in}", "out.txt", "--to=kto"], "expected a name that ends in .jsonl"),
        (["{in}", "{out}", "--to=kto", "--form=x"], "'--form=x' is not understood"),
        (["{in}", "{out}", "--to=kto", "--source=kto"], "source 'kto'"),
        (["{in}", "{out}", "--to=kto", "--format=kto"], "no 'label' in keys"),
        (["{in}", "{out}", "--to=stepwise"], "no place for texts"),
    ],
)
def test_wrong_words_are_one_line(words, says, tmp_path, capsys):
    path, out = written(tmp_path, {"prompt": "q", "completion": "r"}), str(tmp_path / "out.jsonl")
    assert main([word.replace("{in}", path).replace("{out}", out) for word in words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("to", "records"),
    [
        (
            "completion",
            [
                {"prompt": 'a, "b"\nc', "completion": " d\r\n", "difficulty": 2},
                {"prompt": [{"role": "user", "content": "é"}], "completion": "1"},
            ],
        ),
        (
            "preference",
            [
                {"id": "x", "prompt": "007", "chosen": "[1]", "rejected": "true"},
                {"prompt": "q", "chosen": "", "rejected": "b"},
            ],
        ),
        ("messages", [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}] * 2),
    ],
)
def test_tables_read_as_what_they_were_written_from(suffix, to, records, tmp_path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
        records = [record for record in records if type(record.get("prompt")) is not list]
    source = Files(write(tmp_path / "in.jsonl", records))
    out = tmp_path / f"out.{suffix}"
    convert(source.problems().items, str(out), to)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == [out.name]
    for one, two in zip(source.problems().items, Files(str(out)).problems().items, strict=True):
        assert facts(one) == facts(two)


def test_what_reads_otherwise_in_a_table_is_refused(tmp_path):
    like_a_list = '[{"role": "user", "content": "q"}]'  # a text, that a table would give as messages
    source = Files(write(tmp_path / "in.jsonl", [{"prompt": like_a_list, "completion": "a"}]))
    with pytest.raises(InputError, match="reads otherwise as a row of a table; write a .jsonl file"):
        convert(source.problems().items, str(tmp_path / "out.csv"), "completion")
    assert not list(tmp_path.glob("*out*"))


def test_mistake_records_are_recognised_and_converted(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(Mistakes.example)
    assert isinstance(source_of(str(path)), Mistakes)
    assert main([str(path), str(tmp_path / "out.jsonl"), "--to=rise"]) == 0
    (row,) = read(tmp_path / "out.jsonl")
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("6 + 1 =", "6 + 1 = 7", "6 + 1 = 8")
    with pytest.raises(InputError, match="a record of the source 'mistakes'; read the file with data.source:mistakes"):
        Files(str(path)).problems()
