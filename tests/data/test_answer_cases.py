"""Answers by the case: every kind of answer with its verdict, written before the reader that has to pass them."""

import collections
import json
import pathlib

import pytest

from mtjax.data.answers import check_answer

FOLDER = pathlib.Path(__file__).parent
FILES = sorted(FOLDER.glob("answer_cases*.jsonl"))
LEAST = {
    "answer_cases_fifty_third": 0.86,
    "answer_cases_fifty_fifth": 0.85,  # by an examiner, to mislead a grader
    "answer_cases_fifty_sixth": 0.92,
}
"""The share of decidable cases that is decided, where it is not .95 yet: sentences of words, lists and formulas, which
the reader leaves unknown (docs/grading.md)."""


def cases(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def verdict(case):
    return check_answer(
        case["reply"],
        case["gold"],
        question=case.get("question", ""),
        options=case.get("options", ()),
        finished=case.get("finished", True),
    ).value


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_case_is_judged_wrongly_and_nearly_all_are_decided(file):
    found = [(case, verdict(case)) for case in cases(file)]
    wrong = [(case, said) for case, said in found if said not in ("unknown", case["verdict"])]
    assert wrong == []
    decidable = [(case, said) for case, said in found if case["verdict"] != "unknown"]
    assert sum(said == case["verdict"] for case, said in decidable) >= LEAST.get(file.stem, 0.95) * len(decidable)
    by_kind = collections.Counter(case["kind"] for case, _ in decidable)
    undecided = collections.Counter(case["kind"] for case, said in decidable if said == "unknown")
    assert all(undecided[kind] <= max(1, count // (3 if file.stem in LEAST else 4)) for kind, count in by_kind.items())


def test_no_trap_is_taken():
    traps = cases(FOLDER / "answer_traps.jsonl")
    assert [case for case in traps if verdict(case) == case["never"]] == []


def test_the_cases_are_many_and_of_all_verdicts():
    found = [case for file in FILES for case in cases(file)]
    assert len(found) >= 580
    assert {case["verdict"] for case in found} == {"right", "wrong", "unknown"}
    assert len({json.dumps(case) for case in found}) == len(found)
