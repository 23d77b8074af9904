"""Paper 22, a survey: every recipe that docs/papers.md names by situation exists and is understood."""

import pytest

from tests.papers.table import COMMANDS, TABLE, faults_of


def test_situations_cover_what_users_have():
    have = " ".join(one["have"] for one in TABLE["situation"])
    kinds = ("right solutions only", "right and wrong", "pairs", "verifier", "teacher", "noisy labels", "samples at")
    assert all(kind in have for kind in kinds)
    known = {paper["number"] for paper in TABLE["paper"]}
    assert all(set(one["papers"]) <= known for one in TABLE["situation"])


@pytest.mark.parametrize("command", [one["command"] for one in TABLE["situation"]])
def test_every_recipe_exists(command):
    assert command in COMMANDS
    assert not faults_of(command)
