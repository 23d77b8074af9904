"""Containers: the same records from every kind of file, in a fixed order, and damaged files named."""

import csv
import gzip
import json

import pytest

from mtjax.data.sources import Files
from mtjax.errors import InputError
from mtjax.io.containers import files_of, read_rows

ROWS = [{"prompt": f"q{n}\n", "completion": 'a, "b"\té 😀'} for n in range(3)]


def lines(rows=ROWS):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(path, rows=ROWS, delimiter=","):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write(path, rows=ROWS):
    """Records in the container that the name says."""
    name = path.name
    if "parquet" in name or "arrow" in name:
        arrow = pytest.importorskip("pyarrow")
        found = arrow.Table.from_pylist(rows)
        if "parquet" in name:
            pytest.importorskip("pyarrow.parquet").write_table(found, path)
        else:
            with arrow.ipc.new_stream(str(path), found.schema) as writer:
                writer.write_table(found)
    elif ".csv" in name or ".tsv" in name:
        table(path, rows, "\t" if ".tsv" in name else ",")
    else:
        path.write_bytes(json.dumps(rows, indent=1).encode() if ".json" in name.replace(".jsonl", "") else lines(rows))
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    if name.endswith(".zst"):
        path.write_bytes(pytest.importorskip("pyarrow").compress(path.read_bytes(), codec="zstd", asbytes=True))
    return str(path)


@pytest.mark.parametrize(
    "name",
    ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.json.gz", "a.json.zst", "a.csv", "a.csv.gz", "a.tsv"]
    + ["a.parquet", "a.arrow", "a.txt"],
)
def test_every_container_holds_the_same_records(name, tmp_path):
    found = Files(write(tmp_path / name)).problems()
    assert [(one.question, one.right) for one in found.items] == [(row["prompt"], (row["completion"],)) for row in ROWS]
    assert found.notes == ()
    assert found.items[1].where.startswith(str(tmp_path / name))
    assert len({one.id for one in found.items}) == 3


def test_lists_and_truth_values_in_a_table(tmp_path):
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": '[{"a": 1}]'}]
    for said in (json.dumps(talk), str(talk)):  # pandas writes what Python prints
        table(tmp_path / "a.csv", [{"messages": said, "id": "", "lang": "en"}])
        (problem,) = Files(str(tmp_path / "a.csv")).problems().items
        assert (problem.messages[1].content, problem.id) == ('[{"a": 1}]', "a.csv:2")
    table(
        tmp_path / "a.csv", [{"prompt": "[1, 2]", "completion": "3", "label": label} for label in ("True", "false", 1)]
    )
    problems = Files(str(tmp_path / "a.csv")).problems().items
    assert [(one.right, one.wrong) for one in problems] == [(("3",), ()), ((), ("3",)), (("3",), ())]
    assert problems[0].question == "[1, 2]"
    table(
        tmp_path / "a.csv",
        [{"instruction": "q", "input": "", "output": ""}, {"instruction": "q", "input": "x", "output": "r"}],
    )
    assert [one.question for one in Files(str(tmp_path / "a.csv")).problems().items] == ["q", "q\nx"]


def test_globs_and_folders_are_read_in_order_with_names_of_their_own(tmp_path):
    (tmp_path / "set" / "sub").mkdir(parents=True)
    for number, name in enumerate(("b.jsonl", "a.jsonl.gz", "sub/a.jsonl")):
        write(tmp_path / "set" / name, [{"prompt": str(number), "completion": "r"}])
    (tmp_path / "set" / "README.md").write_text("about")
    (tmp_path / "set" / "dataset_info.json").write_text("{}")
    (tmp_path / "set" / ".hidden.jsonl").write_text("{}")
    found = Files(str(tmp_path / "set")).problems().items
    assert [(one.question, one.id) for one in found] == [
        ("1", "a.jsonl.gz:1"),
        ("0", "b.jsonl:1"),
        ("2", "sub/a.jsonl:1"),
    ]
    assert [one.question for one in Files(str(tmp_path / "set" / "*.jsonl*")).problems().items] == ["1", "0"]
    with pytest.raises(InputError, match="no file matches .*nothing-"):
        files_of(str(tmp_path / "nothing-*"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is a folder; expected a file in it, or a folder with files"):
        files_of(str(tmp_path / "empty"))


def test_the_parts_of_a_data_set_are_not_mixed(tmp_path):
    for name in ("train-00000-of-00001.jsonl", "test-00000-of-00001.jsonl"):
        write(tmp_path / name)
    with pytest.raises(InputError, match="holds files of the parts test, train; name those of one part") as caught:
        files_of(str(tmp_path))
    pattern = str(caught.value).split("such as '")[1].rstrip("'")
    assert files_of(pattern) == [str(tmp_path / "train-00000-of-00001.jsonl")]


def test_the_fingerprint_covers_all_files(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path / name)
    before = Files(str(tmp_path)).fingerprint()
    assert before != Files(str(tmp_path / "a.jsonl")).fingerprint()
    (tmp_path / "b.jsonl").write_bytes(lines() + lines())
    assert Files(str(tmp_path)).fingerprint() != before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", '[{"text": "1"}', "a.json: record 1: the JSON list breaks off here"),
        ("a.json", '[{"text": "1"} {"b": 2}]', "a.json: record 1: found '{\"b\": 2}]'; expected ',' or ']'"),
        ("a.json", '[{"a": nope}]', "a.json: record 0: not JSON (Expecting value"),
        ("a.json", '[{"prompt": "a", "prompt": "b"}]', "record 0: the key 'prompt' stands twice"),
        ("a.json", '[{"prompt": "\\ud800", "completion": ""}]', "record 0: the escape '\\ud800' is half a character"),
        ("a.json", "[3]", "a.json: record 0: got 3; expected an object"),
        ("a.json", "[] 3", "text after the end of the JSON list"),
        ("a.json", "[" * 99_999, "record 0: not JSON"),
        ("a.csv", "prompt,completion\na,b,c\n", "a.csv:2: 3 cells; expected 2, one per column"),
        ("a.csv", 'prompt,completion\na,"b\n', "a.csv:2: not a table (unexpected end of data)"),
        ("a.csv", "prompt,prompt\na,b\n", "a.csv:1: column 'prompt' stands twice"),
        ("a.csv", "", "a.csv:1: a column has no name"),
    ],
)
def test_damaged_files_are_named(name, content, says, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        Files(str(tmp_path / name)).problems()
    assert says in str(caught.value)


def test_one_bad_record_of_a_list_or_table_may_be_skipped(tmp_path):
    (tmp_path / "a.csv").write_text("prompt;completion\na;b;c\na;b\n")
    found = Files(str(tmp_path / "a.csv")).problems("skip")
    assert (len(found.items), found.skipped) == (1, 1)
    (tmp_path / "a.json").write_text(
        '[{"prompt": 1, "completion": "r"}, {"prompt": "a", "prompt": "b"}, ' + json.dumps(ROWS[0]) + "]"
    )
    found = Files(str(tmp_path / "a.json")).problems("skip")
    assert (len(found.items), found.skipped) == (1, 2)


def test_broken_compression_and_missing_packages(tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    packed = arrow.compress(lines() * 50, codec="zstd", asbytes=True)
    (tmp_path / "cut.jsonl.zst").write_bytes(packed[:-9])
    with pytest.raises(InputError, match="the zstd stream breaks off"):
        list(read_rows(str(tmp_path / "cut.jsonl.zst")))
    path = write(tmp_path / "a.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match="cut.parquet' is damaged"):
        list(read_rows(str(tmp_path / "cut.parquet")))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "whole.jsonl.zst").write_bytes(packed)
    for file in (path, str(tmp_path / "whole.jsonl.zst")):
        with pytest.raises(InputError, match=r"needs the package 'pyarrow': run pip install '.\[files\]'"):
            list(read_rows(file))


def test_a_list_is_read_in_blocks(tmp_path, monkeypatch):
    """Any size of block gives the same records, with escapes, numbers and white space at its edges."""
    rows = [{"a": [1.5, -20, True, None], "b": 'x"\\\n\u2028é'}, {}, {"c": {"d": "]"}}]
    for indent in (None, 2):
        (tmp_path / "a.json").write_text("\n" + json.dumps(rows, indent=indent) + "\n")
        for size in (1, 2, 3, 7, 1 << 20):
            monkeypatch.setattr("mtjax.io.containers.CHUNK", size)
            assert [row for row, _, _ in read_rows(str(tmp_path / "a.json"))] == rows
