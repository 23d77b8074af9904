"""Every option and choice that version 0.1 offered is still offered, by the same name and behind the same choice."""

import pathlib

import pytest

from mtjax.config import parse, read_file
from mtjax.data.tasks import ChatTask
from mtjax.optim.schedules import Linear
from mtjax.registry import resolve
from tests.offered import COMMANDS, CONFIGS, offered

LISTS = pathlib.Path(__file__).parent / "fixtures" / "v0_1" / "help"


def test_each_list_is_of_a_command_that_is_asked():
    assert sorted(COMMANDS) == sorted(file.stem for file in LISTS.glob("*.txt"))


def today(line):
    """What a line of the lists is called today: choices have their registered names; the old ones mean the same."""
    choice, *option = line.split(" ")
    part, colon, name = choice.partition(":")
    return " ".join([f"{part}:{resolve(name)}" if colon else choice, *option])


# Those that print their help many times, once for each choice, are slow.
MANY = ("train", "mine", "rethink", "recipe_demo", "recipe_compare", "recipe_coverage")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in MANY else n for n in COMMANDS])
def test_what_was_offered_is_offered(name):
    now = set(offered(name))
    parts = {f"--{line.partition(':')[0]}" for line in now if not line.startswith("-")}  # --part=NAME chooses too
    was = {today(line) for line in (LISTS / f"{name}.txt").read_text().splitlines()}
    assert not sorted(was - now - parts)


def test_a_choice_is_understood_in_every_spelling():
    config = read_file(CONFIGS / "tiny.py")
    spellings = ["optim.schedule:linear", "--optim.schedule=linear", "optim.schedule:Linear"]
    assert {parse(config, [word], "test").optim.schedule for word in spellings} == {Linear()}
    words = ["chat", "chat_task", "chat-task", "ChatTask"]
    tasks = {parse(config, ["objective:nll", f"data.task:{word}"], "test").data.task for word in words}
    assert tasks == {ChatTask()}
