"""The chat templates of published families (in our words): exact text and targets, which `[` and `]` enclose here."""

import json
import pathlib

import pytest

from mtjax.data.examples import make_example
from mtjax.data.messages import Message
from mtjax.data.problem import Problem, problem_from_record
from mtjax.data.tasks import ChatTask, CompletionTask, PairTask
from mtjax.data.tasks.base import written_settings
from mtjax.errors import InputError
from tests.chat_templates import chat_tokenizer

CALL = {"id": "call00001", "type": "function", "function": {"name": "sky", "arguments": '{"city": "Rome"}'}}
TOOL = {"type": "function", "function": {"name": "sky"}}
USER, YO, BYE, LONG = (
    Message("user", "hi"), Message("assistant", "yo"), Message("user", "bye"), Message("assistant", "so long")
)  # fmt: skip
BRIEF = Message("system", "Be brief.")
ONE, MANY = (USER, YO), (USER, YO, BYE, LONG)
RESULT = Message("tool", '{"is": "blue"}', tool_call_id="call00001")
TOOLS = (USER, Message("assistant", tool_calls=(CALL,)), RESULT, LONG)


def marked(rendered, tokenizer):
    """The rendered text with its targets in brackets, as its tokens say it; the end token is `$`."""
    example = make_example(rendered, "p", tokenizer)
    text, inside = "", False
    for token, weight in zip(example.tokens.tolist(), example.weights.tolist(), strict=True):
        text += ("⟧" if inside else "⟦") * (bool(weight) != inside) + tokenizer.decode([token])
        inside = bool(weight)
    return text + "⟧" * inside


def shown(family, messages, **settings):
    """All sequences of a conversation, in the chat template of a family."""
    tokenizer = chat_tokenizer(family) if isinstance(family, str) else family
    tools = (TOOL,) if any(message.tool_calls for message in messages) else ()
    problem = Problem("p", "hi", messages=tuple(messages), tools=tools)
    return [marked(one, tokenizer) for one in ChatTask(**settings).render(problem, tokenizer)]


def chatml(*turns):
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"


def llama(*turns):
    return "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in turns)


HEAD = "<|start_header_id|>assistant<|end_header_id|>\n\n"
SMOL, QWEN = ("system", "You are a small helper."), ("system", "You are a helper.")
IM_END, NO_THOUGHT = "<|im_end|>", "<think>\n\n</think>\n\n"
BLUE = '"{\\"is\\": \\"blue\\"}"'  # the content of a tool as JSON
SCHEMA = '{"type": "function", "function": {"name": "sky"}}'
CALLED = '<tool_call>\n{"name": "sky", "arguments": {"city": "Rome"}}\n</tool_call>'
ANSWERED = '<|im_start|>user\n<tool_response>\n{"is": "blue"}\n</tool_response><|im_end|>\n<|im_start|>assistant\n'
WITH_TOOLS = ("system", f"<tools>\n{SCHEMA}\n</tools>")
BRIEFLY, HI, TURN_2 = (
    ("system", "Be brief."),
    ("user", "hi"),
    "\n<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\n",
)


def two(head, header=TURN_2, end=IM_END):
    return [f"{head}⟦yo{end}⟧{header}⟦so long{end}⟧"]


NOTHING = ("system", "")
LLAMA_2 = llama(("user", "bye")) + HEAD
GEMMA = "<start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n"
EXPECTED = {
    ("smollm2", "one"): [f"{chatml(SMOL, HI)}⟦yo<|im_end|>⟧"],
    ("smollm2", "many"): two(chatml(SMOL, HI)),
    ("smollm2", "system"): two(chatml(BRIEFLY, HI)),
    ("smollm2", "tools"): r"leaves out 'tool_calls' of messages\[1\] \(assistant\); use a chat template with tools",
    ("llama3", "one"): [f"<|begin_of_text|>{llama(NOTHING, HI)}{HEAD}⟦yo<|eot_id|>⟧"],
    ("llama3", "many"): two(f"<|begin_of_text|>{llama(NOTHING, HI)}{HEAD}", LLAMA_2, "<|eot_id|>"),
    ("llama3", "system"): two(f"<|begin_of_text|>{llama(BRIEFLY, HI)}{HEAD}", LLAMA_2, "<|eot_id|>"),
    ("llama3", "tools"): [
        "<|begin_of_text|>"
        + llama(("system", f"Functions:\n{SCHEMA}\n\n"), HI)
        + HEAD
        + '⟦{"name": "sky", "parameters": {"city": "Rome"}}<|eot_id|>⟧'
        + llama(("ipython", BLUE))
        + f"{HEAD}⟦so long<|eot_id|>⟧"
    ],
    ("qwen25", "one"): [f"{chatml(QWEN, HI)}⟦yo<|im_end|>⟧"],
    ("qwen25", "many"): two(chatml(QWEN, HI)),
    ("qwen25", "system"): two(chatml(BRIEFLY, HI)),
    ("qwen25", "tools"): [
        chatml(("system", f"You are a helper.\n\n<tools>\n{SCHEMA}\n</tools>"), HI)
        + f"⟦{CALLED}<|im_end|>⟧\n{ANSWERED}⟦so long<|im_end|>⟧"
    ],
    ("qwen3", "one"): [f"{chatml(HI)}⟦{NO_THOUGHT}yo<|im_end|>⟧"],
    ("qwen3", "many"): [
        f"{chatml(HI)}⟦{NO_THOUGHT}yo<|im_end|>⟧",
        f"{chatml(HI, ('assistant', 'yo'), ('user', 'bye'))}⟦{NO_THOUGHT}so long<|im_end|>⟧",
    ],
    ("qwen3", "system"): [
        f"{chatml(BRIEFLY, HI)}⟦{NO_THOUGHT}yo<|im_end|>⟧",
        f"{chatml(BRIEFLY, HI, ('assistant', 'yo'), ('user', 'bye'))}⟦{NO_THOUGHT}so long<|im_end|>⟧",
    ],
    ("qwen3", "tools"): [
        f"{chatml(WITH_TOOLS, HI)}⟦{NO_THOUGHT}{CALLED}<|im_end|>⟧",
        f"{chatml(WITH_TOOLS, HI)}{CALLED}<|im_end|>\n{ANSWERED}⟦{NO_THOUGHT}so long<|im_end|>⟧",
    ],
    ("mistral", "one"): ["<s>[INST]hi[/INST]⟦yo</s>⟧"],
    ("mistral", "many"): ["<s>[INST]hi[/INST]⟦yo</s>⟧[INST]bye[/INST]⟦so long</s>⟧"],
    ("mistral", "system"): [
        "<s>[INST]Be brief.\n\nhi[/INST]⟦yo</s>⟧",
        "<s>[INST]hi[/INST]yo</s>[INST]Be brief.\n\nbye[/INST]⟦so long</s>⟧",
    ],
    ("mistral", "tools"): [
        f"<s>[AVAILABLE_TOOLS][{SCHEMA}][/AVAILABLE_TOOLS][INST]hi[/INST]"
        '⟦[TOOL_CALLS][{"name": "sky", "arguments": {"city": "Rome"}, "id": "call00001"}]</s>⟧'
        '[TOOL_RESULTS]{"content": {"is": "blue"}, "call_id": "call00001"}[/TOOL_RESULTS]⟦so long</s>⟧'
    ],
    ("gemma2", "one"): [f"<bos>{GEMMA.format('hi')}⟦yo<end_of_turn>⟧"],
    ("gemma2", "many"): two(f"<bos>{GEMMA.format('hi')}", "\n" + GEMMA.format("bye"), "<end_of_turn>"),
    (
        "gemma2",
        "system",
    ): "refuses a conversation of system, user, assistant, user, assistant: System role not supported",
    ("gemma2", "tools"): "refuses a conversation of user, assistant, tool, assistant: roles must alternate",
    ("gemma3", "system"): two("<bos>" + GEMMA.format("Be brief.\n\nhi"), "\n" + GEMMA.format("bye"), "<end_of_turn>"),
}
CONVERSATIONS = {"one": ONE, "many": MANY, "system": (BRIEF, *MANY), "tools": TOOLS}


@pytest.mark.parametrize(("family", "kind"), EXPECTED)
def test_text_and_targets_of_each_family(family, kind):
    expected = EXPECTED[family, kind]
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            shown(family, CONVERSATIONS[kind])
        return
    assert shown(family, CONVERSATIONS[kind]) == expected
    last = shown(family, CONVERSATIONS[kind], targets="last")  # the last turn alone, in the same text
    *others, target = expected[-1].replace("⟧", "⟦").rpartition("⟦")[0].rpartition("⟦")
    assert last == ["".join(others).replace("⟦", "") + f"⟦{target}⟧"] or len(expected) > 1
    if kind == "system":
        assert shown(family, MANY, system="Be brief.") == expected


GOLDEN = json.loads((pathlib.Path(__file__).parent / "trl_pairs.json").read_text())
"""What the DPO trainer and collator of TRL 1.16.0 (transformers 5.24.0) make of records with these tokenizers."""


@pytest.mark.parametrize("name", GOLDEN["pairs"])
def test_pairs_of_conversations_are_those_of_trl(name):
    """The same tokens and targets, but for the line break after the closing token, which TRL trains too."""
    family, record = name.split("/")
    tokenizer = chat_tokenizer(family)
    problem = problem_from_record(GOLDEN["records"][record], "a.jsonl:1")
    sides = [make_example(one, "p", tokenizer) for one in PairTask(template="chat").render(problem, tokenizer)]
    for ours, theirs in zip(sides, GOLDEN["pairs"][name], strict=True):
        ids, targets = theirs["input_ids"], theirs["completion_tokens"]
        if ids[-1] == ord("\n"):
            ids, targets = ids[:-1], targets - 1
        assert ours.tokens.tolist() == ids
        assert ours.weights.tolist() == [0.0] * (len(ids) - targets) + [1.0] * targets


def test_variables_of_a_template_are_settings_of_the_task():
    # Without thoughts, the empty ones are part of the prompt, and no target.
    off = {"chat_template_kwargs": ("enable_thinking=false",)}
    assert shown("qwen3", ONE, **off) == [f"{chatml(HI)}{NO_THOUGHT}⟦yo<|im_end|>⟧"]
    assert shown("qwen3", ONE, chat_template_kwargs=("enable_thinking=true",)) == shown("qwen3", ONE)
    tokenizer, problem = chat_tokenizer("qwen3"), Problem("p", "hi", right=("yo",))
    for task in (ChatTask(**off), PairTask(template="chat", **off)):
        assert task.prompt(problem, None, tokenizer) == f"{chatml(HI)}{NO_THOUGHT}"
        assert task.turns(problem).variables == {"enable_thinking": False}
    assert written_settings(ChatTask()) == written_settings(ChatTask(chat_template_kwargs=()))
    assert "chat_template_kwargs" not in written_settings(ChatTask())  # as before there was this setting


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "enable_thinkin=false",
            "the chat template of .* has no variable 'enable_thinkin': did you mean 'enable_thinking'",
        ),
        ("enable_thinking", "'enable_thinking': expected NAME=VALUE"),
        ("tools=[]", "'tools=.*' is set by mtjax|is set by mtjax"),
    ],
)
def test_variables_that_no_template_reads_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        shown("qwen3", ONE, chat_template_kwargs=(given,))


def test_variables_are_for_a_chat_alone():
    with pytest.raises(InputError, match="task.chat_template_kwargs=.* is for a chat alone"):
        CompletionTask(chat_template_kwargs=("enable_thinking=false",))
    with pytest.raises(InputError, match="it reads none"):
        shown("smollm2", ONE, chat_template_kwargs=("enable_thinking=false",))
