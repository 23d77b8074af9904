"""Problems and their records: what is read comes back, and what cannot be read is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.problem import Message, Problem, in_split, problem_from_record, record_from_problem
from mtjax.errors import InputError

TEXT = st.text(max_size=8)
TEXTS = st.lists(TEXT, max_size=2).map(tuple)


@given(TEXT, TEXT, TEXT, TEXTS, TEXTS, TEXT)
def test_a_problem_survives_its_record(name, question, answer, right, wrong, source):
    problem = Problem(name, question, answer, right, wrong, source=source)
    assert problem_from_record(record_from_problem(problem), "here") == problem


@given(TEXT, st.lists(TEXT, min_size=1, max_size=3))
def test_a_conversation_survives_its_record(name, turns):
    roles = ["user", "assistant", "user"]
    messages = tuple(Message(role, text) for role, text in zip(roles, turns, strict=False))
    problem = Problem(name, turns[0], messages=messages)
    assert problem_from_record(record_from_problem(problem), "here") == problem


def test_each_schema_by_hand():
    completion = problem_from_record({"prompt": "1 + 1 =", "completion": " 2"}, "a.jsonl:3")
    assert completion == Problem("a.jsonl:3", "1 + 1 =", right=(" 2",))
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
    conversation = problem_from_record({"messages": turns, "id": "x"}, "a.jsonl:4")
    assert conversation.id == "x"
    assert conversation.question == "q"
    assert conversation.messages[2] == Message("assistant", "a")
    solved = problem_from_record({"question": "q", "answer": "2", "right": ["r"], "wrong": ["w", "v"]}, "a", id="n")
    assert solved == Problem("n", "q", "2", ("r",), ("w", "v"))
    assert problem_from_record({"prompt": "q", "answer": "2"}, "a") == Problem("a", "q", "2")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (["q"], "expected an object"),
        ({"prompt": "q", "completion": 2}, "'completion' is 2; expected a string"),
        ({"prompt": "q", "complation": "a"}, "unknown key 'complation': did you mean 'completion'"),
        ({"quesion": "q", "answer": "a"}, "unknown key 'quesion': did you mean 'question'"),
        ({"answer": "a"}, "no question"),
        ({"question": "q"}, "only a question"),
        ({"question": "q", "prompt": "p", "answer": "a"}, "both 'question' and 'prompt'"),
        ({"question": "q", "right": "r"}, "'right' is 'r'; expected a list of strings"),
        ({"completion": "c"}, "no 'prompt' in keys ['completion']"),
        ({"messages": []}, "non-empty list"),
        ({"messages": ["hi"]}, "messages[0] is 'hi'"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "did you mean 'user'"),
        ({"messages": [{"role": "user", "text": "x"}]}, "messages[0]: unknown key 'text'"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "no message of the user"),
        ({"messages": [{"role": "user", "content": ""}, {"role": "system", "content": ""}]}, "only in front"),
    ],
)
def test_bad_records_are_named(record, says):
    with pytest.raises(InputError) as error:
        problem_from_record(record, "data.jsonl:12")
    assert str(error.value).startswith("data.jsonl:12: ")
    assert says in str(error.value)


def test_a_conversation_with_solutions_has_no_record():
    with pytest.raises(InputError, match="no record schema holds both"):
        record_from_problem(Problem("p", "q", right=("r",), messages=(Message("user", "q"),)))


def test_splits_share_no_question_and_copies_stay_together():
    questions = [f"How many are {i} apples?" for i in range(2000)]
    parts = {split: [q for q in questions if in_split(q, split)] for split in ("train", "validation", "test")}
    assert sorted(sum(parts.values(), [])) == sorted(questions)  # each in exactly one
    # binomial, n = 2000: means 1400, 200 and 400; the widest sd is sqrt(2000 * .7 * .3) = 20, and five of them are 100
    assert [round(len(part), -2) for part in parts.values()] == [1400, 200, 400]
    assert all(in_split("  " + q.upper().replace(" ", "\n"), "test") for q in parts["test"])
    assert all(in_split(q, "all") for q in questions)
