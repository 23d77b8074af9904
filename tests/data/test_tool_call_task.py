"""Key tokens of tool calls: where names part by tokens, and the weights that follow."""

import dataclasses

import numpy as np
import pytest

from mtjax.data.examples import make_example
from mtjax.data.messages import Message
from mtjax.data.problem import Problem
from mtjax.data.tasks.base import Rendered, Span
from mtjax.data.tasks.chat import ChatTask, failed
from mtjax.data.tasks.tool_call import ToolCallTask, called_names, key_characters
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from tests.chat_templates import chat_tokenizer

BYTES = load_tokenizer("bytes")
ASK = Message("user", "hi")


def tools(*names):
    return tuple({"type": "function", "function": {"name": name, "parameters": {}}} for name in names)


def keys(text, *offered):
    """Of `>` and a call behind it: the characters of the key tokens, one a byte."""
    rendered = Rendered("chat", text, (Span(1, len(text), 1.0),), 1, False, {})
    names = called_names(text, 1, len(text), [], offered)
    return [text[start:end] for start, end in key_characters(BYTES, rendered, names, offered)], names


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (("get_a", "get_b"), ["g", "a"]),  # they part at the fifth token
        (("get_a", "set_a"), ["g"]),  # nothing shared
        (("get_a", "get_ab"), ["g", "("]),  # a full prefix of another: the token behind the name
        (("get_a", "got", "get_b"), ["g", "e", "a"]),
        (("get_a",), ["g"]),
    ],
)
def test_the_key_tokens_of_a_name(offered, expected):
    assert keys(">get_a(x='1')", *offered)[0] == expected


def test_the_longest_name_that_stands_as_a_word_is_called():
    assert keys(">get_ab()", "get_a", "get_ab")[1] == [(1, 7)]
    assert keys(">nothing()", "get_a")[1] == []


def call(name, arguments=None):
    return {"type": "function", "function": {"name": name, "arguments": arguments or {}}}


def weights(problem, task=None, tokenizer=None):
    tokenizer = tokenizer or chat_tokenizer("qwen25")
    (one,) = (task or ToolCallTask()).render(problem, tokenizer)
    example = make_example(one, "p", tokenizer)
    return example, tokenizer


def test_a_call_in_a_chat_template():
    messages = (ASK, Message("assistant", tool_calls=(call("get_a", {"x": 1}),)))
    example, tokenizer = weights(Problem("p", "hi", messages=messages, tools=tools("get_a", "get_b")))
    live = example.weights[example.weights != 0]
    keyed = live > 1
    # w = clip(others / keys, 1, 9), all key tokens alike.
    assert set(np.unique(live)) == {1.0, min((~keyed).sum() / keyed.sum(), 9)}
    texts = [tokenizer.decode([int(id)]) for id in example.tokens[example.weights > 1]]
    assert len(texts) == 2
    assert tokenizer.decode(example.tokens[example.weights != 0].tolist()).count("get_a") == 1
    # With a cap, and with a single tool: the first token of the name alone.
    capped, _ = weights(Problem("p", "hi", messages=messages, tools=tools("get_a", "get_b")), ToolCallTask(most=1.5))
    assert capped.weights.max() == 1.5
    single, _ = weights(Problem("p", "hi", messages=messages, tools=tools("get_a")))
    assert (single.weights > 1).sum() == 1


def test_the_loss_of_the_paper_s_example():
    """Losses 2, 1, 1, 1, 1 with the first token as key: weight 4, and 12 / 8 = 1.5 in place of 1.2."""
    text = ">get()"
    one = Rendered("chat", text, (Span(1, len(text), 1.0),), 1, False, {})
    made = ToolCallTask()._weighted(one, [], ["get"], BYTES)
    found = make_example(made, "p", BYTES).weights
    assert found.tolist() == [0, 0, 4, 1, 1, 1, 1]
    losses = np.array([0, 0, 2, 1, 1, 1, 1])
    assert (found @ losses) / found.sum() == 1.5
    long = ">get(" + "x" * 27 + ")"  # 30 others: 30 / 1 is cut at 9
    one = Rendered("chat", long, (Span(1, len(long), 1.0),), 1, False, {})
    assert make_example(ToolCallTask()._weighted(one, [], ["get"], BYTES), "p", BYTES).weights.max() == 9


def test_a_turn_without_a_call_is_trained_as_usual():
    plain = Problem("p", "hi", messages=(ASK, Message("assistant", "yo")), tools=tools("get_a"))
    assert set(np.unique(weights(plain)[0].weights)) == {0, 1}
    with pytest.raises(InputError, match="does not show the call of 'get_a'"):
        called_names("none", 0, 4, ["get_a"], [])


def test_a_turn_whose_call_failed_is_context_and_no_target():
    """TL-Training: the model learns to go on after an error, and not to make it."""
    use = lambda x: Message("assistant", tool_calls=(call("get_a", {"x": x}),))
    said = (ASK, use("bad"), Message("tool", "NameError: name 'q' is not defined"), use("good"), Message("tool", "4"))
    said = (*said, Message("assistant", "It is 4."))
    problem = Problem("p", "hi", messages=said, tools=tools("get_a"))
    tokenizer = chat_tokenizer("qwen25")
    targets = lambda task: [
        one.text[span.start : span.end] for one in task.render(problem, tokenizer) for span in one.spans
    ]
    every, kept = targets(ChatTask()), targets(ChatTask(failed_calls="skip"))
    assert [word in text for text, word in zip(every, ("bad", "good", "It is 4."), strict=True)] == [True] * 3
    assert kept == every[1:]
    (one,) = ChatTask(failed_calls="skip").render(problem, tokenizer)
    assert "bad" in one.text[: one.spans[0].start]
    assert "not defined" in one.text[: one.spans[0].start]
    example = make_example(one, "p", tokenizer)
    trained = tokenizer.decode(example.tokens[example.weights != 0].tolist())
    assert "bad" not in trained
    assert "good" in trained
    assert targets(ChatTask(failed_calls="skip", error_signs=("4",))) == [every[0], every[2]]
    last = dataclasses.replace(problem, messages=said[:2])
    assert len(ToolCallTask(targets="all", failed_calls="skip").render(last, tokenizer)[0].spans) > 0
    with pytest.raises(InputError, match="error_signs has an empty text"):
        ChatTask(error_signs=("",))


def test_signs_of_an_error_in_what_tools_say():
    turn, tool = Message("assistant", "f()"), lambda text: Message("tool", text)
    assert failed([turn, tool("fine"), tool("CONNECTIONERROR")], 0)  # one of several answers
    assert not failed([turn, tool("fine"), ASK, tool('{"error": 1}')], 0)  # of another turn
    assert not failed([turn, tool("no errors were found")], 0)
    assert failed([turn, tool("no errors were found")], 0, ("error",))  # as the released code
    assert not failed([turn], 0)
