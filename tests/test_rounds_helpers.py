"""What rounds lend to curations: a teacher whose answers are kept, the sandbox, and values of a search tree."""

import dataclasses
import json

import pytest

from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import TASKS, GroupTask
from mtjax.data.tasks.chat import ChatTask
from mtjax.errors import InputError
from mtjax.evaluation.graders.program import ProgramAnswerGrader
from mtjax.evaluation.sandbox import unavailable
from mtjax.io.journal import Journal
from mtjax.mistakes.curation.partly_right import PartlyRight
from mtjax.mistakes.curation.tailored import Tailored
from mtjax.mistakes.curation.valued import Valued
from mtjax.model.value_head import ValueHead
from mtjax.objectives.alphamath import AlphaMath
from mtjax.objectives.mml import Mml
from mtjax.objectives.self_reflection import SelfReflection
from mtjax.runs.rounds.folder import LATER, depends_on
from mtjax.runs.rounds.helping import taught, tracer_of
from mtjax.runs.rounds.loop import run
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.sampler import Sample
from mtjax.sampling.search.steps import Puct
from mtjax.sampling.teacher import Teacher
from mtjax.sampling.transport import ServerConfig
from tests.killed_rounds import ByHash
from tests.sampling.fake_server import FakeServer
from tests.test_rounds import Killed, killed_at
from tests.tiny_rounds import MODEL, Scripted, arrays_of, config, files_of

pytestmark = pytest.mark.usefixtures("one_device")
QUIET = {"say": lambda text: None}
FAST = ServerConfig(first_wait=0.01, retries=1)


def test_what_a_teacher_says_is_kept_and_can_be_used_again(tmp_path):
    made = config(tmp_path / "run")
    fake = FakeServer(say=lambda prompt, seed, i: f"[{prompt}]")
    with fake.running() as url:
        teacher = Teacher(url=url, server=FAST)
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, Journal, "append", 2)
            with pytest.raises(Killed):
                taught(made, teacher, ["one", "two", "three"], 1, {"a": 1})
        done = len([path for path, _ in fake.requests if "chat" in path])
        answers = taught(made, teacher, ["one", "two", "three"], 1, {"a": 1})
        assert answers == ["[user:one]", "[user:two]", "[user:three]"]
        asked = len(fake.requests)
        assert done >= 2
        assert taught(made, teacher, ["one", "two", "three"], 1, {"a": 1}) == answers
        assert len(fake.requests) == asked
    kept = str(tmp_path / "run" / "teacher" / "0001.jsonl")
    assert dict(Teacher(recorded=kept).answers(["three"], [0], 0)) == {0: "[user:three]"}


@pytest.mark.skipif(bool(unavailable()), reason="programs cannot be kept apart here")
def test_programs_are_traced_up_to_their_answer(tmp_path):
    own = {"task": GroupTask(cut="keep"), "objective": Mml(), "curation": PartlyRight()}
    trace = tracer_of(config(tmp_path, grader=ProgramAnswerGrader(), **own))
    steps = trace(Problem("p", "?", "6"), "```python\na = 2  # two\nanswer = a * 3\n```")
    assert [tuple(step) for step in steps] == [("a = 2", ("2",), None), ("answer = a * 3", ("2", "6"), True)]
    assert [step.right for step in trace(Problem("p", "?", "7"), "answer = 6")] == [False]
    assert trace(Problem("p", "?", "7"), "no program ((") == []
    assert tracer_of(config(tmp_path)) is None
    with pytest.raises(InputError, match="'partly_right' runs programs.*grader:program_answer"):
        config(tmp_path, **own)


def test_runs_that_were_begun_before_a_setting_go_on(tmp_path):
    """Settings that are as they were before they could be set do not stand in a manifest."""
    named = {name for name in depends_on(config(tmp_path, task=ChatTask())) if "data.task" in name or "serving" in name}
    assert not named & LATER.keys()
    changed = depends_on(config(tmp_path, task=ChatTask(failed_calls="skip")))
    assert changed["train.data.task.failed_calls"] == "'skip'"


@pytest.mark.slow
def test_tailored_rounds_with_a_teacher_survive_kills(tmp_path):
    def say(prompt, seed, i):
        left, sign, right = prompt.partition("Question:\n")[2].partition("\n")[0].removesuffix("=").split()
        value = int(left) + int(right) if sign == "+" else int(left) - int(right)
        return f"Step 1: {left} {sign} {right} = {value}\nAnswer: {value}"

    fake = FakeServer(say=say)
    with fake.running() as url:
        own = {
            "objective": SelfReflection(), "task": TASKS["triplet"](), "curation": Tailored(teacher=Teacher(url=url)),
            "rounds": 4,
        }  # fmt: skip
        outcome = run(config(tmp_path / "through", **own), make_sampler=Scripted(), **QUIET)
        assert all(0 < line["asked of the teacher"] == line["failed problems"] for line in outcome.lines[1:])
        assert all(line["tailored texts"] == line["asked of the teacher"] for line in outcome.lines[1:])
        asked = len(fake.requests)
        for place, name, call in ((Journal, "append", 3), (Journal, "finish", 2), (Journal, "append", 5)):
            with pytest.MonkeyPatch.context() as patch:
                killed_at(patch, place, name, call)
                with pytest.raises(Killed):
                    run(config(tmp_path / "killed", **own), make_sampler=Scripted(), **QUIET)
        run(config(tmp_path / "killed", **own), make_sampler=Scripted(), **QUIET)
        assert len(fake.requests) > asked
    for name in ("through", "killed"):
        assert len(list((tmp_path / name / "teacher").glob("0*.jsonl"))) == 4
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "through")
    assert arrays_of(tmp_path / "killed") == arrays_of(tmp_path / "through")


@pytest.mark.slow
def test_alphamath_round_after_round(tmp_path):
    """Trees whose ends the grader judges; policy and value head train on their paths and values."""
    own = {
        "objective": AlphaMath(), "task": TASKS["step_values"](), "curation": Valued(cut="wrong"), "grader": ByHash(),
        "search": Puct(proposals=3, depth=3, step_tokens=8, simulations=6), "rounds": 3, "problems": 4,
        "sampling": SamplingConfig(max_new_tokens=32),
        "train_model": dataclasses.replace(MODEL, value_head=ValueHead()),
    }  # fmt: skip
    outcome = run(config(tmp_path / "run", **own), **QUIET)
    values = []
    for number in (1, 2, 3):
        for line in (tmp_path / "run" / "attempts" / f"{number:04}.jsonl").read_text().splitlines():
            for one in json.loads(line)["solutions"]:
                if one.get("step_values"):
                    assert "".join(one["steps"]).strip() == one["text"].strip()
                    assert one["step_values"][-1] == {"right": 1.0, "wrong": -1.0}[one["verdict"]]
                    values += one["step_values"]
    assert values
    assert all(-1 <= value <= 1 for value in values)
    assert outcome.lines[-1]["step values"] > 0
    assert "value_error" in outcome.lines[-1]["trained"]["means"]


@pytest.mark.slow
@pytest.mark.skipif(bool(unavailable()), reason="programs cannot be kept apart here")
def test_partly_right_programs_over_rounds(tmp_path):
    problems = tuple(
        Problem(f"p{n}", f"{n} + 2 =", str(n + 2), right=(f"n0 = {n}\nn1 = 2\nanswer = n0 + n1",)) for n in range(1, 5)
    )

    asked = set()

    class Programs(Scripted):
        def sample(self, prompt, seed, number, place):
            n = int(self.tokenizer.decode(prompt).partition(" ")[0].rpartition(">")[2])
            prompt = self.tokenizer.decode(prompt)
            asked.add((n, prompt.partition("\n")[2]))
            if prompt.endswith(f"z = {n}\n"):
                return Sample(f"y = 2\nanswer = {'z + y' if place else 'y'}")
            said = (f"z = {n}\nanswer = z", f"x = {n}\ny = 2\nanswer = y + x", f"q = {n + 1}\nanswer = q", "((")
            return Sample(said[place])

    own = {
        "objective": Mml(each_weight=1.0, marginal_weight=0.0), "curation": PartlyRight(per_problem=None),
        "task": GroupTask(size=4, cut="keep"), "grader": ProgramAnswerGrader(), "rounds": 2, "problems": None,
    }  # fmt: skip
    made = config(tmp_path / "run", **own)
    data = dataclasses.replace(made.train.data, source=InMemory(problems), tokenizer="bytes", sequence_length=96)
    made = dataclasses.replace(made, train=dataclasses.replace(made.train, data=data))
    lines = run(made, make_sampler=Programs(), **QUIET).lines
    assert (lines[1]["right programs"], lines[1]["partly right programs"]) == (8, 4)
    gone_on = sorted(n for n, begun in asked if begun)  # in the second round some go on from a beginning
    assert gone_on
    assert (lines[2]["right programs"], lines[2]["partly right programs"]) == (8 + len(gone_on), 4 - len(gone_on))
    assert lines[2]["trained"]["updates"] > 0
    kept = (tmp_path / "run" / "attempts" / "0002.jsonl").read_text().splitlines()
    for n in gone_on:
        texts = [one["text"] for one in json.loads(kept[n - 1])["solutions"]]
        assert texts == [f"z = {n}\ny = 2\nanswer = y", f"z = {n}\ny = 2\nanswer = z + y"]
