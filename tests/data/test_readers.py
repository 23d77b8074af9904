"""Readers of published data: small samples by hand, and the real files where they are."""

import json

import pytest

from mtjax.data.answers import Verdict, check_answer
from mtjax.data.problem import Pair, in_split
from mtjax.data.sources.bigbench_mistake import BigBenchMistake
from mtjax.data.sources.cot_error_set import CotErrorSet
from mtjax.data.sources.gsm8k import Gsm8k, Gsm8kSolutions
from mtjax.data.sources.rise import Rise
from mtjax.data.sources.svamp import Svamp, equation_lines
from mtjax.data.sources.trl import Trl
from mtjax.errors import InputError

GSM = {"question": "Natalia?", "answer": "She sold 48/2 = <<48/2=24>>24.\nIn all <<48+24=72>>1,072.\n#### 1,072"}
SOLUTIONS = {
    "question": "Janet?",
    "ground_truth": "16 - 3 = <<16-3=13>>13\nA: 13",
    "6b_finetuning": {"is_correct": False, "solution": "16 - 3 = <<16-3=12>>12\nA: 12"},
    "175b_verification": {"is_correct": True, "solution": "It is 13\nA: 13"},
}
SVAMP = [
    {"ID": "chal-1", "Body": "A pack costs 76 dollars.", "Question": "How much are 2?", "Answer": 152.0},
    {"ID": "chal-2", "Body": "If Dan had 3", "Question": "how many?", "Answer": 1.5},
]
TRACE = {
    "input": "1 + 2 * 3 =",
    "steps": ["2 * 3 = 6.", "1 + 6 = 8."],
    "answer": "8",
    "target": "7",
    "mistake_index": 1,
}


def save(tmp_path, *records):
    path = tmp_path / "sample.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_gsm8k_loses_its_marks(tmp_path):
    (problem,) = Gsm8k(save(tmp_path, GSM)).problems().items
    assert problem.right == ("She sold 48/2 = 24.\nIn all 1,072.\n#### 1,072",)
    assert (problem.answer, problem.question, problem.id) == ("1072", "Natalia?", "sample.jsonl:1")


def test_model_solutions_part_into_right_and_wrong(tmp_path):
    path = save(tmp_path, SOLUTIONS)
    (problem,) = Gsm8kSolutions(path).problems().items
    assert problem.right == ("It is 13\nA: 13",)
    assert problem.wrong == ("16 - 3 = 12\nA: 12",)
    assert problem.answer == "13"
    (problem,) = Gsm8kSolutions(path, reference=True).problems().items
    assert problem.right == ("16 - 3 = 13\nA: 13", "It is 13\nA: 13")


def test_svamp_joins_body_and_question(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(SVAMP))
    one, two = Svamp(str(tmp_path / "s.json")).problems().items
    assert (one.id, one.question, one.answer) == ("chal-1", "A pack costs 76 dollars. How much are 2?", "152")
    assert (two.question, two.answer) == ("If Dan had 3, how many?", "1.5")


def test_svamp_equations_are_solutions(tmp_path):
    records = [
        SVAMP[0] | {"Equation": "( 76.0 * 2.0 )", "Answer": 152.0},
        SVAMP[1] | {"Equation": "( ( 19.0 - 11.0 ) + ( 5.0 / 2.0 ) )", "Answer": 10.5},
        SVAMP[0] | {"Equation": "( ( 4.0 - 2.0 ) + 3.0 )", "Answer": 1.0},  # so in the published file
        SVAMP[0] | {"Equation": "8.0", "Answer": 8.0},
        SVAMP[0] | {"Equation": "( 1.0 / 10000000.0 )", "Answer": 0.1},  # another number than the answer
        SVAMP[0] | {"Equation": "( 1.0 / 3.0 )", "Answer": 0.3},
    ]
    (tmp_path / "s.json").write_text(json.dumps(records))
    problems = Svamp(str(tmp_path / "s.json"), solutions="equations").problems().items
    assert [problem.right for problem in problems] == [
        ("76 * 2 = 152",), ("19 - 11 = 8\n5 / 2 = 2.5\n8 + 2.5 = 10.5",), (), (), (), ()
    ]  # fmt: skip
    assert not any(problem.right for problem in Svamp(str(tmp_path / "s.json")).problems().items)


def test_small_numbers_are_written_in_digits():
    assert equation_lines("(1.0 / 10000000.0)") == ["1 / 10000000 = 0.0000001"]


@pytest.mark.parametrize("text", ["x + 1", "1 +", "2 ** 9", "(1.0/0.0)", "abs(1 + 2)", "", "(" * 300 + "1" + ")" * 300])
def test_what_is_no_equation_has_no_lines(text):
    assert equation_lines(text) == []


def test_traces_keep_the_first_wrong_step(tmp_path):
    lucky = TRACE | {"answer": "7"}
    unmarked = TRACE | {"mistake_index": None}
    good = TRACE | {"mistake_index": None, "answer": "7"}
    source = BigBenchMistake(save(tmp_path, TRACE, lucky, unmarked, good))
    problems, traces = source.problems().items, list(source.traces())
    assert [bool(p.wrong) for p in problems] == [True, True, True, False]
    assert problems[3].right == ("2 * 3 = 6.\n1 + 6 = 8.",)
    assert [trace.first_wrong for trace in traces] == [1, 1, None, None]
    assert traces[0].steps[1] == "1 + 6 = 8."


def test_cot_error_set_in_both_spellings(tmp_path):
    plain = {"question": "q", "correct_reference": "r", "incorrect_rationale": "w", "error_type": "calculation"}
    spelt = {"Question": "q", "Correct Reference": "r", "Incorrect-Rationale": "w", "Error Cause": "c"}
    one, two = CotErrorSet(save(tmp_path, plain, spelt)).problems().items
    assert (one.question, one.right, one.wrong) == (two.question, two.right, two.wrong) == ("q", ("r",), ("w",))


@pytest.mark.parametrize(
    ("source", "record", "says"),
    [
        (Gsm8k, {"question": "q", "answer": "no mark"}, "no final answer after '####'"),
        (Gsm8k, {"quest": "q", "answer": "#### 1"}, "no key 'question'"),
        (Gsm8k, [1], "expected an object"),
        (Gsm8kSolutions, GSM, "no key 'ground_truth'"),
        (Gsm8kSolutions, SOLUTIONS | {"extra": 1}, "'extra' is 1; expected an object"),
        (Gsm8kSolutions, SOLUTIONS | {"m": {"is_correct": "yes", "solution": ""}}, "m: 'is_correct' is 'yes'"),
        (BigBenchMistake, TRACE | {"mistake_index": 2}, "'mistake_index' is 2; expected null or 0..1"),
        (BigBenchMistake, TRACE | {"steps": [1]}, "expected a list of strings"),
        (CotErrorSet, {"question": "q", "correct_reference": "r"}, "no key 'incorrect_rationale'"),
    ],
)
def test_other_records_are_named(source, record, says, tmp_path):
    path = save(tmp_path, record)
    with pytest.raises(InputError) as error:
        source(path).problems()
    assert str(error.value).startswith(f"{path}:1: ")
    assert says in str(error.value)


RISE = {
    "idx": 3,
    "dataset": "gsm8k",
    "prompt": "4 * 6?",
    "initial_reason_steps": "So:",
    "chosen": " 24",
    "rejected": " 26",
}
RISE |= {"answer": 24}


def test_pairs_of_rise(tmp_path):
    step, full = Rise(save(tmp_path, RISE, RISE | {"initial_reason_steps": ""})).problems().items
    assert (step.id, step.question, step.answer) == ("gsm8k:3", "4 * 6?", "24")
    assert step.pairs == (Pair("So:", " 24", " 26", "step"),)
    assert full.pairs == (Pair("", " 24", " 26", "full"),)
    with pytest.raises(InputError, match="sample.jsonl:1: no key 'answer'; a RISE pair record has"):
        Rise(save(tmp_path, {key: RISE[key] for key in list(RISE)[:-1]})).problems()


def test_pairs_of_trl(tmp_path):
    talk = [{"role": "user", "content": "q"}]
    said = [{"role": "assistant", "content": text} for text in "rw"]
    records = [
        {"prompt": "q", "chosen": "r", "rejected": "w"},
        {"prompt": talk, "chosen": said[:1], "rejected": said[1:]},
        {"chosen": [*talk, said[0]], "rejected": [*talk, said[1]]},
    ]
    problems = Trl(save(tmp_path, *records)).problems().items
    assert [(p.question, p.pairs) for p in problems] == [("q", (Pair("", "r", "w"),))] * 3
    with pytest.raises(InputError, match=r"sample.jsonl:1: got \[3\]; expected prompt, chosen and rejected"):
        Trl(save(tmp_path, [3])).problems()


def test_svamp_errors_name_the_record(tmp_path):
    file = tmp_path / "s.json"
    file.write_text(json.dumps([SVAMP[0], SVAMP[1] | {"Answer": "two"}]))
    with pytest.raises(InputError, match=r"s.json: record 1: 'Answer' is 'two'; expected a whole number or a number"):
        Svamp(str(file)).problems()
    assert Svamp(str(file)).problems("skip").skipped == 1
    for odd in (True, float("inf"), float("nan")):
        file.write_text(json.dumps([SVAMP[0], SVAMP[1] | {"Answer": odd}]))
        assert Svamp(str(file)).problems("skip").skipped == 1
    file.write_text('{"ID": 1}')
    with pytest.raises(InputError, match="expected one JSON list"):
        Svamp(str(file)).problems()


def test_real_gsm8k(shared_data):
    folder = shared_data / "gsm8k"
    assert len(Gsm8k(str(folder / "train.jsonl")).problems().items) == 7473
    test = Gsm8k(str(folder / "test.jsonl")).problems().items
    assert len(test) == 1319
    assert not any("<<" in text for p in test for text in p.right)
    solved = Gsm8kSolutions(str(folder / "example_model_solutions.jsonl")).problems().items
    assert [p.question for p in solved] == [p.question for p in test]
    assert sum(len(p.wrong) for p in solved) == 3275
    assert sum(bool(p.right and p.wrong) for p in solved) == 731
    assert sum(len(p.right) * len(p.wrong) for p in solved) == 2429
    # their labels and our checker
    for problem in test:
        assert check_answer(problem.right[0], problem.answer) is Verdict.RIGHT
    verdicts = [check_answer(text, p.answer) is Verdict.RIGHT for p in solved for text in p.right]
    assert sum(verdicts) == len(verdicts)


def test_real_solutions_split_by_question(shared_data):
    path = str(shared_data / "gsm8k" / "example_model_solutions.jsonl")
    train = Gsm8kSolutions(path, "train").problems().items
    held_out = Gsm8k(str(shared_data / "gsm8k" / "test.jsonl"), "test").problems().items
    assert not {p.question for p in train} & {p.question for p in held_out}
    assert all(in_split(p.question, "train") for p in train)
    assert 0.65 < len(train) / 1319 < 0.75


def test_real_svamp_and_traces(shared_data):
    svamp = Svamp(str(shared_data / "svamp" / "SVAMP.json")).problems().items
    assert len(svamp) == 1000
    assert all(p.answer and "." not in p.answer for p in svamp)
    files = sorted((shared_data / "bigbench_mistake").glob("*.jsonl"))
    traces = [trace for file in files for trace in BigBenchMistake(str(file)).traces()]
    assert len(traces) == 2186
    assert sum(trace.first_wrong is not None for trace in traces) == 1708
    lucky = [t for t in traces if t.first_wrong is not None and t.answer == t.problem.answer]
    assert len(lucky) == 213
    assert all(trace.problem.wrong for trace in lucky)
