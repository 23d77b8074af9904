"""Mistake records from published data, pairs of other frameworks both ways, and records as problems with pairs."""

import dataclasses
import json
import pathlib
import re

import pytest

from mtjax.data.mistake_record import Mistake, read_mistakes, to_lines
from mtjax.data.problem import Pair
from mtjax.data.sources import Jsonl
from mtjax.data.sources.bigbench_mistake import BigBenchMistake
from mtjax.data.sources.mistakes import Mistakes, pairs_of
from mtjax.errors import InputError
from mtjax.mistakes.formats import (
    from_bigbench_mistake,
    from_cot_error_set,
    from_gsm8k_solutions,
    from_rise,
    from_trl,
    to_trl,
)
from mtjax.mistakes.verification import verify

SOLUTIONS = {
    "question": "Janet?",
    "ground_truth": "16 - 3 = <<16-3=13>>13\nA: 13",
    "175b_finetuning": {"is_correct": True, "solution": "16 - 3 = <<16-3=13>>13 left\nA: 13"},
    "6b_finetuning": {"is_correct": False, "solution": "16 - 3 = <<16-3=12>>12\nA: 12"},
    "6b_verification": {"is_correct": False, "solution": "16 + 3 = 19\nA: 19"},
}
TRACE = {
    "input": "1 + 2 * 3 =",
    "steps": ["2 * 3 = 6.", "1 + 6 = 8.", "So 8."],
    "answer": "8",
    "target": "7",
    "mistake_index": 1,
}
RISE = {
    "idx": 3,
    "dataset": "gsm8k",
    "prompt": "What is 4 * 6? Step by step.",
    "initial_reason_steps": "Let us see.\nStep 1:",
    "chosen": " 4 * 6 = 24.",
    "rejected": " 4 * 6 = 26.",
    "answer": 24,
    "step": 1,
    "last_step": False,
}
STEP = Mistake(
    id="a/step/0", kind="step", problem_id="a", question="4 * 6 - 2?", answer="22", prefix="Step 1: ",
    right_step="4 * 6 = 24", right_rest="\nAnswer: 22", wrong_step="4 * 6 = 26", error_type="value", verdict="proved",
    judge="equation", generator="rules",
)  # fmt: skip
WHOLE = dataclasses.replace(
    STEP,
    id="a/solution/0",
    kind="solution",
    prefix="",
    right_step="24 - 2 = 22",
    right_rest="",
    wrong_step="26 - 2 = 24",
)


def test_model_solutions_of_gsm8k():
    one, two = from_gsm8k_solutions(SOLUTIONS, "f:1")
    assert (one.right_step, one.wrong_step) == ("16 - 3 = 13 left\nA: 13", "16 - 3 = 12\nA: 12")
    assert (one.answer, one.wrong_answer, one.model, one.kind) == ("13", "12", "6b_finetuning", "solution")
    assert (two.model, two.verdict, two.judge) == ("6b_verification", "proved", "final answer")
    assert one.id != two.id
    assert len(from_gsm8k_solutions(SOLUTIONS, "f:1", reference=True)) == 4
    assert verify(one).verdict == "proved"
    with pytest.raises(InputError, match="f:1: '6b' is 3; expected an object"):
        from_gsm8k_solutions({"question": "q", "ground_truth": "A: 1", "6b": 3}, "f:1")


def test_all_model_solutions_of_gsm8k(shared_data):
    lines = (shared_data / "gsm8k" / "example_model_solutions.jsonl").read_text().splitlines()
    records = [m for n, line in enumerate(lines[:300]) for m in from_gsm8k_solutions(json.loads(line), str(n))]
    assert len({m.id for m in records}) == len(records) > 300
    verdicts = [verify(m).verdict for m in records]
    assert verdicts.count("refuted") == 0  # their labels and our final answers agree
    assert verdicts.count("proved") / len(verdicts) > 0.99


def test_chains_of_bigbench_mistake_are_cut_at_the_first_wrong_step(tmp_path):
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(TRACE) + "\n" + json.dumps(TRACE | {"mistake_index": None}) + "\n")
    first, second = BigBenchMistake(str(path)).traces()
    mistake = from_bigbench_mistake(first)
    assert (mistake.prefix, mistake.wrong_step, mistake.wrong_rest) == ("2 * 3 = 6.\n", "1 + 6 = 8.", "\nSo 8.")
    assert mistake.wrong_solution == "\n".join(TRACE["steps"])
    assert (mistake.right_step, mistake.answer, mistake.wrong_answer) == ("", "7", "8")
    assert (mistake.verdict, mistake.judge) == ("proved", "annotator")
    assert from_bigbench_mistake(second) is None
    assert pairs_of([mistake]) == []  # nobody says what would have been right


def test_cot_error_set_in_both_spellings():
    plain = {"question": "q", "correct_reference": "r", "incorrect_rationale": "w"}
    spelt = {"Question": "q", "Correct Reference": "r", "Incorrect-Rationale": "w", "Error Cause": "c"}
    one, two = from_cot_error_set(plain, "f:1"), from_cot_error_set(spelt, "f:1")
    assert one == two
    assert (one.right_step, one.wrong_step, one.kind, one.verdict) == ("r", "w", "solution", "proved")
    with pytest.raises(InputError, match=r"f:1: got \[\]; expected an object"):
        from_cot_error_set([], "f:1")
    with pytest.raises(InputError, match="f:1: no key 'incorrect_rationale'"):
        from_cot_error_set({"question": "q", "reference": "r"}, "f:1")


def test_rise_pairs_of_steps_and_of_solutions():
    step = from_rise(RISE, "f:1")
    assert (step.kind, step.prefix, step.right_step) == ("step", "Let us see.\nStep 1:", " 4 * 6 = 24.")
    assert (step.answer, step.problem_id, step.edit_distance, step.verdict) == ("24", "gsm8k:3", 1, "unproved")
    assert (step.span, step.before, step.after) == ((9, 11), "24", "26")
    assert verify(step) == ("proved", "equation")
    full = from_rise(RISE | {"initial_reason_steps": ""}, "f:1")
    assert (full.kind, full.problem_id, full.prefix) == ("solution", "gsm8k:3", "")
    assert full.id != step.id
    (problem,) = pairs_of([step, full])
    assert [pair.kind for pair in problem.pairs] == ["step", "full"]
    with pytest.raises(InputError, match="no key 'answer'"):
        from_rise({key: value for key, value in RISE.items() if key != "answer"}, "f:1")


@pytest.mark.parametrize("mistake", [STEP, WHOLE])
def test_our_pairs_feed_trl_and_come_back(mistake):
    record = to_trl(mistake)
    assert list(record) == ["prompt", "chosen", "rejected"]
    back = from_trl(record, "f:1")
    assert to_trl(back) == record
    assert (back.right_step, back.wrong_step) == (mistake.right_step, mistake.wrong_step)
    whole = record["prompt"] + record["chosen"]
    assert whole == "4 * 6 - 2?\nStep 1: 4 * 6 = 24" if mistake.kind == "step" else "4 * 6 - 2?24 - 2 = 22"


def test_trl_conversations_with_and_without_a_prompt():
    user, good, bad = (
        {"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "r"), ("assistant", "w"))
    )
    explicit = from_trl({"prompt": [user], "chosen": [good], "rejected": [bad]}, "f:1")
    implicit = from_trl({"chosen": [user, good], "rejected": [user, bad]}, "f:1")
    assert explicit == implicit
    assert to_trl(explicit) == {"prompt": "q", "chosen": "r", "rejected": "w"}
    other = {"role": "user", "content": "p"}
    for record, says in (
        ({"chosen": [user, good], "rejected": [other, bad]}, "different questions"),
        ({"prompt": [user, good, user], "chosen": [good], "rejected": [bad]}, "expected one of the user"),
        ({"prompt": "q", "chosen": "r"}, "expected prompt, chosen and rejected"),
        ({"prompt": 1, "chosen": "r", "rejected": "w"}, "'prompt' is 1"),
        ({"prompt": "q", "chosen": 3, "rejected": 4}, "'chosen' is 3; expected a string or a list"),
    ):
        with pytest.raises(InputError, match=says):
            from_trl(record, "f:1")


def test_a_record_without_a_right_side_is_no_pair():
    with pytest.raises(InputError, match="no right side"):
        to_trl(dataclasses.replace(STEP, right_step=""))


def test_records_become_problems_with_pairs():
    other = dataclasses.replace(STEP, id="b/step/0", problem_id="b", question="another")
    first, second = pairs_of([STEP, other, WHOLE, dataclasses.replace(STEP, wrong_step=STEP.right_step)])
    assert (first.id, first.question, first.answer, first.source) == ("a", "4 * 6 - 2?", "22", "rules")
    assert first.pairs == (
        Pair("Step 1: ", "4 * 6 = 24", "4 * 6 = 26", "step", "value"),
        Pair("", "24 - 2 = 22", "26 - 2 = 24", "full", "value"),
    )
    assert [pair.kind for pair in second.pairs] == ["step"]


def test_a_file_of_mistakes_is_a_source(tmp_path):
    unproved = dataclasses.replace(STEP, id="c/step/0", problem_id="c", verdict="unproved")
    refuted = dataclasses.replace(unproved, id="d/step/0", problem_id="d", verdict="refuted")
    path = tmp_path / "mistakes.jsonl"
    path.write_text(to_lines([STEP, WHOLE, unproved, refuted]))
    source = Mistakes(str(path))
    found = source.problems()
    assert [p.id for p in found.items] == ["a"]
    assert "2 records left out" in found.notes[0]
    assert [p.id for p in dataclasses.replace(source, keep_unproved=True).problems().items] == ["a", "c"]
    steps = dataclasses.replace(source, kinds="step").problems().items
    assert [pair.kind for pair in steps[0].pairs] == ["step"]
    assert source.fingerprint() != dataclasses.replace(source, kinds="step").fingerprint()
    path.write_text(to_lines([STEP]) + '{"schema": 1}\n')
    with pytest.raises(InputError, match=r"mistakes.jsonl:2: no 'id'.*on_error=skip"):
        source.problems()
    assert source.problems("skip").skipped == 1
    path.write_text(to_lines([refuted]))
    with pytest.raises(InputError, match="holds no problem"):
        source.problems()


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", pathlib.Path("docs/inject.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    pathlib.Path("mistakes.jsonl").write_text(to_lines([STEP, WHOLE]))
    pathlib.Path("rise.jsonl").write_text(
        json.dumps(RISE) + "\n" + json.dumps(RISE | {"rejected": " 4 times 6 is 24."})
    )
    exec(code, {})
    pairs = [problem.pairs[0] for problem in Jsonl("trl.jsonl").problems().items]
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [(m.right_step, m.wrong_step) for m in (STEP, WHOLE)]
    assert [(m.verdict, m.judge) for m in read_mistakes("rise_mistakes.jsonl")] == [
        ("proved", "equation"),
        ("unproved", ""),
    ]
