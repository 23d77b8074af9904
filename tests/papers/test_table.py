"""The table of papers: complete, honest about what is missing, and every command in it is understood and runs."""

import importlib
import re

import pytest

from mtjax import config, inject, train
from mtjax.errors import ExitCode
from tests.papers.table import COMMANDS, ROOT, TABLE, faults_of, papers, words_of

PAPERS = TABLE["paper"]
TESTS = ROOT / "tests" / "papers"


def test_there_are_58_papers_with_a_test_file_of_their_own_each():
    assert sorted(paper["number"] for paper in PAPERS) == list(range(1, 59))
    assert len({paper["arxiv"] for paper in PAPERS}) == 58
    done = [paper for paper in PAPERS if paper["state"] != papers.NOT_YET]
    assert all(paper["state"] in papers.STATES for paper in PAPERS)
    numbers = {int(file.name.split("_")[2]) for file in TESTS.glob("test_paper_*.py")}
    assert numbers == {paper["number"] for paper in done}
    for paper in done:
        assert paper["command"]
        for file in papers.test_files(paper["number"]):
            assert re.search(r"^def test_", (ROOT / file).read_text(), re.MULTILINE), file


def test_what_is_missing_is_said():
    for paper in PAPERS:
        assert paper["differs"]
        assert (paper["state"] == papers.NOT_YET) == ("command" not in paper)
        if paper["state"] == "partly":
            assert re.search(r"not |No |without |left out", paper["differs"]), paper["number"]
        if paper["state"] == "example":
            program = paper["command"].removeprefix("python docs/")
            assert f"]({program})" in (ROOT / "docs" / "paper_examples.md").read_text()


def test_the_page_is_made_from_the_table():
    assert papers.PAGE.read_text() == papers.page(), "make it again: python docs/site/papers.py"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_options_choices_and_files_that_exist(command):
    assert not faults_of(command)


@pytest.mark.parametrize(
    "command",
    [
        "python -m mtjax.trian configs/tiny.py",
        "python -m mtjax.train configs/tinny.py",
        "python -m mtjax.train configs/tiny.py objective:nlll",
        "python -m mtjax.train configs/tiny.py --objectiv.beta=1",
        "python docs/examples/papers/nothing.py",
        "make demo",
    ],
)
def test_a_dead_command_is_found(command):
    assert faults_of(command)


def trains(command):
    name, words = words_of(command)
    return name == "train" and not any(word.isupper() for word in words)


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("command", [command for command in COMMANDS if trains(command)])
def test_a_command_of_training_trains(command, tmp_path, monkeypatch):
    """Two updates of what the command says, and of the run that it names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    short = ["--steps=2", "--no_tensorboard", "--held_out=None"]
    _, words = words_of(command)
    settings = config.load(words[0], words[1:])
    for line in (
        (ROOT / words[0]).read_text().split('"""')[1].splitlines()
    ):  # the head of a config says what comes first
        if "python -m mtjax.inject " in line:
            assert inject.main(line.split("mtjax.inject ")[1].split()) == ExitCode.DONE
    for start in {settings.init_from, settings.reference.model} - {None, "smollm2"}:
        assert train.main([f"configs/{start.removeprefix('runs/')}.py", *short, f"--run_dir={start}"]) == ExitCode.DONE
    if settings.held_out is None:
        short = short[:2]
    assert train.main([*words, *short, "--run_dir=run"]) == ExitCode.DONE
    assert (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({words_of(command)[0] for command in COMMANDS} - {""}))
def test_every_command_has_help(name, capsys):
    try:
        code = importlib.import_module(f"mtjax.{name}").main(["--help"])
    except SystemExit as ended:
        code = ended.code
    assert code == ExitCode.DONE
    assert f"mtjax.{name}" in capsys.readouterr().out
