"""The mistake task by hand: where the prefix stands, what each `loss_on` counts, and what decoding sees."""

import numpy as np
import pytest

from mtjax.data.examples import check_boundary, encode_prompt, make_example
from mtjax.data.problem import Problem
from mtjax.data.sources.gsm8k import Gsm8kSolutions
from mtjax.data.tasks import MistakeTask
from mtjax.data.tasks.base import CHATML, PLAIN, QUESTION_ANSWER
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError

PROBLEM = Problem("p", "Q?", right=("ab",), wrong=("xyz",))
SHORT = {"correct_prefix": "[R]", "incorrect_prefix": "[W]", "decode_prefix": "correct"}


@pytest.fixture(scope="module")
def byte_tokenizer():
    return load_tokenizer("bytes")


def examples(task, tokenizer, problem=PROBLEM):
    return [make_example(rendered, problem.id, tokenizer) for rendered in task.render(problem, tokenizer)]


# The text is "Q?\n[R]\nab" and the end token: positions 0-2 question, 3-5 prefix, 6 line break, 7-8 rationale, 9 end.
# (A begin token, where the tokenizer has one, stands in front and never counts.)
MASKS = {
    "all": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    "prefix+rationale": [0, 0, 0, 1, 1, 1, 0, 1, 1, 1],
    "rationale": [0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
}


@pytest.mark.parametrize("loss_on", MASKS)
@pytest.mark.parametrize("prefix_in", ["prompt", "target"])
def test_each_loss_on_counts_exactly_the_stated_tokens(loss_on, prefix_in, byte_tokenizer):
    right, wrong = examples(MistakeTask(loss_on=loss_on, prefix_in=prefix_in, **SHORT), byte_tokenizer)
    begin = [0] if byte_tokenizer.bos_id is not None else []
    assert right.weights.tolist() == begin + MASKS[loss_on]
    # "xyz" is one longer than "ab".
    assert wrong.weights.tolist() == begin + MASKS[loss_on] + [1]
    assert right.tokens[-1] == wrong.tokens[-1] == byte_tokenizer.end_id
    assert (right.extras["polarity"], wrong.extras["polarity"]) == (1, 0)
    assert byte_tokenizer.decode(right.tokens[len(begin) : -1].tolist()) == "Q?\n[R]\nab"
    assert byte_tokenizer.decode(wrong.tokens[len(begin) : -1].tolist()) == "Q?\n[W]\nxyz"


def test_the_prefix_stands_behind_the_question_or_before_the_rationale():
    prompt = MistakeTask(prefix_in="prompt", template=QUESTION_ANSWER, **SHORT).prompt(PROBLEM)
    target = MistakeTask(prefix_in="target", template=QUESTION_ANSWER, **SHORT).prompt(PROBLEM)
    assert prompt == "Question: Q?\n[R]\nAnswer:\n"
    assert target == "Question: Q?\nAnswer:\n[R]\n"


def test_the_prefix_counts_wherever_it_stands():
    for prefix_in in ("prompt", "target"):
        task = MistakeTask(prefix_in=prefix_in, template=QUESTION_ANSWER, loss_on="prefix+rationale", **SHORT)
        right, wrong = task.render(PROBLEM)
        assert [right.text[span.start : span.end] for span in right.spans] == ["[R]", "ab"]
        assert [wrong.text[span.start : span.end] for span in wrong.spans] == ["[W]", "xyz"]


def test_the_decode_prefix_is_required_and_used():
    with pytest.raises(TypeError, match="decode_prefix"):
        MistakeTask()
    for chosen, prefix in (("correct", "[R]"), ("incorrect", "[W]")):
        task = MistakeTask(**{**SHORT, "decode_prefix": chosen})
        assert task.prompt(PROBLEM) == f"Q?\n{prefix}\n"
        assert task.prompt(PROBLEM, True) == "Q?\n[R]\n"
        assert task.prompt(PROBLEM, False) == "Q?\n[W]\n"


@pytest.mark.parametrize("pair", [("[R]", "[R]"), ("", "[W]"), ("[R]", "")])
def test_prefixes_must_tell_right_from_wrong(pair):
    with pytest.raises(InputError, match="two different texts"):
        MistakeTask(correct_prefix=pair[0], incorrect_prefix=pair[1], decode_prefix="correct")


@pytest.mark.parametrize(
    ("name", "template"),
    [("arithmetic", PLAIN)]  # it holds no words for the others
    + [(name, template) for name in ("bytes", "smollm2") for template in (PLAIN, QUESTION_ANSWER, CHATML)],
)
@pytest.mark.parametrize("prefix_in", ["prompt", "target"])
def test_the_prompt_has_the_ids_it_has_in_training(name, template, prefix_in):
    tokenizer = load_tokenizer(name)
    problem = Problem("p", "1+2-3", right=("Step 1: 1+2=3",), wrong=("Step 1: 1+2=4",))
    task = MistakeTask(decode_prefix="correct", template=template, prefix_in=prefix_in)
    for example, polarity in zip(examples(task, tokenizer, problem), (True, False), strict=True):
        ids = encode_prompt(tokenizer, task.prompt(problem, polarity))
        assert example.tokens[: len(ids)].tolist() == ids
        assert example.prompt_tokens == len(ids)
        assert example.weights[len(ids) :].all()


def test_the_default_prefixes_are_one_token_each_in_the_arithmetic_vocabulary():
    tokenizer = load_tokenizer("arithmetic")
    problem = Problem("p", "1+2", right=("3",), wrong=("4",))
    right, wrong = examples(MistakeTask(decode_prefix="correct", loss_on="prefix+rationale"), tokenizer, problem)
    # 1 + 2 newline prefix newline 3 end
    assert len(right.tokens) == len(wrong.tokens) == 8
    assert np.flatnonzero(right.tokens != wrong.tokens).tolist() == [4, 6]
    assert right.weights.tolist() == [0, 0, 0, 0, 1, 0, 1, 1]


def test_real_mistakes_of_real_models(shared_data):
    """GSM8K solutions in SmolLM2's chat format: prompts decode from the ids of training, and the end is trained."""
    tokenizer = load_tokenizer("smollm2")
    source = Gsm8kSolutions(str(next(shared_data.rglob("example_model_solutions.jsonl"))))
    for loss_on in ("all", "rationale"):
        task = MistakeTask(decode_prefix="correct", template=CHATML, loss_on=loss_on, wrong_per_right=1.0)
        for problem in source.problems().items[:100]:
            for rendered in task.render(problem):
                example = make_example(rendered, problem.id, tokenizer)
                check_boundary(rendered, example, tokenizer)
                assert example.tokens[-1] == tokenizer.end_id
                targets = example.weights[example.prompt_tokens :]
                assert targets.all()
                assert loss_on == "all" or example.weights.sum() == len(targets)
