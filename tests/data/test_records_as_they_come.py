"""Records as people have them: null columns, numeric ids, repeated keys, other kinds of files."""

import gzip
import json

import pytest

from mtjax.data.problem import problem_from_record
from mtjax.data.sources import Hub, InMemory, Jsonl, Svamp, Trl
from mtjax.errors import InputError
from mtjax.io.jsonl import json_of

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


def written(folder, *records, name="data.jsonl", pack=bytes):
    file = folder / name
    file.write_bytes(pack("".join(json.dumps(record) + "\n" for record in records).encode()))
    return str(file)


def test_null_fields_count_as_missing_at_any_depth(tmp_path):
    record = {"id": None, "messages": [{**turn, "name": None, "tool_calls": None} for turn in TURNS], "source": None}
    assert [turn.content for turn in problem_from_record(record, "x:1").messages] == ["hi", "yo"]
    (found,) = (
        Trl(written(tmp_path, {"prompt": None, "chosen": TURNS, "rejected": TURNS[:1] + TURNS[1:]})).problems().items
    )
    assert found.question == "hi"
    with pytest.raises(InputError, match="no 'content'"):
        problem_from_record({"messages": [{"role": "user", "content": None}]}, "x:1")


def test_parquet_rows_with_nulls_load_and_a_bad_one_does_not_say_skipped(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"messages": [{**TURNS[0], "name": "ann"}, TURNS[1] | {"name": None}], "answer": None}]
    assert problem_from_record(rows[0], "x:1").messages[0].name == "ann"
    rows[0]["messages"][0]["name"] = None
    table = {"messages": [row["messages"] for row in rows], "id": [7]}
    features = {"role": datasets.Value("string"), "content": datasets.Value("string"), "name": datasets.Value("string")}
    features = datasets.Features({"messages": [features], "id": datasets.Value("int64")})
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(table, features=features).to_parquet(str(tmp_path / "set" / "train.parquet"))
    source = Hub(str(tmp_path / "set"))
    (problem,) = source.problems().items
    assert (problem.id, problem.messages[1].content) == ("7", "yo")
    assert [one.id for one in Jsonl(str(tmp_path / "set" / "train.parquet")).problems().items] == ["7"]


def test_the_fingerprint_of_bad_records_reads_nothing_and_says_nothing():
    bad = InMemory(({"question": 1},))
    bad.fingerprint()  # the reader refuses the record, with its reason
    with pytest.raises(InputError) as caught:
        bad.problems()
    assert "skipped" not in str(caught.value)


def test_gzip_is_recognised_by_its_content(tmp_path):
    record = {"prompt": "a", "completion": "b"}
    for name, pack in (("data.jsonl", gzip.compress), ("data.jsonl.gz", bytes), ("data.jsonl.gz", gzip.compress)):
        assert Jsonl(written(tmp_path, record, name=name, pack=pack)).problems().items[0].right == ("b",)
    svamp = tmp_path / "SVAMP.json"
    svamp.write_bytes(gzip.compress(Svamp.example.encode()))
    assert len(Svamp(str(svamp)).problems().items) == 1


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"PK\x03\x04", "zip archive; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, start, said):
    file = tmp_path / "data.jsonl"
    file.write_bytes(start + b"...")
    with pytest.raises(InputError, match=said):
        Jsonl(str(file)).problems()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"question": "q", "answer": 18}, r"'answer' is 18; expected a string: write \"18\", in quotes"),
        ({"question": "q", "answer": True}, r"'answer' is True; expected a string: write \"true\", in quotes"),
        ({"question": "q", "right": ["a", 2.5]}, r"right\[1\] is 2.5; expected a string: write \"2.5\", in quotes"),
        ({"id": True, "question": "q", "answer": "1"}, "'id' is True; expected a string"),
        ({"prompt": "q", "completion": ["a"]}, "'completion' is .'a'.; expected a string$"),
    ],
)
def test_numbers_where_texts_belong_name_the_fix(record, said):
    with pytest.raises(InputError, match=said.replace("$", "")):
        problem_from_record(record, "x:1")


def test_ids_may_be_numbers():
    assert problem_from_record({"id": 7, "question": "q", "answer": "1"}, "x:1").id == "7"


def test_a_key_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="x:1: the key 'prompt' stands twice"):
        json_of(b'{"prompt": "a", "prompt": "b"}', "x:1")
    with pytest.raises(InputError, match="the key 'content' stands twice"):
        json_of(b'{"messages": [{"content": "a", "content": "b"}]}', "x:1")


# Real files, in small: each loads by the formats that exist, or its refusal names what to do.
PANDALM = {
    "idx": 0,
    "input": "",
    "instruction": "Add.",
    "output": "4",
    "response1": "4",
    "response2": "5",
    "annotator1": 1,
}
ALPACA = {"instruction": "def f():", "input": "", "output": "    return 1\n"}
SHAREGPT = {"id": "x_0", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]}
GLAIVE = {"system": "SYSTEM: You can call f.", "chat": "USER: hi\n\n\nASSISTANT: yo <|endoftext|>\n\n\n"}
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def f(x):\n    '''Add 1.'''\n",
    "canonical_solution": "    return x + 1\n",
    "test": "assert f(1) == 2",
    "entry_point": "f",
}


@pytest.mark.parametrize(
    ("record", "columns", "question", "right"),
    [
        (PANDALM, ("instruction=prompt", "output=completion"), "Add.", "4"),
        (ALPACA, ("instruction=prompt", "output=completion"), "def f():", "    return 1\n"),
        (GLAIVE, ("system=prompt", "chat=completion"), GLAIVE["system"], GLAIVE["chat"]),
        (
            HUMANEVAL,
            ("task_id=id", "prompt", "canonical_solution=completion"),
            HUMANEVAL["prompt"],
            "    return x + 1\n",
        ),
    ],
    ids=["pandalm", "alpaca", "glaive", "humaneval"],
)
def test_real_files_load_as_they_stand_with_their_columns_named(tmp_path, record, columns, question, right):
    (problem,) = Jsonl(written(tmp_path, record), columns=columns).problems().items
    assert (problem.question, problem.right) == (question, (right,))
    (plain,) = Jsonl(written(tmp_path, record)).problems().items  # as it comes
    if record is GLAIVE:
        texts = [("system", "You can call f."), ("user", "hi"), ("assistant", "yo")]
        assert [(one.role, one.content) for one in plain.messages] == texts
    else:
        assert (plain.question, plain.right) == (question, (right,))


def test_a_way_out_by_columns_works(tmp_path):
    record = {"task_id": 3, "query": "q", "response": "r"}
    with pytest.raises(InputError, match="data.jsonl:1: unknown key") as caught:
        Jsonl(written(tmp_path, record)).problems()
    named = str(caught.value).partition("--data.source.columns ")[2].split()
    (read,) = Jsonl(written(tmp_path, record), columns=tuple(named)).problems().items
    assert (read.id, read.question, read.right) == ("3", "q", ("r",))
    assert "on_error" not in str(caught.value)


COMPARED = {"idx": 0, "motivation_app": "a", "cmp_key": "b_c", "instruction": "q", "response1": "x", "response2": "y"}


@pytest.mark.parametrize(
    ("said", "question", "pairs"),
    [
        ({"input": "", "annotator1": 1, "annotator2": 2, "annotator3": 1}, "q", [("x", "y")]),
        ({"input": "i", "annotator1": 2, "annotator2": 2, "annotator3": 0}, "q\ni", [("y", "x")]),
        ({"input": float("nan"), "annotator1": 1, "annotator2": 2, "annotator3": 0}, "q", []),  # no majority
        ({"annotator1": 0}, "q", []),
        ({"evaluation": "2\n\n### Reason: y is right.\n"}, "q", [("y", "x")]),
        ({"evaluation": "Tie\n\n### Reason: both"}, "q", []),
    ],
)
def test_a_comparison_of_pandalm_makes_the_pair_that_most_prefer(tmp_path, said, question, pairs):
    (problem,) = Jsonl(written(tmp_path, COMPARED | said)).problems().items
    assert (problem.question, [(one.chosen, one.rejected) for one in problem.pairs]) == (question, pairs)


@pytest.mark.parametrize("said", [{}, {"annotator1": 3}, {"evaluation": "both are fine"}])
def test_a_comparison_without_a_verdict_is_refused_and_its_way_out_works(tmp_path, said):
    with pytest.raises(InputError, match="data.jsonl:1: .* does not say which response is better") as caught:
        Jsonl(written(tmp_path, COMPARED | said)).problems()
    named = str(caught.value).partition("--data.source.columns ")[2].partition(" (or")[0].split()
    (problem,) = Jsonl(written(tmp_path, COMPARED | said), columns=tuple(named)).problems().items
    assert [(one.chosen, one.rejected) for one in problem.pairs] == [("x", "y")]


def test_a_call_of_glaive_and_its_response_stay_as_they_are_written(tmp_path):
    call = '<functioncall> {"name": "f", "arguments": \'{"a": 1}\'}'
    turns = ("USER: go", f"ASSISTANT: {call} <|endoftext|>", 'FUNCTION RESPONSE: {"b": 2}', "ASSISTANT: One.\n\nTwo. ")
    chat = "\n\n\n".join(turns) + "<|endoftext|>"
    (problem,) = Jsonl(written(tmp_path, {"system": "SYSTEM: -\n{}\n", "chat": chat})).problems().items
    assert [(one.role, one.content) for one in problem.messages] == [
        *(("system", "-\n{}"), ("user", "go"), ("assistant", call), ("tool", '{"b": 2}'), ("assistant", "One.\n\nTwo."))
    ]
    with pytest.raises(InputError, match="data.jsonl:1: 'chat' begins with 'hello'; expected USER, ASSISTANT"):
        Jsonl(written(tmp_path, {"system": "", "chat": "hello\n\nUSER: x"})).problems()


def test_sharegpt_is_read(tmp_path):
    (problem,) = Jsonl(written(tmp_path, SHAREGPT)).problems().items
    assert [(one.role, one.content) for one in problem.messages] == [("user", "hi"), ("assistant", "yo")]
    assert problem.id == "x_0"


def test_a_code_problem_compiles_as_trained(tmp_path):
    from mtjax.data.batches import DataConfig, make_batches
    from mtjax.data.tasks import CompletionTask
    from mtjax.data.tokenizer import load_tokenizer

    columns = ("task_id=id", "prompt", "canonical_solution=completion")
    for name in ("bytes", "smollm2"):
        tokenizer = load_tokenizer(name)
        source = Jsonl(written(tmp_path, HUMANEVAL), columns=columns)
        config = DataConfig(source=source, task=CompletionTask(template="{question}"), sequence_length=128)
        tokens = make_batches(config, tokenizer, batch_size=1, seed=0).batch_at(0).tokens[0]
        text = tokenizer.decode([token for token in tokens if token not in (tokenizer.end_id, tokenizer.pad_id, 257)])
        assert text == HUMANEVAL["prompt"] + HUMANEVAL["canonical_solution"]
        compile(text, "f", "exec")


def test_a_json_list_is_read_and_an_object_on_several_lines_names_the_command_that_makes_lines_of_it(tmp_path):
    file = tmp_path / "alpaca.json"
    for indent in (None, 1):
        file.write_text(json.dumps([ALPACA], indent=indent))
        (problem,) = Jsonl(str(file)).problems().items
        assert (problem.id, problem.right) == ("alpaca.json[0]", ("    return 1\n",))
    file.write_text(json.dumps(ALPACA, indent=1))
    with pytest.raises(InputError, match=r"alpaca.json:1: not JSON .*jq -c '\.' FILE > FILE.jsonl"):
        Jsonl(str(file)).problems()
