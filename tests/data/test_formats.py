"""Formats: every registered one obeys the contract, and records as people have them give the right texts."""

import dataclasses
import hashlib
import json
import pathlib

import pytest

from mtjax.data.formats import FORMATS, Reader, recognise
from mtjax.data.problem import Message, Pair
from mtjax.data.sources import Files, Jsonl
from mtjax.errors import InputError
from mtjax.registry import summary

every_format = pytest.mark.parametrize("name", sorted(FORMATS))
USER, YES, NO = (
    {"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "r"), ("assistant", "w"))
)
SYSTEM = {"role": "system", "content": "s"}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}
Q, R, W, S = (Message(one["role"], one["content"]) for one in (USER, YES, NO, SYSTEM))
CALL = {"name": "add", "arguments": {"a": 1}}


def read(record, name="auto"):
    return Reader(name).read(record, "data/a.jsonl:7", "a.jsonl:7")


@every_format
def test_a_format_says_what_it_is_and_its_example_is_recognised(name):
    kind = FORMATS[name]
    assert summary(kind)
    assert name == "hh_chat" or recognise(kind.example, "x") == name
    assert read(kind.example, name).question or name == "text"


@every_format
def test_what_a_format_writes_it_reads_back(name):
    problem = read(FORMATS[name].example, name)
    (record,) = FORMATS[name]().write(problem, 0)
    back = read(record, name)
    assert dataclasses.replace(back, id=problem.id) == problem


@every_format
def test_a_record_without_one_of_its_keys_or_with_a_number_in_it_is_refused_in_one_line(name):
    kind = FORMATS[name]
    for key in kind.needs:
        short = {other: value for other, value in kind.example.items() if other != key}
        with pytest.raises(InputError, match=f"a.jsonl:7: .*'{key}'"):
            read(short, name)
        if str in kind.needs[key] and int not in kind.needs[key]:
            with pytest.raises(InputError, match=f"a.jsonl:7: .*'{key}' is 3; expected"):
                read(kind.example | {key: 3}, name)


def sides(problem):
    """Question, context, right and wrong texts and sides of pairs."""
    pairs = [(pair.context, pair.chosen, pair.rejected) for pair in problem.pairs]
    return problem.question, problem.messages, problem.right, problem.wrong, pairs


@pytest.mark.parametrize(
    ("record", "name", "expected"),
    [
        ({"prompt": "q", "completion": "r"}, "completion", ("q", (), ("r",), (), [])),
        ({"prompt": [USER], "completion": [YES]}, "completion", ("q", (), ("r",), (), [])),
        ({"prompt": [SYSTEM, USER], "completion": "r"}, "completion", ("q", (S, Q), ("r",), (), [])),
        ({"prompt": [USER, YES, USER], "completion": [NO]}, "completion", ("q", (Q, R, Q), ("w",), (), [])),
        ({"prompt": "q", "completion": "r", "system": "s"}, "completion", ("q", (S, Q), ("r",), (), [])),
        ({"text": "t\n"}, "text", ("", (), ("t\n",), (), [])),
        ({"instruction": "q", "input": "", "output": "r"}, "alpaca", ("q", (), ("r",), (), [])),
        ({"instruction": "q", "input": "x", "output": "r", "text": "qxr"}, "alpaca", ("q\nx", (), ("r",), (), [])),
        (
            {"instruction": "q", "output": "r", "system": "s", "history": [["a", "b"]]},
            "alpaca",
            ("a", (S, Message("user", "a"), Message("assistant", "b"), Q), ("r",), (), []),
        ),
        ({"instruction": "q", "context": "x", "response": "r"}, "dolly", ("q\nx", (), ("r",), (), [])),
        ({"conversations": [HUMAN, GPT]}, "sharegpt", ("q", (Q, R), (), (), [])),
        ({"conversations": [HUMAN, GPT], "system": "s"}, "sharegpt", ("q", (S, Q, R), (), (), [])),
        ({"conversations": [USER, YES]}, "sharegpt", ("q", (Q, R), (), (), [])),
        ({"messages": [USER, YES], "prompt": "q", "prompt_id": "1"}, "messages", ("q", (Q, R), (), (), [])),
        ({"prompt": "q", "chosen": "r", "rejected": "w"}, "preference", ("q", (), (), (), [("", "r", "w")])),
        ({"prompt": [USER], "chosen": [YES], "rejected": [NO]}, "preference", ("q", (), (), (), [("", "r", "w")])),
        ({"prompt": "q", "chosen": [YES], "rejected": [NO]}, "preference", ("q", (), (), (), [("", "r", "w")])),
        (
            {"prompt": "q", "chosen": "r", "rejected": "w", "system": "s"},
            "preference",
            ("q", (S, Q), (), (), [("", "r", "w")]),
        ),
        (
            {"chosen": [USER, YES, USER, YES], "rejected": [USER, YES, USER, NO]},
            "preference_implicit",
            ("q", (Q, R, Q), (), (), [("", "r", "w")]),
        ),
        (
            {"prompt": "q", "prompt_id": "7", "chosen": [USER, YES], "rejected": [USER, NO], "messages": [USER, YES]}
            | {"score_chosen": 8, "score_rejected": 6.5},
            "ultrafeedback",
            ("q", (), (), (), [("", "r", "w")]),
        ),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: a\n\nHuman: b\n\nAssistant: r"}
            | {"rejected": "\n\nHuman: q\n\nAssistant: a\n\nHuman: b\n\nAssistant: rw\n\nHuman: c\n\nAssistant: d"},
            "hh",
            (
                *("\n\nHuman: q\n\nAssistant: a\n\nHuman: b\n\nAssistant:", (), (), ()),
                [("", " r", " rw\n\nHuman: c\n\nAssistant: d")],
            ),
        ),
        ({"prompt": "q", "completion": "w", "label": False}, "kto", ("q", (), (), ("w",), [])),
        ({"messages": [SYSTEM, USER, NO], "label": False}, "kto_chat", ("q", (S, Q), (), ("w",), [])),
        (
            {"conversations": [HUMAN], "chosen": GPT, "rejected": GPT | {"value": "w"}},
            "sharegpt_preference",
            ("q", (), (), (), [("", "r", "w")]),
        ),
        (
            {"system": "s", "question": "q", "chosen": "r", "rejected": "w"},
            "preference",
            ("q", (S, Q), (), (), [("", "r", "w")]),
        ),
        (
            {"conversation_id": "1", "model": "m", "conversation": [USER, YES], "turn": 1},
            "sharegpt",
            ("q", (Q, R), (), (), []),
        ),
        ({"prompt": [USER], "completion": [YES], "label": 1}, "kto", ("q", (), ("r",), (), [])),
        (
            {"prompt": "q", "completions": ["a", "b"], "labels": [True, True]},
            "stepwise",
            ("q", (), ("a\nb",), (), []),
        ),
        ({"prompt": "q", "completions": ["a", "b"], "labels": [1, 0]}, "stepwise", ("q", (), (), ("a\nb",), [])),
        ({"prompt": "q", "completions": ["a", "b"], "rewards": [-1, 1.0]}, "group", ("q", (), ("b",), ("a",), [])),
        ({"prompt": [USER], "completions": ["a", "b"], "rewards": [0.5, 1]}, "group", ("q", (), (), (), [])),
        (
            {"prompt": "q", "chosen": "r", "rejected": "w", "subset": "hep", "chosen_model": "m", "id": 4},
            "reward_bench",
            ("q", (), (), (), [("", "r", "w")]),
        ),
        (
            {"dataset": "d", "prompt": "q", "initial_reason_steps": "So: ", "chosen": "r", "rejected": "w"}
            | {"full_chosen": "r.", "full_rejected": "w.", "answer": "7"},
            "step_dpo",
            ("q", (), (), (), [("So: ", "r", "w")]),
        ),
    ],
)
def test_records_as_people_have_them(record, name, expected):
    assert recognise(record, "x") == name
    assert sides(read(record)) == expected


def test_hh_as_conversations():
    texts = {side: f"\n\nHuman: q \n\nAssistant: r\n\nHuman: q\n\nAssistant: {side}" for side in ("chosen", "rejected")}
    assert sides(read(texts, "hh_chat")) == ("q", (Q, R, Q), (), (), [("", "chosen", "rejected")])


def test_scores_labels_and_rewards_are_kept():
    row = FORMATS["ultrafeedback"].example
    assert read(row).pairs == (Pair("", "It is 7.", "It is 8.", scores=(8.5, 6.0)),)
    assert read(row).id == "a1"
    (steps,) = read(FORMATS["stepwise"].example).candidates
    assert (steps.text, steps.labels) == ("2 * 3 = 6.\n1 + 6 = 8.", (True, False))
    assert [one.reward for one in read(FORMATS["group"].example).candidates] == [1.0, 0.0]
    assert read(FORMATS["reward_bench"].example).source == "math"


def test_tools_of_sharegpt():
    turns = [HUMAN, {"from": "function_call", "value": json.dumps(CALL)}, {"from": "observation", "value": "2"}, GPT]
    problem = read({"conversations": turns, "tools": '[{"name": "add"}]'})
    assert [one.role for one in problem.messages] == ["user", "assistant", "tool", "assistant"]
    assert problem.messages[1].tool_calls[0]["function"] == CALL
    assert problem.tools == ({"name": "add"},)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"prompt": "q", "complation": "r"}, "unknown key 'complation': did you mean 'completion'"),
        ({"prompt": "q", "completion": "r", "messages": [USER, YES]}, "'completion' and 'messages'"),
        ({"prompt": "q", "completion": "r", "rejected": "w"}, "unknown key 'rejected': a record of the format"),
        ({"conversations": [HUMAN, GPT], "sytem": "s"}, "unknown key 'sytem': did you mean 'system'"),
        ({"question": "q", "wrong": ["w"], "wrnog": ["v"]}, "unknown key 'wrnog': did you mean 'wrong'"),
        ({"prompt": "q", "chosen": "r"}, "no 'rejected'"),
        ({"conversations": [HUMAN, GPT], "kto_tag": False}, "unknown key 'kto_tag': a record of the format 'sharegpt'"),
        ({"text": "t", "label": 1}, "unknown key 'label': a record of the format 'text' has none"),
        ({"messages": [USER, YES, USER], "label": True}, "the last message is {'role': 'user'"),
        (
            {"system_prompt": "s", "question": "q", "response": "r"},
            "--data.source.columns system_prompt=system question=prompt response=completion",
        ),
        ({"prompt": "q", "completions": ["a"], "label": [True]}, "nearest format is"),
        ({"chosen": "r", "rejected": "w"}, "share no '\\n\\nAssistant:'"),
        (
            {"conversations": [{"from": "humn", "value": "q"}, GPT]},
            "conversations[0]: from 'humn': did you mean 'human'",
        ),
        ({"conversations": [HUMAN, GPT | {"weight": 0}]}, "conversations[1]: 'weight' is 0"),
        ({"conversations": [HUMAN, {"from": "function_call", "value": "{"}]}, "function_call that is not JSON"),
        ({"prompt": "q", "completion": "r", "label": 2}, "'label' is 2; expected true or false"),
        ({"prompt": "q", "completion": "r", "label": "yes"}, "'label' is 'yes'; expected true or false"),
        ({"prompt": "q", "completions": ["a", "b"], "labels": [True]}, "2 completions and 1 labels"),
        ({"prompt": "q", "completions": ["a", 3], "labels": [True, True]}, "completions[1] is 3; expected a string"),
        ({"prompt": "q", "completions": ["a"], "rewards": ["high"]}, "rewards[0] is 'high'; expected a number"),
        ({"prompt": "p", "chosen": [USER, YES], "rejected": [USER, NO]}, "the prompt is 'p', but the conversations"),
        ({"instruction": "q", "output": "r", "history": ["a"]}, "history[0] is 'a'"),
        ({"instruction": 1, "output": "r"}, "'instruction' is 1; expected a string"),
        ({"messages": {"role": "user"}}, "'messages' is {'role': 'user'}"),
        ({"response_0": "a", "response_1": "b"}, "name the keys to read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(record, says):
    with pytest.raises(InputError) as caught:
        read(record)
    assert str(caught.value).startswith("data/a.jsonl:7: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def written(folder, *records):
    file = folder / "data.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def test_extra_keys_are_named_once(tmp_path):
    rows = [{"messages": [USER, YES], "lang": "en", "views": n} for n in range(3)]
    found = Files(written(tmp_path, *rows)).problems()
    assert len(found.items) == 3
    assert "keys that are not read (format messages): 'lang', 'views'" in found.notes


def test_formats_may_stand_together_unless_one_is_another_without_a_key(tmp_path):
    rows = [{"messages": [USER, YES]}, {"instruction": "q", "output": "r"}, {"messages": [USER, NO]}]
    found = Files(path := written(tmp_path, *rows)).problems()
    assert f"records of several formats: 2 messages (first {path}:1), 1 alpaca (first {path}:2)" in found.notes
    kto = {"prompt": "q", "completion": "r", "label": True}
    path = written(tmp_path, kto, {"prompt": "q", "completion": "w", "label": None})
    with pytest.raises(
        InputError, match=rf"{path}:2: a record of the format 'completion', but {path}:1 has the"
    ) as said:
        Files(path).problems()
    assert "'label'" in str(said.value)
    forced = str(said.value).rpartition("--data.source.format=")[2].split()[0]
    assert [one.right for one in Files(path, format=forced).problems().items] == [("r",), ("w",)]


def test_a_format_may_be_forced_and_columns_named(tmp_path):
    path = written(tmp_path, {"prompt": "q", "completion": "r", "messages": [USER, YES]})
    with pytest.raises(InputError, match="which mean different things"):
        Files(path).problems()
    assert Files(path, format="messages").problems().items[0].messages == (Q, R)
    assert Files(path, columns=("prompt", "completion")).problems().items[0].right == ("r",)
    with pytest.raises(InputError, match=r"source.format='kato': did you mean 'kto'"):
        Files(path, format="kato")
    with pytest.raises(InputError, match=r"data.jsonl:1: no 'label' in keys"):
        Files(path, format="kto").problems()


def test_empty_texts_copies_and_repeated_ids_are_counted(tmp_path):
    rows = [{"id": "a", "prompt": "q", "completion": "r"}, {"id": "a", "prompt": "p", "completion": " "}]
    rows += [{"id": "b", "prompt": "q", "completion": "r"}, {"id": "c", "prompt": "z", "completion": "r"}]
    path = written(tmp_path, *rows)
    notes = Files(path).problems().notes
    assert f"1 records have an empty text; the first: a solution in {path}:2 (id 'a')" in notes
    assert "1 records are copies of earlier ones; the first: number 3, of 1" in notes
    assert any("1 records have the id of an earlier one" in note and "number 2, of 1" in note for note in notes)
    assert Files(written(tmp_path, rows[0], rows[3])).problems().notes == ()


def test_settings_of_before_have_the_fingerprint_of_before(tmp_path):
    """`Jsonl` of a plain file, as version 0.1 computed it: sha256 of class, settings and bytes."""
    path = written(tmp_path, {"prompt": "q", "completion": "r"})
    before = hashlib.sha256(b'Jsonl {"columns": [], "split": "all"}\0' + pathlib.Path(path).read_bytes()).hexdigest()
    assert Jsonl(path).fingerprint() == before
    assert Jsonl(path, format="completion").fingerprint() != before


def test_an_answer_that_is_a_solution_as_in_gsm8k_is_read_as_one_behind_records_with_plain_answers():
    reader = Reader()
    plain = reader.read({"question": "2 + 2?", "answer": "4"}, "a.jsonl:1", "1")
    solved = {"question": "6 + 1001?", "answer": "6 + 1001 = <<6+1001=1007>>1007\n#### 1,007"}
    second = reader.read(solved, "a.jsonl:2", "2")
    assert (plain.answer, plain.right) == ("4", ())
    assert (second.answer, second.right) == ("1007", ("6 + 1001 = 1007\n#### 1,007",))
    assert "as in GSM8K, and are read as such" in " ".join(reader.notes())
    point = reader.read({"question": "Where?", "answer": "It is there.\n#### (1, 2)"}, "a.jsonl:3", "3")
    assert point.answer == "(1, 2)"  # its comma separates no thousands
    given = reader.read(solved | {"right": ["1007"]}, "a.jsonl:3", "3")
    assert given.right == ("1007",)
