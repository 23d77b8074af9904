"""Prompts, stop texts and chat templates of a run, against what its task renders in training."""

import pytest

from mtjax.data.problem import Message, Problem
from mtjax.data.tasks import QUESTION_ANSWER, ChatTask, CompletionTask, MistakeTask, PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoding import Decoding
from tests.chat_templates import chat_tokenizer

BYTES, ARITHMETIC = load_tokenizer("bytes"), load_tokenizer("arithmetic")
MISTAKE = MistakeTask(decode_prefix="correct", template=QUESTION_ANSWER)
IN_CHAT = [
    MistakeTask(decode_prefix="correct", template="chat", prefix_in=place, system=system)
    for place in ("target", "prompt", "system")
    for system in ("", "be brief")
]
QUESTIONS = ["1+1", 'say "hi" in {braces} and \\LaTeX{}\nwith two lines', "Grüße, 今日は 😀 {{ x }} {% y %}"]


def test_a_model_that_is_no_run_is_asked_in_its_chat_template_or_as_it_stands():
    assert Decoding(BYTES).prompt("hi") == "user: hi\nassistant: "
    assert Decoding(BYTES).prompt("hi", raw=True) == "hi"
    assert Decoding(ARITHMETIC).prompt("1+1") == "1+1"
    with pytest.raises(InputError, match="only the run of a mistake task has prefixes"):
        Decoding(BYTES).prompt("hi", "right")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "task",
    [
        CompletionTask(), CompletionTask(template=QUESTION_ANSWER), PairTask(template="<< {question} >>"),
        ChatTask(), ChatTask(system='be "brief"'), MISTAKE,
        MistakeTask(decode_prefix="incorrect", template="Q: {question}\nA:\n", prefix_in="prompt"),
        PairTask(template="chat", system="be brief"), CompletionTask(template="chat", strip=True), *IN_CHAT,
    ],
)  # fmt: skip
def test_a_run_reads_what_stands_before_the_answer_in_training(task, question):
    """For any task, the prompt is `text[:prompt_end]` of a rendering, and the exported chat template renders it too."""
    problem = Problem("p", question, right=("2",), wrong=("3",))
    before = {one.text[: one.prompt_end] for one in task.render(problem, BYTES)}
    decoding = Decoding(BYTES, task)
    assert decoding.prompt(question) in before
    assert {decoding.prompt(question, name) for name in task.prefixes} >= before
    turn = ({"role": "user", "content": question},)
    assert rendered(decoding, turn).removeprefix("<|bos|>") == decoding.prompt(question)


def rendered(decoding, messages):
    """The conversation in the exported template, as transformers renders it from the exported folder."""
    import tempfile

    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        decoding.with_template().save(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)


def test_the_exported_template_ends_answers_and_refuses_other_roles():
    turns = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "3"}]
    expected = "<|bos|>Question: 1\nAnswer:\n[CORRECT RATIONALE]\n2<|end|>Question: 3\nAnswer:\n[CORRECT RATIONALE]\n"
    assert rendered(Decoding(BYTES, MISTAKE), turns) == expected
    with pytest.raises(Exception, match="had no messages of the role system"):
        rendered(Decoding(BYTES, MISTAKE), [{"role": "system", "content": "x"}, *turns])


def test_an_exported_chat_run_opens_with_its_own_system_message_unless_there_is_one():
    decoding = Decoding(BYTES, ChatTask(system="be brief"))
    user, other = {"role": "user", "content": "hi"}, {"role": "system", "content": "other"}
    assert rendered(decoding, [user]) == "<|bos|>system: be brief\nuser: hi\nassistant: "  # as in training
    shown = BYTES.render_chat((Message(**other), Message(**user)), True)
    assert rendered(decoding, [other, user]) == f"<|bos|>{shown}"


@pytest.mark.parametrize("family", ["smollm2", "llama3", "qwen3", "mistral", "gemma3"])
@pytest.mark.parametrize("task", IN_CHAT)
def test_an_exported_chat_with_a_prefix_renders_a_conversation_as_training_does(task, family):
    tokenizer = chat_tokenizer(family)
    turns = [Message("user", "1"), Message("assistant", "2"), Message("user", "3")]
    for messages in (turns[:1], turns, [Message("system", "other"), *turns]):
        problem = Problem("p", "1", right=("4",), messages=tuple(messages))
        (trained,) = task.render(problem, tokenizer)
        shown = rendered(Decoding(tokenizer, task), [{"role": m.role, "content": m.content} for m in messages])
        assert shown == trained.text[: trained.prompt_end] == task.prompt(problem, None, tokenizer)


def test_a_task_of_ones_own_that_does_not_hold_the_question_has_no_template():
    class Loud(CompletionTask):
        def prompt(self, problem, polarity=None, tokenizer=None):
            return problem.question.lower() + "!"

    assert Decoding(ARITHMETIC, Loud()).chat_template() is None
    assert "prompts of its own kind" in Decoding(ARITHMETIC, Loud()).reads()
    assert "(a prompt of the task's own)" in Decoding(ARITHMETIC, Loud()).card()


def test_what_is_said_of_a_prefix():
    decoding = Decoding(BYTES, MISTAKE)
    shown = r"'Question: {prompt}\nAnswer:\n[CORRECT RATIONALE]\n' (task mistake)"
    assert decoding.reads() == f"the model reads {shown}"
    assert decoding.other_prefixes() == ["wrong"]
    assert decoding.other_prefixes("wrong") == ["right"]
    assert Decoding(BYTES, CompletionTask()).other_prefixes() == []
    with pytest.raises(InputError, match="did you mean 'right'"):
        decoding.prompt("1+1", "rigth")
    raw = "Question: 1+1\nAnswer:\n"
    assert r"does not end in 'Answer:\n[CORRECT RATIONALE]' or" in decoding.warnings(raw, raw=True)[0]
    assert decoding.warnings(raw + "[INCORRECT RATIONALE]\n", raw=True) == []
    assert "is added again" in decoding.warnings(raw + "[CORRECT RATIONALE]", raw=False)[0]
    assert decoding.warnings("1+1", raw=False) == []


def test_stop_texts_of_a_run_hold_unless_others_are_asked_for():
    decoding = Decoding(BYTES, CompletionTask(), stop=("\n\n",))
    assert decoding.sampling(SamplingConfig()).stop == ("\n\n",)
    assert decoding.sampling(SamplingConfig(stop=("X",))).stop == ("X",)
