"""Messages as records have them: tools, null content, parts, and pairs of conversations."""

import pytest

from mtjax.data.messages import Message
from mtjax.data.problem import Pair, conversation_pair, problem_from_record, record_from_problem
from mtjax.errors import InputError

USER, YES, NO = Message("user", "q"), Message("assistant", "yes"), Message("assistant", "no")
ASK = {"role": "user", "content": "Weather in Rome?"}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome", "day": null}'},
}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "name": "weather", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sunny"}]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "default": None}}}
ANSWER = {"role": "assistant", "content": "Sunny."}


def test_tools_null_content_and_parts_are_read():
    record = {"messages": [ASK, CALLING, RESULT, ANSWER], "tools": [TOOL]}
    problem = problem_from_record(record, "a.jsonl:1")
    user, calling, result, answer = problem.messages
    assert (calling.content, calling.tool_calls) == ("", (CALL,))
    assert (result.name, result.tool_call_id, result.content) == ("weather", "call_1", "sunny")
    assert problem.tools == (TOOL,)  # its null is the tool's own
    assert problem_from_record(record_from_problem(problem), "a.jsonl:1") == problem
    assert isinstance(hash((calling, problem)), int)


def test_a_call_without_its_function_and_arguments_as_an_object_are_the_same_call():
    flat = {"name": "f", "arguments": {"x": None}}
    (message,) = problem_from_record({"messages": [ASK, {"role": "assistant", "tool_calls": [flat]}]}, "a").messages[1:]
    assert message.tool_calls == ({"type": "function", "function": flat},)
    tools = '[{"name": "f"}]'
    assert problem_from_record({"messages": [ASK, ANSWER], "tools": tools}, "a").tools == ({"name": "f"},)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"role": "user"}, "messages[1]: no 'content' in keys ['role']"),
        ({"role": "assistant", "content": None}, "messages[1]: no 'content'"),
        ({"content": "x"}, "messages[1]: no 'role'"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "u"}]},
            "content[0] is a part of type 'image_url'",
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "content[0] is a part of type 'input_audio'"),
        ({"role": "user", "content": {"text": "x"}}, "'content' is {'text': 'x'}; expected a string"),
        ({"role": "tools", "content": "x"}, "role 'tools': did you mean 'tool'"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "'tool_calls' in a message of the role 'user'"),
        ({"role": "user", "content": "x", "tool_call_id": "c"}, "'tool_call_id' in a message of the role 'user'"),
        ({"role": "assistant", "tool_calls": CALL}, "'tool_calls' is {"),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}, "tool_calls[0]: got {'arguments'"),
        ({"role": "assistant", "tool_calls": [{"name": "f", "arguments": 3}]}, "'arguments' is 3; expected an object"),
        ({"role": "assistant", "tool_calls": [CALL | {"index": 0}]}, "tool_calls[0]: unknown key 'index'"),
    ],
)
def test_bad_messages_are_named(message, says):
    with pytest.raises(InputError) as caught:
        problem_from_record({"messages": [ASK, message]}, "a.jsonl:7")
    assert str(caught.value).startswith("a.jsonl:7: messages[1]")
    assert says in str(caught.value)


@pytest.mark.parametrize("tools", ["{", {"name": "f"}, ["f"], 3])
def test_bad_tools_are_named(tools):
    with pytest.raises(InputError, match=r"a.jsonl:7: 'tools' is"):
        problem_from_record({"messages": [ASK, ANSWER], "tools": tools}, "a.jsonl:7")


def test_a_pair_shares_everything_before_the_first_difference():
    assert conversation_pair((USER,), (YES,), (NO,), "a") == ("q", (), Pair("", "yes", "no"))
    assert conversation_pair((), (USER, YES), (USER, NO), "a") == ("q", (), Pair("", "yes", "no"))
    assert conversation_pair((USER,), (USER, YES), (USER, NO), "a") == ("q", (), Pair("", "yes", "no"))
    system, more = Message("system", "s"), Message("user", "more")
    context = (system, USER, YES, more)
    assert conversation_pair(context, (YES,), (NO,), "a") == ("q", context, Pair("", "yes", "no"))
    assert conversation_pair((), (*context, YES), (*context, NO), "a") == ("q", context, Pair("", "yes", "no"))
    sides = ((YES, more, YES), (NO, more, NO))
    assert conversation_pair((USER,), *sides, "a") == (
        *("q", (USER,)),
        Pair("", "yes", "no", chosen_messages=sides[0], rejected_messages=sides[1]),
    )
    # what follows the last answer is cut; equal sides stay equal; the shorter side keeps its answer
    assert conversation_pair((USER,), (YES, more), (NO,), "a")[2] == Pair("", "yes", "no")
    assert conversation_pair((USER,), (YES,), (YES,), "a")[2] == Pair("", "yes", "yes")
    _, shared, pair = conversation_pair((USER,), (YES, more, NO), (YES,), "a")
    assert (shared, pair.chosen_messages, pair.rejected_messages) == ((USER,), (YES, more, NO), (YES,))


def test_preference_records_of_conversations_are_read_and_written():
    sides = {"chosen": [ANSWER], "rejected": [ANSWER | {"content": "Rain."}]}
    explicit = {"prompt": [{"role": "system", "content": "s"}, ASK]} | sides
    problem = problem_from_record(explicit, "a.jsonl:1")
    assert problem.messages == (Message("system", "s"), Message("user", "Weather in Rome?"))
    assert (problem.question, problem.pairs) == ("Weather in Rome?", (Pair("", "Sunny.", "Rain."),))
    implicit = {side: [*explicit["prompt"], *sides[side]] for side in sides}
    assert problem_from_record(implicit, "a.jsonl:1") == problem
    assert problem_from_record(record_from_problem(problem), "a.jsonl:1") == problem
    tools = {"prompt": [ASK], "chosen": [CALLING], "rejected": [ANSWER], "tools": [TOOL]}
    problem = problem_from_record(tools, "a.jsonl:1")
    assert problem.pairs[0].chosen_messages[0].tool_calls == (CALL,)
    assert problem_from_record(record_from_problem(problem), "a.jsonl:1") == problem


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rejected": [ASK]}, "'rejected' has no message of the assistant"),
        ({"prompt": [ANSWER]}, "'chosen' has no message of the user"),
        ({"rejected": "no"}, "'rejected' is 'no'; expected a non-empty list"),
        ({"chosen": [{"role": "system", "content": "s"}, ANSWER]}, "chosen[1]: a system message stands only in front"),
    ],
)
def test_bad_pairs_of_conversations_are_named(change, says):
    record = {"prompt": [ASK], "chosen": [ANSWER], "rejected": [ANSWER]} | change
    with pytest.raises(InputError) as caught:
        problem_from_record(record, "a.jsonl:7")
    assert str(caught.value).startswith("a.jsonl:7: ")
    assert says in str(caught.value)
