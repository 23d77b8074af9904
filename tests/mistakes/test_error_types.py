"""The contract of an error type, for every registered one; and a new type in one file."""

import dataclasses
import functools
import pathlib
import random
import subprocess
import sys

import pytest

import mtjax.mistakes.injectors
from mtjax.data.mistake_record import to_lines
from mtjax.data.problem import Problem
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.mistakes.injection import Rules, Shares, inject
from mtjax.mistakes.injectors.base import ERROR_TYPES, draw, edited, in_order
from mtjax.mistakes.injectors.solution import Draft, parse_solution
from mtjax.mistakes.verification import verify
from mtjax.registry import summary

ROOT = pathlib.Path(__file__).parents[2]
PROSE = [
    Problem("hours", "He works 3 hours. How many minutes?", "180", ("That is 3*60=180 minutes.\n#### 180",)),
    Problem("pens", "Ann has 10 pens and Bob 4 more.", "14", ("Bob has 4 more: 10 + 4 = 14 pens.\n#### 14",)),
]
GENERATED = list(Arithmetic(count=30, seed=3).problems().items)
NEEDS_WORDS = {"unit", "misread"}
"""Types that find no place in generated arithmetic."""


@functools.cache
def drafts(name, words=False):
    """(solution, draft, problem) of every edit of a type, in generated arithmetic or in problems with words."""
    found = []
    for number, problem in enumerate(PROSE if words else GENERATED):
        solution = parse_solution(problem.question, problem.right[0])
        found += [(solution, draft, problem) for draft in draw(solution, name, random.Random(number), 10)]
    return found


@pytest.mark.parametrize("name", ERROR_TYPES)
def test_an_edit_changes_the_text_inside_one_step(name):
    found = drafts(name, words=name in NEEDS_WORDS)
    assert found
    for solution, draft, _ in found:
        assert isinstance(draft, Draft)
        assert draft.type == name
        assert draft.wrong.strip() != solution.text[draft.start : draft.end].strip()
        assert any(step.line <= draft.start <= draft.end <= step.end for step in solution.steps)


@pytest.mark.parametrize("name", ERROR_TYPES)
def test_edits_of_generated_arithmetic_are_proved_wrong(name):
    verdicts = []
    for solution, draft, problem in drafts(name):
        record = edited(solution, draft, id="m", problem_id=problem.id, answer=problem.answer)
        verdicts.append(verify(record).verdict)
    assert bool(verdicts) == (name not in NEEDS_WORDS)
    # The rest ends in the right answer by chance, or below 0, so that nothing can be said of it: a filter drops it.
    assert verdicts.count("proved") >= 0.9 * len(verdicts)
    assert "refuted" not in verdicts


@pytest.mark.parametrize("name", ERROR_TYPES)
@pytest.mark.parametrize("text", ["", "Nothing to see here."])
def test_none_if_there_is_no_place(name, text):
    solution = parse_solution("Why?", text)
    assert all(ERROR_TYPES[name](solution, random.Random(seed)) is None for seed in range(20))


@pytest.mark.parametrize("name", ERROR_TYPES)
def test_the_same_seed_gives_the_same_edit(name):
    for problem in [*PROSE, *GENERATED[:5]]:
        solution = parse_solution(problem.question, problem.right[0])
        for seed in range(5):
            edits = [ERROR_TYPES[name](solution, random.Random(seed)) for _ in range(2)]
            assert edits[0] == edits[1]


@pytest.mark.parametrize("name", ERROR_TYPES)
def test_a_type_alone_gives_proved_records(name):
    shares = Shares(**dict.fromkeys(ERROR_TYPES, 0.0) | {name: 1.0})
    problems = PROSE if name in NEEDS_WORDS else GENERATED
    made = [list(inject(problems, Rules(seed=1, shares=shares), {})) for _ in range(2)]
    assert made[0]
    assert to_lines(made[0]) == to_lines(made[1])
    assert {(record.error_type, record.verdict) for record in made[0]} == {(name, "proved")}


def test_shares_and_docs_follow_from_the_registry():
    fields = dataclasses.fields(Shares)
    assert [field.name for field in fields] == in_order()
    assert {field.name: field.default for field in fields} == {n: ERROR_TYPES[n].share for n in ERROR_TYPES}
    page = (ROOT / "docs" / "inject.md").read_text()
    for name in ERROR_TYPES:
        assert summary(ERROR_TYPES[name])
        assert f"| `{name}` |" in page


NEW = '''
"""A new error type."""
import dataclasses
from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.solution import Draft

@error_type("aaa_off_by_one")
def aaa_off_by_one(solution, rng):
    """The result of a step, one too large."""
    k, equation = rng.choice(solution.targets)
    text, token = solution.step_text(k), equation.right
    wrong = text[: token.start] + str(int(token.text) + 1) + text[token.end :]
    return Draft("aaa_off_by_one", solution.steps[k].start, solution.steps[k].end, wrong, None)
'''


def test_a_new_type_is_one_file(tmp_path):
    """The file is in the folder (here: on the package's path) and nothing else knows of it."""
    (tmp_path / "off_by_one.py").write_text(NEW)
    code = """
import sys, mtjax.registry, pkgutil
plain = pkgutil.iter_modules
mtjax.registry.pkgutil.iter_modules = lambda path=None, prefix="": (
    path.append(sys.argv[1]) if str(path[0]).endswith("injectors") and sys.argv[1] not in path else None,
    plain(path, prefix))[1]
from mtjax.inject import main
sys.exit(main(sys.argv[2:]))
"""
    words = ["source:arithmetic", "--source.count=20", "--no_leak"]
    plain = [sys.executable, "-m", "mtjax.inject", *words]
    new = [sys.executable, "-c", code, str(tmp_path), *words]
    only = [f"--shares.{name}=0" for name in ERROR_TYPES]
    runs = {
        "old": [*plain, f"--output={tmp_path}/old"],
        "with": [*new, f"--output={tmp_path}/with"],
        "only": [*new, f"--output={tmp_path}/only", *only, "--shares.aaa_off_by_one=1"],
    }
    said = {
        name: subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for name, run in runs.items()
    }
    read = lambda name: (tmp_path / name / "mistakes.jsonl").read_text()
    assert read("old") == read("with")  # with share 0 it changes nothing
    assert read("only").count('"error_type": "aaa_off_by_one"') == 20
    assert "\naaa_off_by_one " in said["only"]


def test_an_unknown_type_is_refused_where_mistakes_are_made():
    solution = parse_solution("q", "1 + 1 = 2")
    with pytest.raises(ValueError, match="did you mean 'value'"):
        edited(solution, Draft("valeu", 0, 9, "1 + 1 = 3", None), id="m", problem_id="p", answer="2")


def test_every_module_of_the_folder_is_imported():
    modules = {file.stem for file in pathlib.Path(mtjax.mistakes.injectors.__path__[0]).glob("*.py")} - {"__init__"}
    assert all(f"mtjax.mistakes.injectors.{module}" in sys.modules for module in modules)
