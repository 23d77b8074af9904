"""`launch/example_data.py`: the stand-in for GSM8K has its format, and says the truth about its solutions."""

import re
import runpy
import sys

import pytest

from mtjax.data.index import build_index
from mtjax.data.pieces import Fit
from mtjax.data.sources.gsm8k import Gsm8k, Gsm8kSolutions
from mtjax.data.sources.jsonl import Files, Jsonl
from mtjax.data.sources.mistakes import Mistakes
from mtjax.data.tasks.completion import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data") / "gsm8k"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["example_data.py", str(place), "--offline"])
        for _ in range(2):  # what exists is kept
            with pytest.raises(SystemExit, match="^0$"):
                runpy.run_path("launch/example_data.py", run_name="__main__")
    return place


def holds(text):
    return all(eval(left) == int(right) for left, right in re.findall(r"(\d+ [*+-] \d+) = (\d+)", text))


def test_human_solutions_hold_and_end_in_their_answer(folder):
    problems = Gsm8k(str(folder / "train.jsonl")).problems().items
    assert len(problems) == 2000
    for problem in problems[:200]:
        (solution,) = problem.right
        assert holds(solution)
        assert solution.split("#### ")[1] == problem.answer == re.findall(r"= (\d+)", solution)[-1]


def test_wrong_solutions_break_an_equation_and_right_ones_hold(folder):
    problems = Gsm8kSolutions(str(folder / "example_model_solutions.jsonl")).problems().items
    assert min(sum(bool(problem.right) for problem in problems), sum(bool(problem.wrong) for problem in problems)) > 500
    for problem in problems[:200]:
        assert all(holds(text) and text.endswith(f"A: {problem.answer}") for text in problem.right)
        assert not any(holds(text) or text.endswith(f": {problem.answer}") for text in problem.wrong)


def test_the_config_of_a_real_model_reads_it(folder, monkeypatch):
    from mtjax.config import read_file

    source = read_file("configs/gsm8k_smollm2_nll.py").data.source
    monkeypatch.chdir(folder.parent.parent)
    assert source.path == "data/gsm8k/example_model_solutions.jsonl"
    (folder.parent.parent / "data").exists() or (folder.parent.parent / "data").symlink_to(folder.parent)
    assert len(source.problems().items) > 100


def test_a_file_that_is_missing_is_answered_with_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no file 'data/gsm8k/train.jsonl'.*`make example-data` makes it"):
        Gsm8k("data/gsm8k/train.jsonl").problems()
    with pytest.raises(InputError, match="the head of a config names the commands that make what it reads"):
        Mistakes("runs/errors/mistakes.jsonl").problems()
    with pytest.raises(InputError, match="no file 'my/train.jsonl'[^;]*$"):
        Jsonl("my/train.jsonl").problems()


def test_solutions_that_are_called_answer_are_read_as_solutions(folder):
    path = str(folder / "test.jsonl")
    work = ("raise", CompletionTask(), load_tokenizer("bytes"), Fit(1024, "drop", "split"), None)
    assert len(build_index(Files(path), *work).ids) == 500
    assert len(build_index(Files(path, columns=("question=prompt", "answer=completion")), *work).ids) == 500
