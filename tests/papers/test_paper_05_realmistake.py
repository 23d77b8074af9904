"""Paper 5, ReaLMistake (arXiv 2404.03602): the reader, and detection scores of a known confusion matrix."""

import json

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.data.sources.error_detection import ErrorDetection
from mtjax.data.sources.realmistake import RealMistake
from mtjax.errors import InputError
from mtjax.evaluation.detection import Detector, constants
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import METRICS, Choice, Evaluation
from mtjax.sampling.sampler import Sample

KEYS = {"human_explanation": "made", "metadata": {"llm_response_model": "gpt-4-0613"}}
RECORDS = [
    {"input": "Write 7.", "llm_response": "7", "label": "no_error", "error_categories": [], **KEYS},
    {"input": "Write 8.", "llm_response": "9", "label": "error", "error_categories": ["Instruction-Following"], **KEYS},
    {
        "input": "What is 2 + 2?", "llm_response": "It is 5.", "label": "error", **KEYS,
        "error_categories": ["Reasoning Correctness", "Parameterized Knowledge"],
    },
]  # fmt: skip


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "data" / "math_word_problem_generation"
    folder.mkdir(parents=True)
    path = folder / "gpt-4-0613.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return path


def test_the_reader(file):
    first, second, third = RealMistake(str(file)).problems().items
    assert (first.right, first.wrong) == (("7",), ())
    assert (second.right, second.wrong) == ((), ("9",))
    assert first.source == "math_word_problem_generation:gpt-4-0613"
    assert third.source.partition("/")[2] == "Reasoning Correctness+Parameterized Knowledge"
    renamed = {**RECORDS[1], "error_label": "error"}  # as the authors' code and the copy on Hugging Face call it
    del renamed["label"]
    renamed["metadata"] = {  # of a published output of a detector, without the id
        "task_name": "answerability_classification", "task_source": "hotpotqa", "dataset": "realmistake",
        "llm_response_model": "meta-llama/Llama-2-70b-chat-hf", "difficulty": "difficult",
    }  # fmt: skip
    file.write_text(json.dumps(renamed) + "\n")
    (other,) = RealMistake(str(file)).problems().items
    assert other.wrong == ("9",)
    assert other.source == "answerability_classification:meta-llama_Llama-2-70b-chat-hf/Instruction-Following"
    file.write_text(json.dumps({**RECORDS[1], "label": "wrong"}) + "\n")
    with pytest.raises(InputError, match="'label' is 'wrong'; expected 'error' or 'no_error'"):
        RealMistake(str(file)).problems()


def evaluated(file, reply):
    """What a detector that replies `reply(problem)` gets."""
    problems = list(ErrorDetection(str(file)).problems().items)
    assert len(problems) == 12  # three responses, two wordings times two orders
    best = grade([[Sample(reply(problem))] for problem in problems], problems)
    found = Evaluation(
        [one.id for one in problems], [one.answer for one in problems], greedy=best,
        sources=[one.source for one in problems],
    )  # fmt: skip
    return {name: value.mean for name, value in metrics(found, names=["error_detection"]).items()}


def letter(problem, error):
    """The reply that says whether there is an error, in the order of the options."""
    says = "There is an error." if error else "There is no error."
    return f"Answer: {'AB'[problem.options.index(says)]}"


def test_a_perfect_detector_and_the_constants_that_stand_beside_it(file):
    found = evaluated(file, lambda problem: f"Answer: {problem.answer}")
    assert [found[f"error_{name}"] for name in ("precision", "recall", "f1")] == [1, 1, 1]
    assert found["error_rate"] == pytest.approx(2 / 3)
    assert found["f1_always_error"] == pytest.approx(0.8)
    assert found["error_recall/Reasoning Correctness"] == 1
    always = evaluated(file, lambda problem: letter(problem, True))
    assert always["error_f1"] == pytest.approx(found["f1_always_error"])


def test_a_detector_that_never_says_error_has_recall_0_without_division_errors(file):
    found = evaluated(file, lambda problem: letter(problem, False))
    assert [found[f"error_{name}"] for name in ("precision", "recall", "f1")] == [0, 0, 0]
    assert found["detection_accuracy"] == pytest.approx(1 / 3)
    silent = evaluated(file, lambda problem: "I cannot say")
    assert silent["unparsed"] == 1
    assert silent["error_recall"] == 0


def test_a_confusion_matrix_by_hand():
    # 10 responses, 6 wrong; of those 4 are flagged, and 1 of the right ones: TP 4, FP 1, FN 2, TN 3.
    wrong = np.array([1] * 6 + [0] * 4, bool)
    flagged = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0], bool)[:, None]
    found = {name: float(value[0]) for name, value in Detector(flagged, wrong, np.ones_like(flagged)).scores().items()}
    assert found == pytest.approx(
        {"detection_accuracy": 0.7, "error_precision": 0.8, "error_recall": 4 / 6, "error_f1": 8 / 11}
    )
    assert constants(0.80)["f1_always_error"] == pytest.approx(0.889, abs=5e-4)


def test_the_probability_of_error_ranks_responses_and_a_liking_for_a_letter_cancels(file):
    problems = list(ErrorDetection(str(file)).problems().items)

    def choice(problem, slope):
        error = problem.options.index("There is an error.")
        right = "AB".index(problem.answer)
        pull = slope if right == error else -slope
        logits = np.array([2.0, 0.0])  # it likes A
        logits[error] += pull
        return Choice(logits, right)

    def auroc(slope):
        found = Evaluation(
            [one.id for one in problems], [one.answer for one in problems], sources=[one.source for one in problems],
            choices=[choice(one, slope) for one in problems],
        )  # fmt: skip
        return metrics(found, names=["error_probability"])["error_auroc"].mean

    assert [auroc(slope) for slope in (0.5, -0.5, 0.0)] == [1, 0, 0.5]


def test_problems_of_another_kind_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"problem p does not ask .*data\.source:error_detection"):
        METRICS["error_detection"].check([Problem("p", "3 + 4 =", "7")])


def test_braces_of_a_request_are_no_slots_and_records_without_solutions_are_said(tmp_path):
    file = tmp_path / "braces.jsonl"
    record = {"input": "Fill {response}, {question} and {}.", "llm_response": "f{x}", "label": "error", **KEYS}
    file.write_text(json.dumps(record))
    asked = ErrorDetection(str(file)).problems().items
    assert all(record["input"] in one.question and "f{x}" in one.question for one in asked)
    assert all(one.question.count("f{x}") == 1 for one in asked)
    file.write_text(json.dumps({"prompt": "Why?", "chosen": "So.", "rejected": "No."}))
    with pytest.raises(InputError, match="no right or wrong solutions to ask about"):
        ErrorDetection(str(file)).problems()
