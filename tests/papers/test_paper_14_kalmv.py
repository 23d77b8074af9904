"""Paper 14, KALMV (arXiv 2310.12836): labels, the ensemble of wordings, and the loop that rectifies."""

import json

import numpy as np
import pytest

from mtjax.data.sources.verification import Verification, answer_accuracy, retrieval_score, three_way_label
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.metrics import Choice, Evaluation
from mtjax.mistakes.rectifying import ensemble, rectify, search_in

LOUVRE = "The Louvre is a museum in Paris."
CASES = [
    ({"knowledge": "Rome has many museums.", "answer": "Rome"}, "A"),
    ({"knowledge": LOUVRE, "answer": "Rome"}, "B"),
    ({"knowledge": LOUVRE, "answer": "Paris"}, "C"),
    ({"knowledge": "Rome has many museums.", "answer": "the Paris"}, "C"),  # right whatever the knowledge says
]


@pytest.fixture
def source(tmp_path):
    lines = [json.dumps({"question": "Where is the Louvre?", "gold": ["Paris"], **case}) for case, _ in CASES]
    (tmp_path / "checks.jsonl").write_text("\n".join(lines))
    return Verification(str(tmp_path / "checks.jsonl"))


def test_labels_of_four_made_cases_in_five_wordings(source):
    problems = source.problems().items
    assert [problem.answer for problem in problems[::5]] == [label for _, label in CASES]
    assert len(problems) == 20
    assert len({problem.question for problem in problems[:5]}) == 5
    assert len({problem.id.rpartition("#")[0] for problem in problems}) == 4
    assert all(problem.options and problem.right == (problem.answer,) for problem in problems)


def test_the_parts_of_a_label():
    assert retrieval_score(LOUVRE, ["Paris", "France"]) == 0.5
    assert retrieval_score("Parisian life", ["Paris"]) == 0  # a word, not a part of one
    assert answer_accuracy("It is in Paris", "Paris") == pytest.approx(2 / 5)
    assert [three_way_label(r, a) for r, a in ((0, 0.5), (0.1, 0.5), (0, 0.6))] == [0, 1, 2]


def test_the_ensemble_turns_where_two_of_three_wordings_agree():
    one = [0.1, 0.2, 0.7]
    assert ensemble(np.array([one, [0.4, 0.5, 0.1], [0.1, 0.6, 0.3]])) == "B"
    assert ensemble(np.array([one])) == "C"
    with pytest.raises(InputError, match="shape"):
        ensemble(np.zeros((2, 2)))


def test_the_metric_adds_up_the_wordings(source):
    problems = source.problems().items[:10]  # A, then B
    shares = {"0": [0.1, 0.2, 0.7], "1": [0.2, 0.6, 0.2], "2": [0.2, 0.5, 0.3]}
    choices = [Choice(np.log(shares.get(one.id[-1], [0.3, 0.4, 0.3])), "ABC".index(one.answer)) for one in problems]
    found = Evaluation([one.id for one in problems], [one.answer for one in problems], choices=choices)
    numbers = {name: value.mean for name, value in metrics(found, names=["choices"]).items()}
    assert numbers["choice_ensemble"] == 0.5  # B twice, right once
    assert numbers["choice_accuracy"] == 4 / 10  # one wording in five says C
    assert (numbers["choice_recall_A"], numbers["choice_recall_B"], numbers["choice_baseline"]) == (0, 1, 0.5)


def test_options_in_another_order_are_matched_by_their_texts():
    choices = [Choice(np.log([0.9, 0.1]), 0, ("yes", "no")), Choice(np.log([0.4, 0.6]), 1, ("no", "yes"))]
    numbers = metrics(Evaluation(["a#0", "a#1"], ["A", "B"], choices=choices), names=["choices"])
    assert (numbers["choice_ensemble"].mean, numbers["choice_accuracy"].mean) == (1, 1)


def verdicts(*letters):
    """A verifier that says these in turn, and what it was asked."""
    left, asked = list(letters), []

    def verify(question, knowledge, answer):
        asked.append((knowledge, answer))
        return np.eye(3)[["ABC".index(left.pop(0))]]

    return verify, asked


def test_only_irrelevant_knowledge_is_looked_up_anew():
    looked = []

    def retrieve(question, place):
        looked.append(place)
        return ("first", "second", "third")[place]

    verify, asked = verdicts("B", "A", "B", "C")
    found = rectify("?", retrieve, lambda question, knowledge, n: f"{knowledge}-{n}", verify, max_edits=5)
    assert looked == [0, 1]
    assert asked == [("first", "first-0"), ("first", "first-1"), ("second", "second-2"), ("second", "second-3")]
    assert found == ("second-3", ("B", "A", "B", "C"), 2)


def test_the_loop_ends_with_its_budget_or_its_knowledge():
    verify, _ = verdicts("B", "B", "B")
    assert rectify("?", search_in(["k"]), lambda *_: "x", verify, max_edits=2).verdicts == ("B", "B", "B")
    verify, _ = verdicts("A", "A")
    assert rectify("?", search_in(["k", "l"]), lambda *_: "x", verify, max_edits=9).retrieved == 2
    with pytest.raises(InputError, match="nothing is found"):
        rectify("?", search_in([]), lambda *_: "x", verify)
