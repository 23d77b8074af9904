"""Grading and evaluating a policy that says what the test wrote down."""

import numpy as np
import pytest

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import Evaluation, evaluate_policy, metrics
from mtjax.evaluation.grading import check_gold, grade
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.sampler import Sample
from tests.evaluation.scripted import bigram_model, script

pytestmark = pytest.mark.usefixtures("one_device")

PROBLEMS = [Problem("a", "3 + 4 =", "7"), Problem("b", "2 + 1 =", "3"), Problem("c", "4 + 3 =", right=("Answer: 7",))]


def graded(texts, golds):
    problems = [Problem(f"p{number}", "?", gold) for number, gold in enumerate(golds)]
    return grade([[Sample(text) for text in row] for row in texts], problems)


def test_grading_by_hand():
    found = graded(
        [["#### 1,000", "Answer: 1000.0", "no idea at\nall"], ["Answer: 3 hours 20 minutes", "cat", "Cat"]],
        ["1000", "200"],
    )
    assert found.verdicts[0] == [Verdict.RIGHT, Verdict.RIGHT, Verdict.UNKNOWN]
    assert found.verdicts[1] == [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.UNKNOWN]
    assert found.answers[0] == ["1,000", "1000.0", None]
    assert found.votes[0][0] == found.votes[0][1]  # one number, two spellings
    assert found.votes[1][1] == found.votes[1][2] == "cat"
    assert found.right.tolist() == [[True, True, False], [False, False, False]]
    assert found.unknown.tolist() == [[False, False, True], [True, True, True]]
    assert found.without_answer.sum() == 1


def test_gold_answers_are_given_or_found_and_one_that_is_not_is_named():
    assert check_gold(PROBLEMS) == ["7", "3", "7"]
    with pytest.raises(InputError, match="problem d has no answer"):
        check_gold([*PROBLEMS, Problem("d", "1 + 1 =")])
    with pytest.raises(InputError, match="2 problems were sampled and 1"):
        graded([["1"], ["2"]], ["1"])


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("arithmetic")


def evaluate(model, params, tokenizer, sampling, problems=PROBLEMS, **options):
    return evaluate_policy(model, params, tokenizer, problems, CompletionTask(), sampling, rows=8, **options)


def test_a_model_that_always_says_seven(tokenizer):
    model, params = bigram_model(tokenizer.vocab_size), script(tokenizer, "Answer: 7")
    sampling = SamplingConfig(max_new_tokens=8, samples=4)
    found = evaluate(model, params, tokenizer, sampling)
    assert found.sampled.texts == [["Answer: 7"] * 4] * 3
    assert found.per_problem.tolist() == [1, 0, 1]
    assert not found.sampled.cut.any()
    numbers = metrics(found, (1, 2, 4))
    assert set(numbers) == {"greedy", *(f"{n}@{k}" for n in ("pass", "maj") for k in (1, 2, 4)), "unknown",
                            "without_answer", "cut"}  # fmt: skip
    assert numbers["greedy"].mean == numbers["pass@4"].mean == numbers["maj@4"].mean == pytest.approx(2 / 3)
    assert numbers["cut"].mean == numbers["unknown"].mean == 0
    short = evaluate(model, params, tokenizer, SamplingConfig(max_new_tokens=1, samples=4), needs=["samples"])
    assert metrics(short)["cut"].mean == 1
    assert "greedy" not in metrics(short)


def test_further_parameters_compile_nothing_and_arms_meet_the_same_noise(tokenizer):
    traced = []
    plain = bigram_model(tokenizer.vocab_size)

    def decode(*arguments):
        traced.append(1)
        return plain.decode(*arguments)

    model = plain._replace(decode=decode)
    sampling = SamplingConfig(max_new_tokens=8, samples=16)
    even = script(tokenizer, "Answer: 7", "Answer: 3", shares=(0.5, 0.5))
    first = evaluate(model, even, tokenizer, sampling, seed=1)
    before = len(traced)
    again = evaluate(model, even, tokenizer, sampling, seed=1)
    skewed = script(tokenizer, "Answer: 7", "Answer: 3", shares=(0.8, 0.2))
    arm = evaluate(model, skewed, tokenizer, sampling, seed=1)
    assert len(traced) == before
    assert again.sampled.texts == first.sampled.texts
    assert evaluate(model, even, tokenizer, sampling, seed=2).sampled.texts != first.sampled.texts
    said = lambda found: np.array([[text == "Answer: 7" for text in row] for row in found.sampled.texts])
    assert 0.2 < said(first).mean() < 0.8
    # Common random numbers (Gumbel noise per token): raising the odds of 7 never turns a 7 into something else.
    assert (said(arm) >= said(first)).all()
    assert said(arm).sum() > said(first).sum()


def test_unknown_is_reported_and_bounds_pass_at_1():
    found = graded([["Answer: 3 hours 20 minutes", "Answer: 200"]], ["200"])
    numbers = metrics(Evaluation(["a"], ["200"], found), (1,))
    assert numbers["unknown"].mean == 0.5
    assert numbers["pass@1"].mean == 0.5
    assert numbers["pass@1_if_unknown_right"].mean == 1


def test_refuses(tokenizer):
    model, params = bigram_model(tokenizer.vocab_size), script(tokenizer, "Answer: 7")
    with pytest.raises(InputError, match="no problems"):
        evaluate(model, params, tokenizer, SamplingConfig(max_new_tokens=2), problems=[])
    with pytest.raises(InputError, match="max_new_tokens=64"):
        evaluate(model, params, tokenizer, SamplingConfig(max_new_tokens=64))
