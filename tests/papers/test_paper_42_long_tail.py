"""Paper 42, LINK: the long tail under a model, the falling threshold of the critic, and the search along a rule."""

import numpy as np

from mtjax.data.problem import Problem
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.long_tail import LongTail, passing, rule_search, split_tail

ZIPF = np.log(1 / np.arange(1, 201) / (1 / np.arange(1, 201)).sum())  # log-probability of word n, from 0


def test_the_tail_of_a_zipf_unigram_has_the_lower_mean_by_more_than_delta():
    rng = np.random.default_rng(0)
    statements = rng.choice(200, (100, 6), p=np.exp(ZIPF))
    logprobs = ZIPF[statements].mean(axis=1)
    split = split_tail(logprobs)
    assert len(split.tail) == len(split.head) == 50
    assert logprobs[split.tail].max() <= logprobs[split.head].min()
    assert split.gap > 0.3
    assert split.differs()
    alike = split_tail(np.full(10, -2.0))
    assert alike.gap == 0
    assert not alike.differs()


def test_the_threshold_stops_as_soon_as_the_quota_is_met():
    scores = np.array([0.9, 0.86, 0.81, 0.72, 0.66, 0.1])
    assert passing(scores, 2)[1] == 0.85
    assert passing(scores, 3)[1] == 0.80
    assert passing(scores, 4)[1] == 0.70
    places, threshold = passing(scores, 6)
    assert threshold == 0.65
    assert places.tolist() == [0, 1, 2, 3, 4]


def test_the_search_finds_the_true_and_unlikely_statements():
    """Person A is allergic to B, and C contains B: fill B, then C; commonness of a word is its log-likelihood."""
    foods = {"nuts": ["cake", "bread", "satay"], "milk": ["cheese", "ghee"]}
    common = {"nuts": -1, "milk": -2, "stone": -9, "cake": -1, "bread": -2, "satay": -8, "cheese": -3, "ghee": -9}
    asked = []

    def propose(variable, values):
        asked.append((variable, dict(values)))
        return ["nuts", "milk", "stone", "milk"] if variable == "B" else [*foods[values["B"]], "water"]

    def critic(variable, found):
        good = lambda v: v["B"] in foods if variable == "B" else v["C"] in foods[v["B"]]
        return [0.9 if good(values) else 0.1 for values in found]

    likelihood = lambda found: [sum(common[value] for value in values.values()) for values in found]
    found = rule_search(["B", "C"], propose, critic, likelihood, keep=0.6, quota=2)
    # of nuts and milk both pass, and 0.6 * 2 is one: milk, the less likely. Of its foods, ghee is the less likely.
    assert found == [{"B": "milk", "C": "ghee"}]
    assert asked == [("B", {}), ("C", {"B": "milk"})]
    wide = rule_search(["B", "C"], propose, critic, likelihood, keep=1.0, quota=9)
    assert [values["C"] for values in wide] == ["ghee", "satay", "cheese", "bread", "cake"]
    assert rule_search(["B"], lambda *_: [], critic, likelihood) == []


def test_the_check_says_which_texts_are_the_tail():
    problems = [Problem(f"p{n}", text) for n, text in enumerate(["a a", "b b", "", "c c", "d d"])]
    score = lambda texts: [
        np.full(len(text.split()), -float(ord(text[0]) - 96)) if text else np.zeros(0) for _, text in texts
    ]
    found = LongTail()(Subject(lambda: iter(problems), score=score))
    assert {record["id"]: record["part"] for record in found.records} == {
        "p0": "head", "p1": "head", "p3": "tail", "p4": "tail",
    }  # fmt: skip
    assert "differ by 2.00 nats" in found.facts[0]
    assert not found.flags
