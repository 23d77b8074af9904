"""Parts of an experiment that are damaged on disk are made again; the settings are refused in one line."""

import dataclasses
import os

import pytest

from mtjax.errors import InputError
from mtjax.experiments.config import Demo
from mtjax.experiments.results import MinedProblems, ResultsFolder


def opened(folder):
    return ResultsFolder(dataclasses.replace(Demo(), output=str(folder)), ("output",))


def test_a_damaged_part_is_made_again(tmp_path, capsys):
    made = []

    def make():
        made.append(1)
        return MinedProblems([], 120, 3400)

    file = tmp_path / "mined.json"
    assert opened(tmp_path).part("mined", MinedProblems, make) == MinedProblems([], 120, 3400)
    sound = file.read_bytes()
    for spoilt in (b"", sound[:20], bytes(40), sound.replace(b"3400", b"3500"), sound.replace(b"part", b"pert")):
        file.write_bytes(spoilt)
        assert opened(tmp_path).part("mined", MinedProblems, make) == MinedProblems([], 120, 3400)
        assert "mined.json is damaged; it is set aside and made again" in capsys.readouterr().out
    assert len(made) == 6
    file.write_text('{"part": {"problems": [], "drawn": 7, "tokens": 8}, "seconds": 1.5}')  # of an earlier version
    assert opened(tmp_path).part("mined", MinedProblems, make) == MinedProblems([], 7, 8)
    assert len(made) == 6
    assert sorted(os.listdir(tmp_path)) == ["mined.damaged", "mined.json", "settings.json"]


@pytest.mark.parametrize("name", ["settings.json", "methods.json"])
@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_damaged_settings_are_refused(tmp_path, name, text):
    opened(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name} is damaged .*another --output, or delete the folder"):
        opened(tmp_path)
