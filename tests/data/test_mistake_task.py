"""The mistake task by hand: where the prefix stands, what each `loss_on` counts, and what decoding sees."""

import dataclasses

import numpy as np
import pytest

from mtjax.data.examples import check_boundary, encode_prompt, make_example
from mtjax.data.index import Fit, build_index, join_indices
from mtjax.data.mistake_record import Mistake, to_lines
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.gsm8k import Gsm8kSolutions
from mtjax.data.sources.mistakes import Mistakes
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


STEPS = "Step 1: 1 + 2 = 3\n"
INJECTED = Mistake(
    id="m", kind="step", problem_id="p", question="1 + 2 + 3?", answer="6", prefix=STEPS, right_step="3 + 3 = 6",
    right_rest="\n#### 6", wrong_step="3 + 5 = 8", wrong_rest="\n#### 8", wrong_answer="8", verdict="proved",
)  # fmt: skip


def records(tmp_path, *mistakes):
    path = tmp_path / "mistakes.jsonl"
    path.write_text(to_lines(mistakes))
    return str(path)


def test_a_preference_pair_is_a_right_and_a_wrong_rationale(byte_tokenizer):
    problem = Problem("p", "Q?", pairs=(Pair("", "ab", "xyz"), Pair("", "ab", "uvw")))
    task = MistakeTask(**SHORT)
    rendered = task.render(problem)
    assert [(one.name, one.text, one.extras, one.ends) for one in rendered] == [
        ("chosen/0", "Q?\n[R]\nab", {"polarity": 1.0}, True),  # once, although two pairs have it
        ("rejected/0", "Q?\n[W]\nxyz", {"polarity": 0.0}, True),
        ("rejected/1", "Q?\n[W]\nuvw", {"polarity": 0.0}, True),
    ]
    with_solutions = Problem("p", "Q?", right=("ab",), wrong=("xyz",))
    assert [one.text for one in rendered[:2]] == [one.text for one in task.render(with_solutions)]
    one_each = dataclasses.replace(task, wrong_per_right=1.0).render(problem)
    assert [one.extras["polarity"] for one in one_each] == [1.0, 0.0]


def test_an_injected_mistake_is_trained_step_by_step(tmp_path, byte_tokenizer):
    (problem,) = Mistakes(records(tmp_path, INJECTED)).problems().items
    for loss_on, trained in (("rationale", "3 + 5 = 8"), ("prefix+rationale", "[W]3 + 5 = 8")):
        task = MistakeTask(loss_on=loss_on, **SHORT)
        right, wrong = task.render(problem)
        assert right.text == f"1 + 2 + 3?\n[R]\n{STEPS}3 + 3 = 6"
        assert wrong.text == f"1 + 2 + 3?\n[W]\n{STEPS}3 + 5 = 8"
        assert "".join(wrong.text[span.start : span.end] for span in wrong.spans) == trained
        assert wrong.text[: wrong.prompt_end].endswith(STEPS)
        assert (right.ends, task.ends(wrong.extras)) == (False, False)  # the solution goes on
        example = make_example(wrong, "p", byte_tokenizer)
        check_boundary(wrong, example, byte_tokenizer)
        assert example.tokens[-1] != byte_tokenizer.end_id


def test_an_injected_mistake_is_trained_whole(tmp_path):
    last = dataclasses.replace(INJECTED, id="l", prefix=STEPS + "3 + 3 = 6\n#### ", right_step="6", right_rest="",
                               wrong_step="9", wrong_rest="", wrong_answer="9")  # fmt: skip
    unknown = dataclasses.replace(INJECTED, id="u", wrong_step="3 + 4 = 7", wrong_rest="", wrong_answer="")
    solution = dataclasses.replace(INJECTED, id="s", kind="solution", prefix="", right_rest="", wrong_rest="",
                                   right_step=INJECTED.right_solution, wrong_step=INJECTED.wrong_solution)  # fmt: skip
    found = Mistakes(records(tmp_path, INJECTED, last, unknown, solution), kinds="whole").problems()
    assert "1 steps left out whose wrong solution is not known to its end" in found.notes[0]
    rendered = MistakeTask(**SHORT).render(found.items[0])
    assert [(one.name, one.text.partition("]\n")[2], one.ends) for one in rendered] == [
        ("chosen/0", f"{STEPS}3 + 3 = 6\n#### 6", True),
        ("rejected/0", f"{STEPS}3 + 5 = 8\n#### 8", True),  # the step and the solution record of it are one
        ("rejected/1", f"{STEPS}3 + 3 = 6\n#### 9", True),
    ]
    assert len(Mistakes(records(tmp_path, INJECTED, solution)).problems().items[0].pairs) == 2


@pytest.mark.parametrize("order", [1, -1])
def test_whole_solutions_and_steps_in_one_file(tmp_path, byte_tokenizer, order):
    """The number that marks a step is 0 for whole solutions, whichever comes first; files of these alone have none."""
    whole = dataclasses.replace(INJECTED, id="s", kind="solution", problem_id="q", question="4?", prefix="",
                                right_rest="", wrong_rest="")  # fmt: skip
    fit, task = Fit(64, "drop", "raise"), MistakeTask(**SHORT)
    kinds = []
    for mistakes in ([INJECTED, whole][::order], [whole]):
        index = build_index(Mistakes(records(tmp_path, *mistakes)), "raise", task, byte_tokenizer, fit, None)
        kinds.append(index.per_sequence.get("kind"))
    assert kinds[0].tolist() == [1, 1, 0, 0][::order]
    assert kinds[1] is None
    joined = join_indices([index, index])
    assert np.asarray(joined.per_sequence["polarity"]).tolist() == [1, 0, 1, 0]
