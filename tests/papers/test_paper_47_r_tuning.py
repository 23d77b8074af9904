"""Paper 47, R-Tuning: the split is the record of the model's answers, and only the last word differs."""

import dataclasses

from mtjax.mistakes.curation.sureness import Sureness
from tests.mistakes.test_curation import FAR, HELP, RIGHT, SUM, attempted, one


def test_the_split_follows_a_scripted_model():
    record = [True, False, False, True, False]
    attempts = [
        attempted(dataclasses.replace(SUM, id=f"p{n}"), one(RIGHT if right else FAR, "right" if right else "wrong"))
        for n, right in enumerate(record)
    ]
    made = Sureness(question="Are you sure?")(attempts, None, HELP)
    assert [problem.right[0].endswith("I am sure.") for problem in made.problems] == record
    assert {problem.right[0].rsplit(" ", 1)[0] for problem in made.problems} == {"9. Are you sure? I am"}
    assert made.counts == {"sure": 2, "unsure": 3}
