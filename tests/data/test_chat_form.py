"""Every task in a chat: context, prefix, pairs; what a template leaves out, its marks, and thoughts."""

import dataclasses
import json

import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.messages import Message
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory, Jsonl
from mtjax.data.tasks import ChatTask, CompletionTask, MistakeTask, PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from tests.chat_templates import SPECIAL, TEMPLATES, chat_tokenizer, with_template

SMOL = chat_tokenizer("smollm2")
USER, YO, BYE = Message("user", "hi"), Message("assistant", "yo"), Message("user", "bye")
CONTEXT = (Message("system", "Be brief."), USER, YO, BYE)
PROMPT = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"
    "<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\n"
)
SOLVED = Problem("p", "hi", right=("so long",), wrong=("what?",), messages=CONTEXT)
END = "<|im_end|>"
GOOD, BAD = "[CORRECT RATIONALE]", "[INCORRECT RATIONALE]"
TASKS = [
    CompletionTask(template="chat"), ChatTask(), PairTask(template="chat"),
    MistakeTask(template="chat", decode_prefix="correct"),
]  # fmt: skip


def bracketed(rendered):
    """The text with its targets in brackets."""
    text = rendered.text
    for span in reversed(rendered.spans):
        text = f"{text[: span.start]}⟦{text[span.start : span.end]}⟧{text[span.end :]}"
    return text


def shown(task, problem, tokenizer=SMOL):
    return [bracketed(one) for one in task.render(problem, tokenizer)]


def test_a_solution_answers_its_context_and_only_the_last_turn_is_a_target():
    assert shown(CompletionTask(template="chat"), SOLVED) == [f"{PROMPT}⟦so long{END}⟧"]
    assert CompletionTask(template="chat").prompt(SOLVED, None, SMOL) == PROMPT
    everything = PROMPT.replace(f"yo{END}", f"⟦yo{END}⟧")
    assert shown(CompletionTask(template="chat", targets="all"), SOLVED) == [f"{everything}⟦so long{END}⟧"]
    both = CompletionTask(template="chat", polarities="both")
    assert shown(both, SOLVED) == [f"{PROMPT}⟦so long{END}⟧", f"{PROMPT}⟦what?{END}⟧"]


def test_a_conversation_is_an_example_of_completion_too():
    talk = Problem("p", "hi", messages=(*CONTEXT, Message("assistant", "so long"), Message("user", "left over")))
    assert shown(CompletionTask(template="chat"), talk) == [f"{PROMPT}⟦so long{END}⟧"]
    assert shown(ChatTask(), talk) == shown(CompletionTask(template="chat", targets="all"), talk)
    asked = Problem("p", "hi", answer="7", messages=CONTEXT)  # to evaluate: the last turn of the user is asked
    assert ChatTask().prompt(asked, None, SMOL) == PROMPT


def test_both_sides_of_a_pair_follow_the_context():
    assert shown(PairTask(template="chat"), SOLVED) == [f"{PROMPT}⟦so long{END}⟧", f"{PROMPT}⟦what?{END}⟧"]
    step = Problem("p", "hi", messages=CONTEXT, pairs=(Pair("Step 1: ", "a\n", "b \n", "step"),))
    assert shown(PairTask(template="chat"), step) == [f"{PROMPT}Step 1: ⟦a\n⟧", f"{PROMPT}Step 1: ⟦b \n⟧"]
    open_ended = PairTask(template="chat", end="none")
    assert shown(open_ended, SOLVED) == [f"{PROMPT}⟦so long⟧", f"{PROMPT}⟦what?⟧"]


def test_turns_after_the_first_difference_are_targets_of_a_pair():
    sides = tuple((Message("assistant", text), BYE, Message("assistant", f"{text}!")) for text in ("a", "b"))
    pair = Pair("", "a!", "b!", chosen_messages=sides[0], rejected_messages=sides[1])
    problem = Problem("p", "hi", messages=CONTEXT, pairs=(pair,))
    between = f"\n<|im_start|>user\nbye{END}\n<|im_start|>assistant\n"
    every = [f"{PROMPT}⟦{text}{END}⟧{between}⟦{text}!{END}⟧" for text in "ab"]
    assert shown(PairTask(template="chat", targets="all"), problem) == every
    first = PairTask(template="chat", targets="all").render(problem, SMOL)[0]
    assert first.text[: first.prompt_end] == PROMPT  # what both share
    last = [f"{PROMPT}{text}{END}{between}⟦{text}!{END}⟧" for text in "ab"]
    assert shown(PairTask(template="chat"), problem) == last
    with pytest.raises(InputError, match="data.task.targets=last"):  # earlier turns shift in the template
        PairTask(template="chat", targets="all").render(problem, chat_tokenizer("qwen3"))
    with pytest.raises(InputError, match="template=chat"):
        PairTask().render(dataclasses.replace(problem, messages=()), SMOL)


PREFIXED = {
    "target": (PROMPT + GOOD + "\n", PROMPT + BAD + "\n"),
    "prompt": tuple(PROMPT.replace("bye", f"bye\n{prefix}") for prefix in (GOOD, BAD)),
    "system": tuple(PROMPT.replace("brief.", f"brief.\n{prefix}") for prefix in (GOOD, BAD)),
}


@pytest.mark.parametrize("place", PREFIXED)
def test_the_prefix_stands_where_it_is_asked_for(place):
    task = MistakeTask(template="chat", decode_prefix="correct", prefix_in=place, loss_on="rationale")
    prompts = PREFIXED[place]
    assert tuple(task.prompt(SOLVED, polarity, SMOL) for polarity in (True, False)) == prompts
    assert task.prompt(SOLVED, None, SMOL) == prompts[0]
    assert shown(task, SOLVED) == [f"{prompts[0]}⟦so long{END}⟧", f"{prompts[1]}⟦what?{END}⟧"]
    task = dataclasses.replace(task, loss_on="prefix+rationale")
    right, wrong = (prompt.replace(prefix, f"⟦{prefix}⟧") for prompt, prefix in zip(prompts, (GOOD, BAD), strict=True))
    assert shown(task, SOLVED) == [f"{right}⟦so long{END}⟧", f"{wrong}⟦what?{END}⟧"]
    task = dataclasses.replace(task, loss_on="all")
    assert shown(task, SOLVED) == [f"⟦{prompts[0]}so long{END}⟧", f"⟦{prompts[1]}what?{END}⟧"]
    step = Problem("p", "hi", messages=CONTEXT, pairs=(Pair("Step 1: ", "a\n", "b\n", "step"),))
    task = dataclasses.replace(task, loss_on="rationale")
    assert shown(task, step) == [f"{prompts[0]}Step 1: ⟦a\n⟧", f"{prompts[1]}Step 1: ⟦b\n⟧"]


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("place", PREFIXED)
def test_training_and_sampling_read_the_same_prefix_in_every_family(family, place):
    tokenizer, problem = chat_tokenizer(family), Problem("p", "hi", right=("so long",), wrong=("what?",))
    task = MistakeTask(template="chat", decode_prefix="correct", prefix_in=place, loss_on="rationale")
    if (family, place) == ("gemma2", "system"):
        with pytest.raises(InputError, match="System role not supported"):
            task.prompt(problem, None, tokenizer)
        return
    for one, polarity in zip(task.render(problem, tokenizer), (True, False), strict=True):
        assert one.text[: one.prompt_end] == task.prompt(problem, polarity, tokenizer)
        assert one.text.count(GOOD if polarity else BAD) == 1


def test_a_prefix_without_a_system_message_makes_one_and_must_differ_from_a_text_template():
    task = MistakeTask(template="chat", decode_prefix="correct", prefix_in="system")
    assert task.prompt(Problem("p", "hi"), None, SMOL).startswith(f"<|im_start|>system\n{GOOD}{END}\n<|im_start|>user")
    both = dataclasses.replace(task, system="Be brief.")
    assert both.prompt(Problem("p", "hi"), None, SMOL).startswith(f"<|im_start|>system\nBe brief.\n{GOOD}{END}")
    with pytest.raises(InputError, match="'system' is for a chat alone"):
        MistakeTask(decode_prefix="correct", prefix_in="system")
    assert [one.content for one in task.turns(SOLVED, False)] == [f"Be brief.\n{BAD}", "hi", "yo", "bye"]
    with pytest.raises(InputError, match="which a chat server does not take"):
        dataclasses.replace(task, prefix_in="target").turns(SOLVED)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_question_alone_is_a_turn_of_the_user(task):
    """A problem with messages is rendered as its question is, where that is its only message."""
    bare = dataclasses.replace(SOLVED, messages=())
    assert shown(task, bare) == shown(task, dataclasses.replace(SOLVED, messages=(USER,)))
    assert "You are a small helper." in task.prompt(bare, None, SMOL)


@pytest.mark.parametrize("task", [CompletionTask(), PairTask(), MistakeTask(decode_prefix="correct")])
def test_a_context_in_a_template_of_text_is_refused(task):
    with pytest.raises(InputError, match="the context has 4 messages.*set data.task.template=chat"):
        task.render(SOLVED, SMOL)
    with pytest.raises(InputError, match="the context has tools"):
        task.prompt(Problem("p", "hi", tools=({"name": "f"},)))
    with pytest.raises(InputError, match="task.system='s' is for a chat alone"):
        dataclasses.replace(task, system="s")


def test_a_chat_task_has_no_other_template():
    with pytest.raises(InputError, match="the task chat has none; use the task completion"):
        ChatTask(template="{question}\n")
    with pytest.raises(InputError, match="needs a tokenizer with a chat template, got 'arithmetic'"):
        CompletionTask(template="chat").render(SOLVED, load_tokenizer("arithmetic"))
    with pytest.raises(InputError, match="or 'chat' for the tokenizer's chat template"):
        CompletionTask(template="chatml")


LOOP = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CALL = {"type": "function", "function": {"name": "sky", "arguments": {}}}


def family(template):
    return with_template(template, *SPECIAL["smollm2"])


NO_SYSTEM = LOOP.replace("in messages", "in messages if m.role != 'system'")
CALLING = (USER, Message("assistant", "yo", tool_calls=(CALL,)), USER)
THINKING = (USER, YO, BYE, Message("assistant", "a", reasoning_content="b"))


@pytest.mark.parametrize(
    ("template", "change", "says"),
    [
        (
            NO_SYSTEM,
            {},
            r"'content' of messages\[0\] \(system\): 'Be brief.'; put it into the first message of the user",
        ),
        (LOOP.replace("in messages", "in messages[-3:]"), {}, r"'content' of messages\[0\] \(system\)"),
        (LOOP.replace("m.content", "'' if loop.index == 3 else m.content"), {}, r"messages\[2\] \(assistant\): 'yo'"),
        (LOOP.replace("m.content", "m.content.split('!')[0]"), {"right": ("so! long",)}, r"'content' of messages\[4\]"),
        (LOOP, {"tools": (CALL,)}, "leaves out 'tools'; use a chat template with tools"),
        (LOOP, {"messages": CALLING}, r"'tool_calls' of messages\[1\]"),
        (
            LOOP,
            {"messages": THINKING, "right": (), "wrong": ()},
            r"'reasoning_content' of messages\[3\] \(assistant\): 'b'; use a chat template that keeps the thoughts",
        ),
    ],
)
def test_what_a_template_leaves_out_is_refused_by_name(template, change, says):
    with pytest.raises(InputError, match=says):
        CompletionTask(template="chat").render(dataclasses.replace(SOLVED, **change), family(template + ASK))


def test_the_place_of_a_text_that_is_left_out_is_named_and_its_record_skipped_where_asked(tmp_path):
    ignores = family(NO_SYSTEM + ASK)
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    records = [{"messages": turns}, {"id": "s", "messages": [{"role": "system", "content": "Be kind."}, *turns]}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    config = DataConfig(source=Jsonl(str(tmp_path / "a.jsonl")), task=ChatTask(), sequence_length=64)
    with pytest.raises(
        InputError, match=r"a.jsonl:2 \(id 's'\): .*leaves out 'content' of messages\[0\] \(system\): 'Be kind.'"
    ):
        make_batches(config, ignores, batch_size=1, seed=0)
    report = make_batches(dataclasses.replace(config, on_error="skip"), ignores, batch_size=1, seed=0).report
    assert (report.examples, report.counts.skipped) == (1, 1)
    ours = dataclasses.replace(config, task=ChatTask(system="Be kind."))
    with pytest.raises(InputError, match=r"a.jsonl:1: .*'content' of the system message of the task's settings"):
        make_batches(ours, ignores, batch_size=1, seed=0)
    with pytest.raises(InputError, match="leaves out 'content' of the system message"):
        ChatTask(system="Be kind.").prompt(Problem("", "hi"), None, ignores)


def notes(tokenizer, *problems, task=None):
    config = DataConfig(source=InMemory(problems), task=task or ChatTask(), sequence_length=256)
    return "\n".join(make_batches(config, tokenizer, batch_size=1, seed=0).report.notes)


def marking(inside, after=""):
    assistant = f"<|im_start|>assistant\n{{% generation %}}{inside}{{% endgeneration %}}{after}"
    other = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    choice = "{% if m.role == 'assistant' %}" + assistant + "{% else %}" + other + "{% endif %}"
    return family("{% for m in messages %}" + choice + "{% endfor %}" + ASK)


def test_generation_marks_agree_or_the_first_difference_is_reported():
    talk = Problem("p", "hi", messages=(USER, YO, BYE, YO))
    agree = marking("{{ m.content }}<|im_end|>", "\n")
    assert "marks" not in notes(agree, talk)
    assert "marks" not in notes(agree, talk, task=CompletionTask(template="chat"))
    wide = notes(marking("{{ m.content }}<|im_end|>\n"), talk, dataclasses.replace(talk, id="q"))
    assert "marks of the chat template differ from the targets, which are trained, in 2 examples; the first: " in wide
    assert "p: in turn 1 they mark 'yo<|im_end|>\\n', and the target is 'yo<|im_end|>'" in wide
    assert "they mark ''" not in wide
    assert "the target is 'yo<|im_end|>'" in notes(marking("{{ m.content }}", "<|im_end|>\n"), talk)


def test_names_that_a_template_does_not_show_are_noted_and_shifting_turns_too():
    talk = Problem("p", "hi", messages=(Message("user", "hi", name="ann"), YO, BYE, YO))
    assert "does not show the names of speakers that 1 examples have; the first in p" in notes(SMOL, talk)
    named = family(LOOP.replace("m.role }}", "m.role }}{{ ' ' + m.name if m.name }}") + ASK)
    assert "names" not in notes(named, talk)
    shifted = notes(chat_tokenizer("qwen3"), talk)
    assert "2 turns are sequences of their own, as at inference; the first in p" in shifted


THOUGHT = [Message("assistant", "<think>\nA\n</think>\n\nyo"), Message("assistant", "yo", reasoning_content="A")]


@pytest.mark.parametrize("thinking", THOUGHT, ids=["content", "reasoning_content"])
def test_thoughts_are_rendered_as_at_inference(thinking):
    """Only the turn that is trained has its thoughts; earlier ones are in the prompt without them."""
    talk = Problem("p", "hi", messages=(USER, thinking, BYE, thinking))
    ask = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n".format
    said = f"⟦<think>\nA\n</think>\n\nyo{END}⟧"
    qwen3 = chat_tokenizer("qwen3")
    assert shown(ChatTask(), talk, qwen3) == [f"{ask('hi')}{said}", f"{ask('hi')}yo{END}\n{ask('bye')}{said}"]
    assert shown(ChatTask(targets="last"), talk, qwen3) == [f"{ask('hi')}yo{END}\n{ask('bye')}{said}"]
    always = family(LOOP.replace("m.content", "m.content.split('</think>')[-1]") + ASK)
    with pytest.raises(InputError, match=r"'reasoning_content' of messages\[1\] \(assistant\): 'A'"):
        shown(ChatTask(), dataclasses.replace(talk, messages=(USER, thinking)), always)


def test_arguments_come_as_the_template_needs_them():
    calls = lambda arguments: (USER, Message("assistant", tool_calls=(with_arguments(arguments),)))
    calling = LOOP.replace("<|im_start|>", "{% set c = m.tool_calls[0].function if m.tool_calls %}<|im_start|>")
    text = calling.replace("m.content", "m.content or c.name + c.arguments")
    for given in ({"x": 1}, '{"x": 1}'):
        for tokenizer in (chat_tokenizer("qwen25"), family(text + ASK)):
            (rendered,) = shown(ChatTask(), Problem("p", "hi", messages=calls(given)), tokenizer)
            assert '{"x": 1}' in rendered
    with pytest.raises(InputError, match="arguments of the tool call 'sky' are not JSON .*needs an object"):
        shown(ChatTask(), Problem("p", "hi", messages=calls("{x")), chat_tokenizer("qwen25"))
    assert "sky{x" in shown(ChatTask(), Problem("p", "hi", messages=calls("{x")), family(text + ASK))[0]


def with_arguments(arguments):
    return {**CALL, "function": {"name": "sky", "arguments": arguments}}


def test_special_tokens_of_records_stay_text_in_every_part_of_a_message():
    forged = "<|im_end|>"
    call = with_arguments('{"a": "<\\u007cim_end|>"}')
    messages = (Message("user", f"u{forged}"), Message("assistant", tool_calls=(call,)))
    tools = ({"name": "f", "description": forged},)
    (one,) = ChatTask().render(Problem("p", "hi", messages=messages, tools=tools), chat_tokenizer("qwen25"))
    ids = chat_tokenizer("qwen25").encode(one.text).ids
    assert ids.count(chat_tokenizer("qwen25").end_id) == 3  # system with tools, user, assistant
    (trusted,) = ChatTask(special_tokens="control").render(
        Problem("p", "hi", messages=messages, tools=tools), chat_tokenizer("qwen25")
    )
    assert chat_tokenizer("qwen25").encode(trusted.text).ids.count(chat_tokenizer("qwen25").end_id) == 6


def test_a_conversation_may_begin_with_the_assistant():
    (one,) = shown(ChatTask(), Problem("p", "hi", messages=(YO, USER, YO)), family(LOOP + ASK))
    assert one == f"<|im_start|>assistant\n⟦yo{END}⟧\n<|im_start|>user\nhi{END}\n<|im_start|>assistant\n⟦yo{END}⟧"


def test_left_truncation_keeps_a_system_message_only_where_it_stands_first():
    talk = Problem("p", "hi", messages=(*CONTEXT, Message("assistant", "so long")))
    heads = {
        "smollm2": f"<|im_start|>system\nBe brief.{END}\n",
        "gemma3": "<bos><start_of_turn>user\nBe brief.",
        "mistral": "",
    }
    for name, head in heads.items():
        (one,) = ChatTask(targets="last").render(talk, chat_tokenizer(name))
        assert one.text[: one.head] == head
