"""Prompts that an encoder reads: closed by the end token, both sides tokenised apart, with a tokenizer like T5's."""

import json

import numpy as np
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.closing import closed, with_closed_prompts
from mtjax.data.example_batch import make_examples
from mtjax.data.examples import encode_prompt, make_example, shorten
from mtjax.data.problem import Message, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import ChatTask, CompletionTask, MistakeTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

WORDS = ["▁", "▁What", "▁is", "▁1", "▁2", "▁+", "?", "▁The", "▁sum", "▁3", ".", "[", "]", "▁X", "a", "b", "c", "1", "2"]
PLAIN = load_tokenizer("bytes")._replace(bos_id=None)
BYTES = with_closed_prompts(PLAIN)
END, STOP = BYTES.closing, BYTES.end_id
PROBLEM = Problem("p", "ab", right=("cd",), wrong=("ce",))


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """A folder as transformers saves T5's tokenizer: Unigram, white space collapsed, `</s>` behind every text."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    folder = tmp_path_factory.mktemp("t5")
    T5Tokenizer(vocab=special + [(word, -1.0 - len(word) / 9) for word in WORDS], extra_ids=2).save_pretrained(folder)
    return folder


def both(task, problem, tokenizer):
    """The examples of a problem, made alone and many at a time, which are equal."""
    rendered = task.render(problem, tokenizer)
    alone = [make_example(one, problem.id, tokenizer) for one in rendered]
    together = make_examples(rendered * 2, [problem.id] * 2 * len(rendered), tokenizer)
    for one, other in zip(alone * 2, together, strict=True):
        assert one._replace(tokens=0, weights=0) == other._replace(tokens=0, weights=0)
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.weights, other.weights)
    return alone


def test_the_end_token_stands_between_prompt_and_answer():
    right, wrong = both(CompletionTask(polarities="both"), PROBLEM, BYTES)
    assert right.tokens.tolist() == [*b"ab\n", STOP, *b"cd", STOP]
    assert right.weights.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert (right.prompt_tokens, right.misspelt) == (4, "")
    assert wrong.tokens.tolist() == [*b"ab\n", STOP, *b"ce", STOP]
    assert encode_prompt(BYTES, "ab\n") == right.tokens[:4].tolist()
    assert encode_prompt(BYTES, "") == [STOP]
    assert BYTES.decode(right.tokens) == f"ab\n{END}cd{END}"
    assert BYTES.identity != PLAIN.identity  # other examples, so other files in the cache
    assert with_closed_prompts(BYTES) is BYTES


def test_a_text_without_a_question_follows_an_empty_prompt():
    (example,) = both(CompletionTask(), Problem("p", "", right=("cd",)), BYTES)
    assert example.tokens.tolist() == [STOP, *b"cd", STOP]
    assert example.weights.tolist() == [0, 1, 1, 1]


def test_with_the_end_token_in_the_template_the_prefix_belongs_to_the_decoder():
    options = {"decode_prefix": "correct", "correct_prefix": "R", "incorrect_prefix": "W"}
    inside = MistakeTask(**options, loss_on="rationale")
    assert both(inside, PROBLEM, BYTES)[0].tokens.tolist() == [*b"ab\nR\n", STOP, *b"cd", STOP]
    target = MistakeTask(**options, loss_on="prefix+rationale", template=f"{{question}}{END}")
    right, wrong = both(target, PROBLEM, BYTES)
    assert right.tokens.tolist() == [*b"ab", STOP, *b"R\n", *b"cd", STOP]
    assert right.weights.tolist() == [0, 0, 0, 1, 0, 1, 1, 1]
    assert wrong.tokens.tolist() == [*b"ab", STOP, *b"W\n", *b"ce", STOP]
    assert encode_prompt(BYTES, target.prompt(PROBLEM, False, BYTES)) == wrong.tokens[:5].tolist()
    # An end token that a record holds is text.
    spelled = inside.render(Problem("p", f"a{END}", right=("cd",)), BYTES)
    assert (make_example(spelled[0], "p", BYTES).tokens == STOP).sum() == 2


@pytest.mark.parametrize(
    ("task", "problem", "message"),
    [
        (MistakeTask(decode_prefix="correct"), PROBLEM, r"'ab\\n.* is a target, but the encoder reads it"),
        (MistakeTask(decode_prefix="correct", loss_on="prefix+rationale"), PROBLEM, "set data.task.loss_on=rationale"),
        (CompletionTask(template=f"{END}{{question}}{END}"), PROBLEM, "2 times; expected once"),
    ],
)  # fmt: skip
def test_what_an_encoder_cannot_do_is_refused(task, problem, message):
    rendered = task.render(problem, BYTES)
    with pytest.raises(InputError, match=message):
        make_example(rendered[0], "p", BYTES)
    found = make_examples([rendered[0], *CompletionTask().render(PROBLEM, BYTES)], ["p", "q"], BYTES)
    assert isinstance(found[0], InputError)
    assert found[1].tokens.tolist() == [*b"ab\n", STOP, *b"cd", STOP]


def test_a_chat_of_one_turn_is_closed_and_earlier_turns_that_close_themselves_are_refused():
    turns = tuple(Message(("user", "assistant")[n % 2], "uvwx"[n]) for n in range(4))
    (example,) = both(ChatTask(), Problem("p", "", messages=turns[:2]), BYTES)
    assert BYTES.decode(example.tokens) == f"user: u\nassistant: {END}v{END}"
    for task in (ChatTask(), ChatTask(targets="last")):
        with pytest.raises(InputError, match=r"the chat template writes '<\|end\|>' into the prompt 'user: u"):
            task.render(Problem("p", "", messages=turns), BYTES)
        with pytest.raises(InputError, match="behind an earlier turn, where an encoder would stop to read"):
            task.prompt(Problem("p", "", messages=turns[:3], answer="x"), None, BYTES)


def test_steps_and_truncation_follow_the_end_token():
    rendered = CompletionTask().render(PROBLEM, BYTES)[0]._replace(steps=(3, 4))
    example = make_example(rendered, "p", BYTES)
    assert closed(rendered, BYTES).steps == (3 + len(END), 4 + len(END))
    assert example.per_token["step_ids"].tolist() == [0, 0, 0, 0, 1, 2, 2]
    (cut,) = shorten([example], 5, "left", None, STOP)
    assert cut.tokens.tolist() == [*b"\n", STOP, *b"cd", STOP]
    assert shorten([example], 3, "left", None, STOP) is None
    inside = CompletionTask(template=f"{{question}}{END}xyz").render(PROBLEM, BYTES)[0]
    example = make_example(inside, "p", BYTES)
    assert shorten([example], 7, "left", None, STOP)[0].tokens.tolist() == [STOP, *b"xyzcd", STOP]
    assert shorten([example], 6, "left", None, STOP) is None  # the end token would go


def test_t5_tokenises_prompt_and_answer_as_transformers_does(t5):
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(t5), with_closed_prompts(load_tokenizer(str(t5)))
    assert (ours.bos_id, ours.end_id, ours.pad_id, ours.closing) == (None, 1, 0, "</s>")
    problem = Problem("p", "What is 1 + 2?", right=("The sum is 3.",))
    (example,) = both(CompletionTask(), problem, ours)
    prompt, answer = theirs(problem.question).input_ids, theirs(text_target=problem.right[0]).input_ids
    assert example.tokens.tolist() == [*prompt, *answer]
    assert example.weights.tolist() == [0.0] * len(prompt) + [1.0] * len(answer)
    assert (example.misspelt, example.unknown) == ("", 0)
    assert encode_prompt(ours, problem.question) == prompt
    assert ours.decode(answer) == "The sum is 3.</s>"
    ours.save(t5 / "saved")
    again = AutoTokenizer.from_pretrained(t5 / "saved")
    assert again(problem.question).input_ids == prompt
    assert json.loads((t5 / "saved" / "tokenizer_config.json").read_text())["eos_token"] == "</s>"


def test_the_report_says_what_t5_cannot_hold(t5):
    ours = with_closed_prompts(load_tokenizer(str(t5)))
    problems = (Problem("p", "What is\n1 + 2?", right=("The  sum\nis 3.",)), Problem("q", "a b", right=("abc",)))
    data = DataConfig(source=InMemory(problems), task=CompletionTask(), sequence_length=16, cache_dir=None)
    made = make_batches(data, ours, batch_size=1, seed=0)
    (note,) = [note for note in made.report.notes if "cannot hold the targets" in note]
    assert "of 1 examples exactly" in note
    assert r"'The  sum\nis 3.' became 'The sum is 3.'" in note
    unknown = DataConfig(source=InMemory((Problem("p", "a", right=("z",)),)), task=CompletionTask(), cache_dir=None)
    with pytest.raises(InputError, match="max_unknown"):
        make_batches(unknown, ours, batch_size=1, seed=0)


def test_an_end_token_that_is_text_cannot_close_a_prompt():
    with pytest.raises(InputError, match="its end token 'a' is not a special token, so it cannot close the prompts"):
        with_closed_prompts(PLAIN._replace(end_id=97))
