"""Paper 26, TL-Training: key tokens of three tool names, their weight, failed calls, and the reward's table."""

import numpy as np
import pytest

from mtjax.data.answers import Verdict
from mtjax.data.examples import make_example
from mtjax.data.messages import Message
from mtjax.data.problem import Problem
from mtjax.data.tasks.base import Rendered, Span
from mtjax.data.tasks.chat import ChatTask
from mtjax.data.tasks.tool_call import ToolCallTask, called_names, key_characters
from mtjax.data.tokenizer import load_tokenizer
from mtjax.evaluation.rewards.tool_call import ToolCallReward
from mtjax.sampling.sampler import Sample


def test_key_tokens_and_their_weight():
    text, offered, tokenizer = ">get_a(x='1')", ("get_a", "got", "get_b"), load_tokenizer("bytes")
    rendered = Rendered("chat", text, (Span(1, len(text), 1.0),), 1, False, {})
    names = called_names(text, 1, len(text), [], offered)
    assert [text[a:b] for a, b in key_characters(tokenizer, rendered, names, offered)] == ["g", "e", "a"]
    example = make_example(ToolCallTask()._weighted(rendered, [], ["get_a"], tokenizer), "p", tokenizer)
    losses = np.arange(len(example.weights), dtype=float)
    assert example.weights.max() == 9  # 11 others and one key, at most 9
    even = np.where(example.weights > 0, 1.0, 0.0)
    assert (even @ losses) / even.sum() != (example.weights @ losses) / example.weights.sum()


def test_a_turn_whose_call_failed_is_left_out_and_its_repair_is_not():
    talk = [
        Message("user", "Find cats."), Message("assistant", "find(1)"),
        Message("tool", "TypeError: unexpected keyword"), Message("assistant", "find('cats')"),
        Message("tool", "3 cats"), Message("assistant", "There are 3."),
    ]  # fmt: skip
    trains = lambda task: [task.trains(talk, turn) for turn in (1, 3, 5)]
    assert trains(ChatTask(failed_calls="skip")) == [False, True, True]
    assert trains(ChatTask()) == [True, True, True]


TOOLS = (
    {"function": {"name": "find", "parameters": {"properties": {"query": {}, "count": {}, "page": {}}}}},
    {"function": {"name": "open", "parameters": {"properties": {"page": {}}}}},
)


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("I do not know", -2), ("search(query='cats')", -2), ("open(page=1)", -1.5),
        ("find(colour='red', page=1)", -1.8), ("find(query='cats', colour='red')", -1.3),
        ("find(query='cats', page=1)", -1.0), ("find(query='cats', count=2, colour='red')", -0.8),
        ("find(query='cats')", -0.5), ("find(query='dogs', count=2)", -0.25), ("find(count=2, query='cats')", 1),
    ],
)  # fmt: skip
def test_each_row_of_the_reward(text, reward):
    problem = Problem("c", "Find cats.", "find(query='cats', count=2)", tools=TOOLS)
    assert ToolCallReward()(problem, Sample(text), Verdict.UNKNOWN) == reward
