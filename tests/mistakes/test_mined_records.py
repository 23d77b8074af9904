"""Mined files: what is written is read, what is unknown is never wrong, and each step record is wrong where it says."""

import dataclasses
import json
import random

import pytest

from mtjax.data.arithmetic_checker import check_steps, first_wrong_step
from mtjax.data.expressions import carry_slip
from mtjax.data.messages import Message
from mtjax.data.mistake_record import from_json as mistake_from_json
from mtjax.data.mistake_record import to_json as mistake_to_json
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.mined import FILE, Mined, MinedProblem, Solution, from_json, read_mined, to_json
from mtjax.data.sources.mistakes import pairs_of
from mtjax.errors import InputError
from mtjax.mistakes.formats import mined_mistakes, to_trl
from mtjax.mistakes.mining import checked
from mtjax.sampling.sampler import ProblemSamples, Sample

QUESTION = "12 + 7 - 5 ="
RIGHT = "Step 1: 12 + 7 = 19\nStep 2: 19 - 5 = 14\nAnswer: 14"
WRONG = "Step 1: 12 + 7 = 19\nStep 2: 19 - 5 = 24\nAnswer: 24"

SOLUTIONS = (
    Solution(text=RIGHT + "\n", verdict="right", answer="14", count=5, logprob=-1.5, tokens=30),
    Solution(text=WRONG, verdict="wrong", answer="24", count=2, logprob=-3.25, tokens=30, first_wrong=1),
    Solution(text="Answer: 14", verdict="right", answer="14", count=1, untrue=True, error="calculation"),
    Solution(text="who knows", verdict="unknown", count=3),
    Solution(text="Step 1: 12 + 7 = 1", verdict="wrong", answer="1", count=1, finished=False),
    Solution(text="<|pad|>7", verdict="wrong", answer="7", count=1, readable=False),
)
MINED = MinedProblem(
    number=0, id="a", question=QUESTION, answer="14", source="arithmetic", drawn=13, solutions=SOLUTIONS
)


def write(folder, *problems):
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text("".join(json.dumps(to_json(problem)) + "\n" for problem in problems))
    return str(folder)


def test_written_and_read_is_the_same(tmp_path):
    place = write(tmp_path / "m", MINED, MinedProblem(number=1, id="b", question="?", answer="1", note="too long"))
    assert list(read_mined(place))[0] == MINED
    assert list(read_mined(place))[1].note == "too long"
    assert list(read_mined(f"{place}/{FILE}")) == list(read_mined(place))


def test_sides_and_success_rate_by_hand(tmp_path):
    (problem,) = Mined(write(tmp_path / "m", MINED)).problems().items
    assert problem.right == (RIGHT,)  # stripped; the flawed one is neither
    assert problem.wrong == (WRONG,)  # not what is unknown, cut or unreadable
    assert problem.success_rate == 6 / 10  # right 5 + 1, wrong 2 + 1 + 1, and the unknown 3 are left out
    assert (problem.id, problem.answer, problem.source) == ("a", "14", "arithmetic")


@pytest.mark.parametrize(
    ("settings", "right", "wrong"),
    [
        ({"flawed": "right"}, 2, 1),
        ({"flawed": "wrong"}, 1, 2),
        ({"cut": "wrong"}, 1, 2),
    ],
)
def test_what_counts_as_what_is_a_setting(tmp_path, settings, right, wrong):
    (problem,) = Mined(write(tmp_path / "m", MINED), **settings).problems().items
    assert (len(problem.right), len(problem.wrong)) == (right, wrong)
    assert all("who knows" not in text for text in (*problem.right, *problem.wrong))


def test_problems_that_are_solved_too_often_can_be_left_out(tmp_path):
    place = write(tmp_path / "m", MINED)  # of success rate 0.6
    for below, right in ((0.5, ()), (0.6, ()), (0.61, (RIGHT,)), (None, (RIGHT,))):
        (problem,) = Mined(place, solved_below=below).problems().items
        assert problem.right == right
    with pytest.raises(InputError, match="solved_below=0.0: expected a share"):
        Mined(place, solved_below=0.0)


def test_a_problem_that_could_not_be_judged_has_no_success_rate(tmp_path):
    mined = MinedProblem(
        number=0, id="a", question="?", answer="1", drawn=1, solutions=(Solution(text="x", verdict="unknown"),)
    )
    (problem,) = Mined(write(tmp_path / "m", mined)).problems().items
    assert problem.success_rate is None


def test_the_fingerprint_is_of_content_and_settings(tmp_path):
    one, two = write(tmp_path / "one", MINED), write(tmp_path / "two", MINED)
    assert Mined(one).fingerprint() == Mined(two).fingerprint() == Mined(f"{one}/{FILE}").fingerprint()
    assert Mined(one).fingerprint() != Mined(one, cut="wrong").fingerprint()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2"),
        ({"number": "0"}, "'number' is '0'"),
        ({"drawn": True}, "'drawn' is True"),
        ({"solutions": {}}, "'solutions' is {}"),
        ({"solutoins": []}, "did you mean 'solutions'"),
        ({"solutions": [{"text": "x", "verdict": "rihgt"}]}, "did you mean 'right'"),
        ({"solutions": [{"verdict": "right"}]}, "no 'text'"),
        ({"solutions": [{"text": "x", "verdict": "right", "logprob": "a"}]}, "'logprob' is 'a'"),
    ],
)
def test_a_bad_line_is_named(change, said):
    with pytest.raises(InputError, match=r"f:3: ") as error:
        from_json(to_json(MINED) | change, "f:3")
    assert said in str(error.value)


def test_an_unfinished_folder_says_so(tmp_path):
    with pytest.raises(InputError, match="mine there first"):
        Mined(str(tmp_path)).problems()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="run the same"):
        Mined(str(tmp_path)).problems()


def test_an_answer_that_is_not_stated_proves_nothing(tmp_path):
    wrong = Solution(text="So 9 of the 10 remain.", verdict="wrong", answer="10")
    mined = dataclasses.replace(MINED, solutions=(SOLUTIONS[0], wrong))
    (record,) = mined_mistakes(write(tmp_path / "m", mined), kinds=("solution",))
    assert (record.verdict, record.judge) == ("unproved", "")


def test_records_by_hand(tmp_path):
    place = write(tmp_path / "m", MINED)
    decode = {"kind": "SamplingConfig", "temperature": 1.0}
    settings = {"policy": {"fingerprint": "abc"}, "decode": decode, "seed": 7}
    (tmp_path / "m" / "manifest.json").write_text(json.dumps({"settings": settings}))
    whole, step = mined_mistakes(place)
    assert (whole.kind, whole.right_solution, whole.wrong_solution) == ("solution", RIGHT, WRONG)
    assert (whole.verdict, whole.judge, whole.wrong_answer) == ("proved", "final answer", "24")
    assert (whole.model, whole.decode, whole.seed, whole.generator) == ("abc", {"temperature": 1.0}, 7, "sampling")
    assert step.kind == "step"
    assert step.prefix == "Step 1: 12 + 7 = 19\nStep 2: "
    assert (step.right_step, step.right_rest) == ("19 - 5 = 14", "\nAnswer: 14")
    assert (step.wrong_step, step.wrong_rest) == ("19 - 5 = 24", "\nAnswer: 24")
    assert (step.before, step.after, step.span, step.edit_distance) == ("14", "24", (9, 11), 1)
    assert (step.error_type, step.judge) == ("value", "equation")
    for mistake in (whole, step):
        assert mistake_from_json(json.loads(json.dumps(mistake_to_json(mistake))), "x") == mistake


@pytest.mark.parametrize(
    ("solution", "error_type", "judge", "after"),
    [
        # 16 + 7 with the carry dropped is 13.
        ("Step 1: 16 + 7 = 13\nStep 2: 13 - 5 = 8\nAnswer: 8", "carry", "equation", "13"),
        # 61 was never given.
        ("Step 1: 61 + 7 = 68\nStep 2: 68 - 5 = 63\nAnswer: 63", "copied_number", "number", "61 + 7 = 68"),
        # No minus stands before 16 or 7.
        ("Step 1: 16 - 7 = 9\nStep 2: 9 - 5 = 4\nAnswer: 4", "operator", "operator", "- 7 = 9"),
        ("Step 1: 16 + 7 = 23\nStep 2: 23 - 5 = 18\nAnswer: 81", "copied_number", "final answer", "81"),
    ],
)
def test_what_proves_a_step_wrong(solution, error_type, judge, after):
    step = first_wrong_step("16 + 7 - 5 =", solution)
    assert step is not None
    assert (step.error_type, step.judge, step.after) == (error_type, judge, after)
    assert step.wrong_step[slice(*step.span)] == after


@pytest.mark.parametrize(
    "solution",
    [
        "Step 1: 16 + 7 = 23\nStep 2: 23 - 5 = 18\nAnswer: 18",  # right
        "Step 1: 7 - 5 = 2\nStep 2: 16 + 2 = 18\nAnswer: 81",  # true steps in another order: which is wrong?
        "Step 1: 16 - 5 = 11\nStep 2: 11 + 7 = 18\nAnswer: 19",
        "Step 1: 7 + 16 = 23\nStep 2: 23 - 5 = 18\nAnswer: 17",  # 7 + 16 is true as well
        "I think it is 17",  # not in the form that the checker reads
        "Step 1: 16 + 7 = 23\nAnswer: 23",  # a step is missing, none is wrong
        "",
    ],
)
def test_what_is_not_proved_is_no_step_record(solution):
    assert first_wrong_step("16 + 7 - 5 =", solution) is None


def test_every_step_record_of_slips_is_wrong_there_and_right_before():
    rng, found = random.Random(0), 0
    for problem in Arithmetic(count=150, operators=("+", "-", "*"), max_value=400, high=30).problems().items:
        solution = carry_slip(problem.question, rng, 0.5, high=400)
        step = first_wrong_step(problem.question, solution)
        report = check_steps(problem.question, solution)
        assert (step is None) == (report.first_wrong is None)
        if step is None:
            continue
        found += 1
        assert step.prefix + step.wrong_step + step.wrong_rest == solution
        fixed = check_steps(problem.question, step.prefix + step.right_step + step.right_rest)
        assert fixed.errors == ()
        assert step.prefix.count("\n") == report.first_wrong
        assert step.error_type == "carry"
    assert found > 50


def test_which_pairs_is_drawn_by_the_seed(tmp_path):
    texts = [Solution(text=f"Answer: {n}", verdict="right" if n < 3 else "wrong", answer=str(n)) for n in range(20)]
    problem = MinedProblem(number=0, id="a", question="?", answer="1", drawn=20, solutions=tuple(texts))
    place = write(tmp_path / "m", problem)
    drawn = [list(mined_mistakes(place, pairs_per_problem=4, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4
    assert len({mistake.right_step for mistake in drawn[0]}) == 3  # right ones take turns
    assert len({mistake.id for mistake in drawn[0]}) == 4
    assert len(list(mined_mistakes(place))) == 17
    assert list(mined_mistakes(place, kinds=["step"])) == []


def again(record):
    """A record, written and read."""
    return mistake_from_json(json.loads(json.dumps(mistake_to_json(record))), "file:1")


def test_a_mined_conversation_keeps_its_messages(tmp_path):
    """The context that was answered is trained on, too; lines without one are as they were."""
    talk = (Message("system", "s"), Message("user", "q"), Message("assistant", "a"), Message("user", "1 + 1 ="))
    mined = dataclasses.replace(MINED, messages=talk, tools=({"name": "f"},))
    (problem,) = Mined(write(tmp_path / "m", mined)).problems().items
    assert (problem.messages, problem.tools, problem.right) == (talk, ({"name": "f"},), (RIGHT,))
    assert not {"messages", "tools"} & to_json(MINED).keys()
    records = list(mined_mistakes(str(tmp_path / "m")))
    assert len(records) > 0
    assert [again(one) for one in records] == records
    assert all(one.question == "s\nq\na\n1 + 1 =" and one.messages == talk for one in records)
    (back,) = pairs_of(records)
    assert (back.question, back.messages, back.tools) == ("q", talk, problem.tools)
    assert len(back.pairs) == len(records)
    side = to_trl(records[0])
    assert [one["role"] for one in side["prompt"]] == ["system", "user", "assistant", "user"]
    assert side["chosen"][0]["content"] != side["rejected"][0]["content"]
    attempt = checked(problem, "14", ProblemSamples(0, [Sample("14")]))
    assert (attempt.messages, attempt.tools) == (talk, problem.tools)
