"""The contract of checks, for every registered one, and duplicates, which no paper of the list is about."""

import dataclasses

import numpy as np
import pytest

from mtjax.data.mistake_record import Mistake
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.mistakes import pair_of
from mtjax.mistakes.checks import CHECKS, Check, Found, Subject, items_of
from mtjax.mistakes.checks.duplicates import Duplicates, jaccard, shingles
from mtjax.mistakes.checks.judges import Judges
from mtjax.reporting.report import Table

PROBLEMS = [
    Problem(f"p{n}", f"What is {n} plus {n}, if a horse has four legs and a bird has two?", str(2 * n),
            (f"{n} + {n} = {2 * n}\n#### {2 * n}",), (f"{n} + {n} = {2 * n + 1}\n#### {2 * n + 1}",),
            success_rate=0.5)
    for n in range(40)
]  # fmt: skip


def subject(problems, **more):
    score = lambda texts: [-np.arange(1.0, 1 + min(len(text), 7)) for _, text in texts]
    judged = lambda items: [[{"right": 0.99, "wrong": 0.01}] for _ in items]
    dates = {n: f"2024-{n % 12 + 1:02d}-01" for n in range(len(problems))}
    given = {"against": lambda: iter(PROBLEMS[::3]), "score": score, "judgements": judged, "dates": dates}
    return Subject(lambda: iter(problems), **given | more)


@pytest.mark.parametrize("name", CHECKS)
def test_the_contract(name):
    check = CHECKS[name]()
    assert isinstance(check, Check)
    assert dataclasses.is_dataclass(check)
    assert set(check.needs) <= {field.name for field in dataclasses.fields(Subject)}
    found = check(subject(PROBLEMS))
    assert found == check(subject(PROBLEMS))  # deterministic
    assert isinstance(found, Found)
    assert not found.skipped
    assert [flag.number for flag in found.flags] == sorted(flag.number for flag in found.flags)
    for flag in found.flags:
        problem = PROBLEMS[flag.number]
        assert flag.id == problem.id
        assert flag.reason
        assert flag.fix in ("", "drop", "flip", "answer")
        assert flag.part in {"", *(item.part for item in items_of(flag.number, problem))}
    assert all(isinstance(table, Table) for table in found.tables)
    assert all({"number", "id"} <= record.keys() for record in found.records)
    one = check(subject([Problem("bare", "")]))  # hardly anything to check
    assert one.skipped or not one.flags


def test_items_are_the_labelled_texts():
    pair = Pair("so far\n", "good", "bad", "step")
    problem = Problem("p", "q", "4", ("r",), ("w", "v"), pairs=(pair,))
    found = [(item.part, item.text, item.label) for item in items_of(3, problem)]
    assert found == [
        ("right/0", "r", "right"), ("wrong/0", "w", "wrong"), ("wrong/1", "v", "wrong"),
        ("pair/0/chosen", "good", "right"), ("pair/0/rejected", "bad", "wrong"),
    ]  # fmt: skip
    assert items_of(0, Problem("p", "q", "B"))[0].label == "B"
    mistake = Mistake(id="m", kind="step", problem_id="p", question="q", right_step="a", wrong_step="b")
    assert pair_of(mistake) is not None


def test_a_label_that_the_final_answer_confirms_is_not_flagged():
    wrong_way = lambda items: [
        [{"right": float(item.label == "wrong"), "wrong": float(item.label == "right")}] for item in items
    ]
    problems = [
        *PROBLEMS[:5],
        Problem("open", "q", "7", ("it is seven or so, who knows",), ("#### 7",)),  # unknown, and contradicted
    ]
    found = Judges()(subject(problems, judgements=wrong_way))
    assert [(flag.id, flag.part) for flag in found.flags] == [("open", "right/0"), ("open", "wrong/0")]
    assert "confirms 10 of" in found.facts[1]
    assert len(Judges(confirm=False)(subject(problems, judgements=wrong_way)).flags) == 12


def test_duplicates_by_hand():
    text = "A farmer has 12 cows and 7 goats and sells 3 of the cows at the market on a rainy day in May"
    near = text.replace("rainy", "sunny")  # 23 words, 21 runs of three, of which three have the changed word
    assert jaccard(shingles(text, 3), shingles(near, 3)) == pytest.approx(18 / 24)
    problems = [
        Problem("a", text), Problem("b", text.upper() + "!"), Problem("c", near),
        Problem("d", text.replace("12", "15")), Problem("e", "Something else is asked here and now"),
    ]  # fmt: skip
    found = Duplicates(threshold=0.7)(subject(problems))
    assert [(flag.id, flag.reason) for flag in found.flags] == [
        ("b", "asks the same as a"), ("c", "asks nearly the same as a"),
    ]  # fmt: skip
    assert found.facts[1] == "1 differ from an earlier one in their numbers alone; these are not flagged."
    assert not Duplicates(threshold=0.8)(subject(problems[2:3] + problems[4:])).flags
    assert [flag.id for flag in Duplicates(threshold=0.8)(subject(problems)).flags] == ["b"]


def test_nearly_all_planted_near_duplicates_are_found():
    rng = np.random.default_rng(0)
    words = np.array([f"w{n}" for n in range(2000)])
    problems = []
    for n in range(200):
        own = rng.choice(words, 40)
        problems.append(Problem(f"p{n}", " ".join(own)))
        if n % 4 == 0:
            own[rng.integers(40)] = "changed"  # 35 of 41 runs in common
            problems.append(Problem(f"near{n}", " ".join(own)))
    flags = Duplicates()(subject(problems)).flags
    assert all(flag.id.startswith("near") for flag in flags)
    assert len(flags) >= 48
