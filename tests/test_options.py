"""Every option and choice that version 0.1 offered is still offered, by the same name and behind the same choice."""

import pathlib

import pytest

from tests.offered import COMMANDS, offered

LISTS = pathlib.Path(__file__).parent / "fixtures" / "v0_1" / "help"


def test_each_list_is_of_a_command_that_is_asked():
    assert sorted(COMMANDS) == sorted(file.stem for file in LISTS.glob("*.txt"))


@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_offered_is_offered(name):
    was = (LISTS / f"{name}.txt").read_text().splitlines()
    assert not sorted(set(was) - set(offered(name)))
