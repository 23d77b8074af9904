"""Tasks by hand: the text, and exactly which of its characters count."""

import dataclasses

import pytest

from mtjax.data.examples import make_example
from mtjax.data.problem import Message, Problem
from mtjax.data.tasks import ChatTask, CompletionTask, base, choose_solutions, step_starts
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

PROBLEM = Problem("p", "1+1", answer="2", right=("2", "two"), wrong=("3", "4", "5"))


@pytest.fixture(scope="module")
def byte_tokenizer():
    return load_tokenizer("bytes")


def counted(rendered):
    """The characters that count, as one text."""
    return "".join(rendered.text[span.start : span.end] for span in rendered.spans if span.weight)


def test_a_completion_counts_and_its_prompt_does_not():
    two, word = CompletionTask(template=base.QUESTION_ANSWER).render(PROBLEM)
    assert two.text == "Question: 1+1\nAnswer:\n2"
    assert two.text[: two.prompt_end] == "Question: 1+1\nAnswer:\n"
    assert counted(two) == "2"
    assert counted(word) == "two"
    assert two.ends
    assert (two.name, word.name) == ("right/0", "right/1")


def test_both_polarities_are_rendered_alike_and_marked():
    rendered = CompletionTask(polarities="both").render(PROBLEM)
    assert [each.text for each in rendered] == ["1+1\n2", "1+1\ntwo", "1+1\n3", "1+1\n4", "1+1\n5"]
    assert [each.extras["polarity"] for each in rendered] == [1, 1, 0, 0, 0]


def test_white_space_is_kept_unless_cut():
    problem = Problem("p", " q \n", right=(" a\n",))
    assert CompletionTask(strip=True).render(problem)[0].text == "q\na"
    assert CompletionTask(template="{question}").render(problem)[0].text == " q \n a\n"


def test_braces_in_questions_and_templates_are_plain_text():
    task = CompletionTask(template="\\boxed{?} {question}\n")
    assert task.prompt(Problem("p", "{x} {question}")) == "\\boxed{?} {x} {question}\n"


@pytest.mark.parametrize("template", ["no slot\n", "{question} {question}\n"])
def test_a_template_without_its_slot_is_refused(template):
    with pytest.raises(InputError, match="exactly once"):
        CompletionTask(template=template)


@pytest.mark.parametrize(("ratio", "wrong"), [(None, 3), (0.0, 0), (0.5, 1), (1.0, 2), (9.0, 3)])
def test_the_ratio_of_wrong_to_right(ratio, wrong):
    # Two right ones: a ratio of .5 asks for 1 wrong one, 1 for 2, 9 for 18, of which there are 3.
    chosen = choose_solutions(PROBLEM, ratio)
    assert sum(right for _, _, right in chosen) == 2
    assert sum(not right for _, _, right in chosen) == wrong
    assert chosen == choose_solutions(dataclasses.replace(PROBLEM, source="elsewhere"), ratio)


def test_a_fraction_is_kept_on_average_and_choices_differ_between_problems():
    problems = [Problem(f"p{number}", "q", right=("r",), wrong=("a", "b")) for number in range(400)]
    chosen = [[text for _, text, right in choose_solutions(problem, 0.25) if not right] for problem in problems]
    # 400 draws at .25: 100 expected, standard deviation sqrt(400 * .25 * .75) = 8.7.
    assert 65 < sum(map(len, chosen)) < 135
    assert {"a", "b"} == {text for texts in chosen for text in texts}


def test_a_negative_ratio_is_refused():
    with pytest.raises(InputError, match="wrong_per_right=-1"):
        choose_solutions(PROBLEM, -1.0)


CHAT = Problem(
    "c",
    "hi",
    messages=(
        Message("user", "hi"),
        Message("assistant", "yo"),
        Message("user", "bye"),
        Message("assistant", "so long"),
        Message("user", "left over"),
    ),
)


def test_every_assistant_turn_counts_up_to_its_closing_token(byte_tokenizer):
    (rendered,) = ChatTask().render(CHAT, byte_tokenizer)
    closing = byte_tokenizer.decode([byte_tokenizer.end_id])
    first, second = rendered.spans
    assert rendered.text[first.start : first.end] == "yo" + closing
    assert rendered.text[second.start : second.end] == "so long" + closing
    assert rendered.text.endswith("so long" + closing)
    assert not rendered.ends


def test_the_closing_tokens_of_all_turns_carry_weight(byte_tokenizer):
    (rendered,) = ChatTask().render(CHAT, byte_tokenizer)
    example = make_example(rendered, "c", byte_tokenizer)
    closers = example.weights[example.tokens == byte_tokenizer.end_id]
    # One per assistant turn; user turns may be closed by the same token, without weight.
    assert closers.sum() == 2
    assert example.weights[-1] == 1
    assert example.tokens[-1] == byte_tokenizer.end_id
    # "yo" and "so long" and their closing tokens: 3 + 8 tokens.
    assert example.weights.sum() == 11


def test_a_chat_prompt_is_what_stands_before_the_last_answer(byte_tokenizer):
    (rendered,) = ChatTask(system="Be brief.").render(CHAT, byte_tokenizer)
    prompt = ChatTask(system="Be brief.").prompt(CHAT, tokenizer=byte_tokenizer)
    assert rendered.text.startswith(prompt + "so long")
    assert "Be brief." in prompt


def test_a_question_with_solutions_is_a_chat_of_one_turn(byte_tokenizer):
    rendered = ChatTask().render(PROBLEM, byte_tokenizer)
    assert [each.name for each in rendered] == ["right/0", "right/1"]
    assert all("1+1" not in counted(each) for each in rendered)
    assert ChatTask().render(Problem("p", "only a question"), byte_tokenizer) == []
    assert "only a question" in ChatTask().prompt(Problem("p", "only a question"), tokenizer=byte_tokenizer)


def test_a_chat_without_template_is_refused():
    with pytest.raises(InputError, match="chat template"):
        ChatTask().render(CHAT, load_tokenizer("arithmetic"))
    with pytest.raises(InputError, match="chat template"):
        ChatTask().render(CHAT)


def test_steps_are_numbered_token_by_token():
    # Begin token and "q\n" are in front of the first step; headers open steps; the end token belongs to the last one.
    problem = Problem("p", "q", right=("Step 1: a\nb\nStep 2: c\nAnswer: d",))
    rendered = CompletionTask(template="{question}\n", steps=True).render(problem)[0]
    assert rendered.steps == (2, 14, 24)
    example = make_example(rendered, "p", load_tokenizer("bytes"))
    assert example.per_token["step_ids"].tolist() == [0, 0, 0] + [1] * 12 + [2] * 10 + [3] * 9 + [3]
    # Without headers each line is a step.
    assert step_starts("q\nfirst\n\nsecond\n", 2) == (2, 9)


def test_success_rates_travel_with_the_example_and_must_be_known():
    task = CompletionTask(success_rate=True)
    assert task.render(Problem("p", "q", right=("a",), success_rate=0.25))[0].extras["success_rate"] == 0.25
    with pytest.raises(InputError, match="no success rate; sample it"):
        task.render(Problem("p", "q", right=("a",)))
