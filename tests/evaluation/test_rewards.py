"""Rewards: published values, and what must hold for every registered one."""

import pytest

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.graders.choice import ChoiceGrader, letter_of
from mtjax.evaluation.graders.tool_call import ToolCallGrader, call_of
from mtjax.evaluation.rewards import REWARDS, Reward
from mtjax.evaluation.rewards.confidence import ConfidenceReward, confidence_reward, stated_confidence
from mtjax.evaluation.rewards.form import Format, repetition_penalty
from mtjax.evaluation.rewards.length import SoftOverlong, cosine_reward, overlong_penalty
from mtjax.evaluation.rewards.tool_call import TABLE, ToolCallReward
from mtjax.evaluation.rewards.verdict import VerdictReward, WeightedSum
from mtjax.registry import summary
from mtjax.sampling.sampler import Sample

RIGHT, WRONG, UNKNOWN = Verdict.RIGHT, Verdict.WRONG, Verdict.UNKNOWN
PROBLEM = Problem("a", "17 + 5 =", "22")
every_reward = pytest.mark.parametrize("name", sorted(REWARDS))


@every_reward
def test_a_reward_says_what_it_is_and_gives_a_number_or_none_for_every_text(name):
    reward = REWARDS[name]()
    assert summary(REWARDS[name])
    assert isinstance(reward, Reward)
    for text in ("22", "", "\x00", "f(x=1)", "a" * 5000, "Confidence: 99", "<think>1</think>22"):
        for verdict in Verdict:
            found = [reward(PROBLEM, Sample(text, tokens=3, token_ids=(1, 2, 3)), verdict) for _ in range(2)]
            assert found[0] is None or isinstance(found[0], float | int)
            assert found[0] == found[1]


def test_the_verdict_has_no_number_where_it_is_not_known():
    tulu = VerdictReward(10.0, 0.0, unfinished=-10.0)
    assert [tulu(PROBLEM, Sample("22"), verdict) for verdict in (RIGHT, WRONG, UNKNOWN)] == [10.0, 0.0, None]
    assert tulu(PROBLEM, Sample("22", finished=False), RIGHT) == -10.0  # replaced, not added


def test_lengths_as_published():
    assert [overlong_penalty(n, 100, 20) for n in (1, 80, 90, 100, 101)] == [0, 0, -0.5, -1, -1]
    assert [round(cosine_reward(n, 100, True), 10) for n in (10, 80, 100)] == [0.9877641291, 0.5477457514, 0.5]
    assert cosine_reward(10, 100, False) == -cosine_reward(10, 100, True)
    assert SoftOverlong(100, 20)(PROBLEM, Sample("x"), RIGHT) is None  # a server did not say how long
    with pytest.raises(InputError, match="reward.zone=200"):
        SoftOverlong(100, 200)
    assert repetition_penalty((5, 5, 5, 5, 5), 2) == -0.75
    assert repetition_penalty((1, 2), 3) == 0


def test_the_form_of_thoughts():
    given = {
        "<think>1+1</think>2": 1.0, "<think></think>": 1.0, "<think>a\nb</think>\n2": 1.0, "2": 0.0,
        " <think>1</think>2": 0.0, "<think>1<think>2</think>3": 0.0, "<think>1": 0.0, "1</think>2": 0.0,
    }  # fmt: skip
    assert {text: Format()(PROBLEM, Sample(text), RIGHT) for text in given} == given


def test_stated_confidence_is_a_proper_score_and_its_failures_are_failures():
    assert [round(confidence_reward(c, True), 2) for c in (0, 5, 8, 10)] == [-1, 0.5, 0.92, 1]
    assert [round(confidence_reward(c, False), 2) for c in (0, 5, 8, 10)] == [1, 0.5, -0.28, -1]
    for chance, best in ((0.3, 3), (0.7, 7)):
        expected = [chance * confidence_reward(c, True) + (1 - chance) * confidence_reward(c, False) for c in range(11)]
        assert expected.index(max(expected)) == best
    assert [stated_confidence(text) for text in ("Confidence: 85", "Confidence:", "Confidence: 7.5", "7")] == [None] * 4
    assert stated_confidence("Confidence: 3 ... confidence = 10") == 10
    reward = ConfidenceReward()
    assert reward(PROBLEM, Sample("22\nConfidence: many"), WRONG) == -1  # not the +1 of a confidence of 0
    assert reward(PROBLEM, Sample("22\nConfidence: 8"), RIGHT) == pytest.approx(0.92)
    assert reward(PROBLEM, Sample("22\nConfidence: 8"), UNKNOWN) is None


TOOLS = (
    {"function": {"name": "find", "parameters": {"properties": {"query": {}, "count": {}, "page": {}}}}},
    {"function": {"name": "open", "parameters": {"properties": {"page": {}}}}},
)
CALL = Problem("c", "Find cats.", "find(query='cats', count=2)", tools=TOOLS)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I do not know", "unparsable"),
        ("find('cats', 2)", "unparsable"),  # positional
        ("search(query='cats')", "unknown tool"),
        ("open(page=1)", "wrong tool"),
        ("find(colour='red', page=1)", "hallucinated, redundant and missing"),
        ("find(query='cats', colour='red')", "hallucinated and redundant or missing"),
        ("find(query='cats', count=2, page=1, colour='red')", "hallucinated and redundant or missing"),
        ("find(query='cats', page=1)", "redundant and missing"),
        ("find(query='cats', count=2, colour='red')", "hallucinated"),
        ("find(query='cats')", "redundant or missing"),
        ("find(query='cats', count=2, page=1)", "redundant or missing"),
        ("find(query='dogs', count=2)", "values"),
        ('Sure.\nfind(count=2, query="cats")', "right"),
    ],
)
def test_every_row_of_the_table_of_tool_calls(text, kind):
    assert ToolCallReward()(CALL, Sample(text), UNKNOWN) == TABLE[kind]
    assert (ToolCallGrader()(CALL, Sample(text)) is RIGHT) == (kind == "right")


def test_the_table_is_not_monotone_and_other_answers_are_not_known():
    assert TABLE["wrong tool"] > TABLE["hallucinated, redundant and missing"]
    assert ToolCallReward()(PROBLEM, Sample("find()"), UNKNOWN) is None
    assert call_of("a.b(c=[1, {'d': None}])") == ("a.b", {"c": [1, {"d": None}]})
    assert call_of("find(query=open('x'))") is None  # read, never run


def test_sums_are_weighted_and_unknown_where_a_part_is():
    sum_of = WeightedSum((VerdictReward(), Format(), SoftOverlong(100, 20)), (1.0, 0.1, 1.0))
    sample = Sample("<think>1</think>22", tokens=90)
    assert sum_of(PROBLEM, sample, RIGHT) == pytest.approx(1 + 0.1 - 0.5)
    assert sum_of(PROBLEM, sample, UNKNOWN) is None
    with pytest.raises(InputError, match="1 rewards and 2 weights"):
        WeightedSum((VerdictReward(),), (1.0, 2.0))
    with pytest.raises(InputError, match="is not a reward"):
        WeightedSum((1,), (1.0,))


def test_letters_of_choices():
    choice = Problem("q", "Capital of France?\n(A) Berlin\n(B) Paris", "B", options=("Berlin", "Paris"))
    verdicts = {"The answer is (B).": RIGHT, "Answer: A": WRONG, "Answer: Paris": WRONG, "no idea": WRONG}
    assert {text: ChoiceGrader()(choice, Sample(text)) for text in verdicts} == verdicts
    assert ChoiceGrader()(choice, Sample("The answer is (B).", finished=False)) is UNKNOWN
    by_text = Problem("q", choice.question, "Paris", options=choice.options)
    assert ChoiceGrader()(by_text, Sample("Answer: B")) is RIGHT
    assert ChoiceGrader()(PROBLEM, Sample("22")) is UNKNOWN
    assert letter_of("Berlin") is None
