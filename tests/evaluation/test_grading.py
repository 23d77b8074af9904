"""Grading as a user meets it: options, votes, replies that were cut or say nothing, and what mining makes of them."""

import json

import pytest

from mtjax.data.answers import Verdict, check_answer, options_in, vote
from mtjax.data.problem import Problem, problem_from_record, record_from_problem
from mtjax.data.sources.mined import MinedProblem, Solution, from_json, to_json
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation, MetricSettings
from mtjax.evaluation.metrics.verdicts import VerdictShares
from mtjax.mistakes.formats import mined_mistakes
from mtjax.mistakes.mining import checked, yield_table
from mtjax.sampling.replies import read_choices
from mtjax.sampling.sampler import ProblemSamples, Sample

RIGHT, WRONG, UNKNOWN = Verdict.RIGHT, Verdict.WRONG, Verdict.UNKNOWN
AQUA = {"question": "What is 3 * 8?", "options": ["A)21", "B)24", "C)27"], "answer": "B"}


def test_options_come_with_the_problem_and_its_question_shows_them():
    problem = problem_from_record(AQUA, "aqua.jsonl:1")
    assert problem.question == "What is 3 * 8?\n(A) 21\n(B) 24\n(C) 27"
    assert options_in(problem.question) == ("21", "24", "27")
    assert problem_from_record(record_from_problem(problem), "again") == problem.__class__(
        **(vars(problem) | {"id": problem.id})
    )
    listed = problem_from_record(AQUA | {"question": "What is 3 * 8? A)21 B)24 C)27"}, "a")
    assert listed.question == "What is 3 * 8? A)21 B)24 C)27"  # it names them already
    texts = ["Answer: B", "The answer is 24.", "so 3 * 8 = 24", "Answer: C", "27", "(A) or (B)", "(B) 27"]
    found = grade([[Sample(text) for text in texts]], [problem])
    assert found.verdicts == [[RIGHT, RIGHT, RIGHT, WRONG, WRONG, UNKNOWN, UNKNOWN]]
    assert found.votes[0][0] == found.votes[0][1] == found.votes[0][2] == ("letter", "B")
    assert found.votes[0][3] == found.votes[0][4] == ("letter", "C")


@pytest.mark.parametrize(
    "same",
    [
        ("18", "The answer is 18 dollars.", "#### 18.0", "so it is $18", r"\boxed{18\text{ eggs}}", "eighteen"),
        ("1,000", "Answer: 1000.0", "1 000 m"),
        ("{1, 2}", "{2, 1}", r"\boxed{\{2,1\}}"),
        ("Yes.", "The answer is yes", "yes, because 9 = 3 * 3"),
        ("Answer: cat", "Cat"),
        ("Answer: 2x + 2", "Answer: 2(x + 1)"),
    ],
)
def test_equal_answers_are_one_vote(same):
    assert len({vote(text) for text in same}) == 1


def test_different_answers_are_different_votes_and_no_answer_is_none():
    assert len({vote(text) for text in ("18", "19", "Answer: 18%", "yes", "Answer: x", "Answer: -18")}) == 6
    assert vote("Sorry,\nI cannot.") is None


def reply(content, finish="stop", **message):
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]}


def test_replies_without_an_answer_are_counted_apart_and_not_graded():
    (null,) = read_choices(reply(None))
    (thought,) = read_choices(reply(None, reasoning_content="it is 18"))
    (filtered,) = read_choices(reply("The answer is", "content_filter"))
    (refused,) = read_choices(reply(None, refusal="I cannot help."))
    (cut,) = read_choices(reply("The answer is 1", "length"))
    (open_thought,) = read_choices(reply("<think>The answer is 18.", "length"))
    samples = [null, thought, filtered, refused, cut, open_thought, Sample("Answer: 17"), Sample("Answer: 18")]
    found = grade([samples], [Problem("a", "9 * 2?", "18")])
    assert found.verdicts == [[UNKNOWN] * 6 + [WRONG, RIGHT]]
    assert found.silent("empty").sum() == 1
    assert found.silent("reasoning").tolist() == [[False, True, False, False, False, True, False, False]]
    assert found.silent("filtered").sum() == 2
    assert found.votes[0][:4] == [None] * 4
    shares = VerdictShares()(Evaluation(["a"], ["18"], found, None), MetricSettings((1,), 0.95, 0, "majority"))
    assert shares["filtered"].mean == pytest.approx(2 / 8)
    mined = checked(Problem("a", "9 * 2?", "18"), "18", ProblemSamples(0, samples))
    assert [one.verdict for one in mined.solutions] == ["unknown"] * len(mined.solutions[:-2]) + ["wrong", "right"]
    rows = dict(yield_table([mined]).rows)
    assert (rows["empty"], rows["reasoning"], rows["filtered"]) == ("1", "2", "2")
    graded = checked(Problem("a", "?", "1"), "1", ProblemSamples(0, samples[-1:]))
    assert "empty" not in dict(yield_table([graded]).rows)
    assert from_json(json.loads(json.dumps(to_json(mined))), "m") == mined


def test_a_right_answer_in_other_words_is_never_a_mistake(tmp_path):
    said = ["Eighteen dollars.", "The total:\n\n**18**", "It comes to 1.8e1 $", "Answer: 36/2", r"\boxed{18.00}"]
    problem = Problem("a", "9 * 2?", "18")
    mined = checked(problem, "18", ProblemSamples(0, [Sample(text) for text in (*said, "Answer: 19")]))
    assert [one.verdict for one in mined.solutions] == ["right"] * 5 + ["wrong"]
    # A file of an earlier version, whose grader called other words wrong.
    old = [Solution(text=text, verdict="wrong") for text in (*said, "Answer: 19", "Answer: 7 or 18")]
    line = to_json(MinedProblem(number=0, id="a", question="9 * 2?", answer="18", drawn=8,
                                solutions=(Solution(text="#### 18", verdict="right"), *old)))  # fmt: skip
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps(line) + "\n")
    records = list(mined_mistakes(str(file)))
    assert {record.wrong_step: record.verdict for record in records} == {
        "Answer: 19": "proved",
        "Answer: 7 or 18": "unproved",
    }


def test_a_reply_that_was_cut_counts_only_if_its_answer_was_complete():
    assert check_answer("The answer is 18. Now let me", "18", finished=False) is RIGHT
    assert check_answer("The answer is 18", "18", finished=False) is UNKNOWN  # it may have become 180
    assert check_answer("The answer is 18", "180", finished=False) is UNKNOWN
    assert check_answer(r"\boxed{18}", "18", finished=False) is RIGHT
