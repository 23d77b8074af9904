"""docs/objectives.md is what the docstrings say."""

import pathlib
import re

from mtjax.list import main, objectives_page
from mtjax.objectives import OBJECTIVES


def test_the_page_is_made_from_the_docstrings_and_printed_by_the_command(capsys):
    page = objectives_page()
    file = pathlib.Path(__file__).parent.parent / "docs" / "objectives.md"
    assert file.read_text() == page, "make it again: python -m mtjax.list objectives > docs/objectives.md"
    assert main(["objectives"]) == 0
    assert capsys.readouterr().out == page


def test_every_objective_stands_in_one_family_with_formula_use_and_source():
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) (?<!\\)\| (.*?) ?(?<!\\)\| (.+?) (?<!\\)\| (.*?) ?\|$", objectives_page(), re.M
    )
    assert sorted(name for name, *_ in rows) == sorted(OBJECTIVES)
    assert all(
        formula.strip() and use.strip() and (source.strip() or name == "nll") for name, formula, _, use, source in rows
    )
    needs = {name: need for name, _, need, _, _ in rows}
    assert needs["dpo"] == "a reference"
    assert needs["kto"] == "a reference, a pass over the entire batch"
    assert needs["nll"] == ""
