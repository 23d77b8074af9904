"""The design of the map: cells, baselines, contrasts, and the rules, on journals made up by hand."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest

from mtjax.config import module_at
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.experiments import map_report
from mtjax.experiments.arms import arm_config
from mtjax.experiments.cells import JOURNAL, CellRunner, read_journal
from mtjax.experiments.config import Map
from mtjax.experiments.effects import Contrast, Effect, contrasts, differences, effects, main_effects, unsettled
from mtjax.experiments.grid import BASELINE, IN, OUT, Cell, Grid, MapMethod, Slice
from mtjax.experiments.map_runner import chosen
from mtjax.reporting.intervals import Interval
from tests.experiments.tiny_map import drawn, run, start

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
ROOT = CONFIGS.parent
MAP = module_at(CONFIGS / "map.py")
GRID = MAP.experiment(MAP.recipe)
TESTS = list(MAP.recipe.tests)


def small(**slices):
    """Two methods on the starts of the map."""
    methods = {name: MAP.METHODS[name] for name in (BASELINE, "no prefix", "DCO")}
    default = {"domain": Slice("?", (BASELINE, "no prefix"), measures=("tests",))}
    return Grid(title="Small", methods=methods, starts=MAP.STARTS, slices=slices or default)


def test_the_registered_grid_is_large_enough_and_complete():
    cells = GRID.cells
    assert len(cells) >= 120
    assert len(MAP.recipe.seeds) >= 3
    assert {cell.method for cell in cells.values()} == set(MAP.METHODS)
    for factor, levels in {
        "share": {0.25, 1, 2}, "weight": {0.05, 0.2, 1}, "loss_on": {"rationale", "all"}, "problems": {100, 400, 1600},
        "solutions": {"all", "one"}, "mistakes": {"own", "injected", "weaker"},
        "start": {"planted", "diffuse", "broad"},
    }.items():  # fmt: skip
        assert {getattr(cell, factor) for cell in cells.values()} == levels, factor
    # Every cell has its baseline in the grid; every name is a cell of its own.
    assert {GRID.baseline(cell).name for cell in cells.values()} <= set(cells)
    assert len(set(cells.values())) == len(cells)
    assert max(map(len, cells)) < 200


def test_a_method_has_its_own_factors_only():
    assert GRID.cell(BASELINE, share=2.0, weight=0.2, problems=100) == Cell(method=BASELINE, problems=100)
    assert GRID.cell("GLOW", share=2.0, weight=0.2).name == "glow,share=2"
    assert GRID.cells_of("share x weight").count(Cell(method=BASELINE)) == 1
    # 3 shares x 3 weights: mistake tuning with two losses, no prefix and NFT with one; right-only training once.
    assert len(GRID.cells_of("share x weight")) == 9 * 2 + 9 + 9 + 1
    injected = [cell for cell in GRID.cells_of("kind of mistake") if cell.mistakes != "own"]
    assert injected
    assert {cell.start for cell in injected} == {"planted"}


def test_the_test_sets_are_what_was_never_trained():
    c = MAP.recipe
    train = c.start_source
    assert c.more_steps.min_operands > train.max_operands
    assert c.larger_numbers.high > train.high
    assert (train.sums_first, c.mine_source.sums_first, c.other_order.sums_first) == (True, True, False)
    assert {test.split for test in c.tests.values()} == {"test"}
    assert {c.mine_source.split, train.split} == {"train"}
    assert {c.validation_source.split, c.check_source.split} == {"validation"}


def test_baselines_share_problems_and_start():
    cell = GRID.cell("mistake tuning", share=2.0, problems=100, start="broad")
    assert GRID.baseline(cell) == Cell(method=BASELINE, problems=100, start="broad")
    matched = GRID.matched(GRID.cell("GLOW", share=2.0))
    assert (matched.matched, matched.share) == ("no prefix", 2.0)
    assert GRID.matched(GRID.cell("NSR")) is None
    assert GRID.matched(GRID.cell("NFT", mistakes="weaker")) is None
    assert "line" in GRID.measures(GRID.cell("DCO"))
    assert GRID.measures(GRID.cell("mistake tuning", share=2.0)) == {"tests", "decodings"}


def test_every_main_contrast_is_once_in_the_family():
    main = [one for one in contrasts(GRID, TESTS, 8, MAP.recipe.line) if one.main]
    assert len(set(main)) == len(main)
    others = sum(cell.method != BASELINE for cell in GRID.cells.values())
    assert sum(one.says == "equal positions" for one in main) == 2 * others
    assert {one.k for one in main} == {1}
    assert any(one.says == "equal right tokens" for one in main)


def test_differences_are_paired_by_seed_and_problem():
    """Two problems, four samples: (3 - 1) / 4 and (0 - 4) / 4 with seed 0; the seed that one has alone is left out."""
    grid = small()
    theirs = {0: run(grid, "right-only", 0, {IN: [1, 4], "a": [0, 0], "b": [4, 4]})}
    ours = {seed: run(grid, "no-prefix", seed, {IN: [3, 0], "a": [4, 2], "b": [2, 4]}) for seed in (0, 1)}
    runs = {"right-only": theirs, "no-prefix": ours, "start,planted": {0: start("planted", {IN: [2, 2]})}}
    ask = lambda against, test: Contrast("no-prefix", against, "", test, test, 1, True)
    np.testing.assert_allclose(differences(runs, ask("right-only", IN)), [[0.5, -1.0]])
    np.testing.assert_allclose(differences(runs, ask("right-only", OUT)), [[1, 0.5, -0.5, 0]])
    np.testing.assert_allclose(differences(runs, ask("start,planted", IN)), [[0.25, -0.5]] * 2)
    assert differences(runs, ask("dco", IN)) is None
    np.testing.assert_allclose(theirs[0].passes(IN, 4), [1, 1])


@pytest.mark.parametrize(
    ("adjusted", "seeds", "verdict"),
    [(0.05, (0.1, 0.2, 0.01), "helps"), (0.04, (-0.1, -0.2), "hurts"), (0.04, (0.1, -0.01), "unclear"),
     (0.051, (0.1, 0.2), "unclear"), (0.0, (0.1, 0.0), "unclear")],
)  # fmt: skip
def test_the_rule_for_helps(adjusted, seeds, verdict):
    contrast = Contrast("a", "b", "", IN, IN, 1, True)
    assert Effect(contrast, Interval(0, 0, 0, 0.95), seeds, 0.01, adjusted).verdict(0.05) == verdict


def journal(grid, rates, seeds=(0, 1, 2), **options):
    """Runs of every cell of a small grid, by the probability of a right solution of each method."""
    runs = {
        name: {seed: run(grid, name, seed, drawn(rates[cell.method], 7 + seed, TESTS, **options)) for seed in seeds}
        for name, cell in grid.cells.items()
    }
    for name in {cell.start for cell in grid.cells.values()}:
        runs[f"start,{name}"] = {0: start(name, drawn(0.3, 99, TESTS, **options))}
    return runs


def test_planted_effects_are_found():
    grid = small()
    for rate, verdict in ((0.9, "helps"), (0.1, "hurts"), (0.5, "unclear")):
        found = effects(journal(grid, {BASELINE: 0.5, "no prefix": rate}), list(contrasts(grid, TESTS, 4)))
        assert [one.verdict(0.05) for one in found if one.contrast.main] == [verdict] * 2
        (first, *_) = found
        assert first.interval.low <= first.interval.mean <= first.interval.high
        assert first.adjusted >= first.p
    (main,) = main_effects(grid, journal(grid, {BASELINE: 0.5, "no prefix": 0.9}), "domain")
    assert main.cells == 1
    assert main.intervals[IN].low > 0.3


def test_more_seeds_go_to_what_is_unclear():
    """By the first seeds alone; the baseline gets them too."""
    grid = small(two=Slice("?", (BASELINE, "no prefix", "DCO")))
    runs = journal(grid, {BASELINE: 0.5, "no prefix": 0.95, "DCO": 0.5})
    assert [cell.name for cell in unsettled(grid, runs, (0, 1, 2), TESTS)] == ["right-only", "dco"]
    assert unsettled(grid, runs, (0, 1, 2, 3), TESTS) == []
    more = {name: own | {3: own[next(iter(own))]} for name, own in runs.items()}
    assert unsettled(grid, more, (0, 1, 2), TESTS) == unsettled(grid, runs, (0, 1, 2), TESTS)


def test_the_page_is_made_from_a_journal(tmp_path, capsys):
    grid = small(domain=Slice("Where?", (BASELINE, "no prefix", "DCO"), {"problems": (100, 400)}))
    runs = journal(grid, {BASELINE: 0.5, "no prefix": 0.1, "DCO": 0.9})
    runs["dco"][2].diverged = "loss is nan at step 3"
    lines = [json.dumps({"schema": 1} | vars(one)) for own in runs.values() for one in own.values()]
    (tmp_path / JOURNAL).write_text("\n".join(lines) + "\n")
    page = tmp_path / "page.md"
    page.write_text(
        f"# Registered\n\nRules.\n\n{map_report.MARKS[0]}\n\nnothing yet\n\n{map_report.MARKS[1]}\n\nEnd.\n"
    )
    c = Map(output=str(tmp_path), page=str(page), ks=(1, 4), samples=4)
    assert read_journal(tmp_path / JOURNAL) == runs
    html = map_report.write(c, grid, "the command")
    text = page.read_text()
    assert text.startswith("# Registered\n\nRules.\n\n")
    assert text.endswith("\n\nEnd.\n")
    assert "nothing yet" not in text
    for words in ("6 of 6 cells", "help", "hurt", "loss is nan at step 3", "no-prefix", "### Every cell"):
        assert words in text, words
    assert "not complete" not in text
    assert (tmp_path / "pictures" / tmp_path.name / "map-domain.png").stat().st_size > 1000
    assert "the command" in html.read_text()
    kept = [json.loads(line) for line in (tmp_path / map_report.EFFECTS).read_text().splitlines()]
    assert len(kept) == len(list(contrasts(grid, TESTS, 4)))
    helps = {one["cell"] for one in kept if one["main"] and one["verdict"] == "helps"}
    assert helps == {"dco", "dco,problems=100"}
    map_report.fill(page, "other results")
    assert page.read_text().count("other results") == 1
    assert "Every cell" not in page.read_text()
    capsys.readouterr()


def test_bad_journals_pages_and_names(tmp_path):
    (tmp_path / JOURNAL).write_text('{"cell": "a"}\n')
    with pytest.raises(InputError, match=r"cells.jsonl:1 is not a run of the map"):
        read_journal(tmp_path / JOURNAL)
    with pytest.raises(InputError, match="run the cells first"):
        read_journal(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="once each"):
        map_report.fill(tmp_path / "absent.md", "x")
    with pytest.raises(InputError, match="no cell 'glow,share=3'; did you mean 'glow,share=2'"):
        chosen(Map(cells=("glow,share=3",)), GRID)
    with pytest.raises(InputError, match="known: 149 names, the closest are glow,share=2; ") as refused:
        chosen(Map(cells=("glow,share=3",)), GRID)
    assert len(str(refused.value)) < 250  # not all 149
    with pytest.raises(InputError, match="no slice 'domains'; did you mean 'domain'"):
        chosen(Map(slices=("domains",)), GRID)
    early = GRID.starts | {"planted": GRID.starts["planted"]._replace(target=(0.3, 0.7))}
    with pytest.raises(InputError, match="weak_at=0.4: expected at most 0.3, where the start 'planted' may stop"):
        CellRunner(Map(weak_at=0.4), dataclasses.replace(GRID, starts=early))
    with pytest.raises(InputError, match="no factor 'shares'"):
        small(one=Slice("?", (BASELINE,), {"shares": (1,)}))
    with pytest.raises(InputError, match="no method 'dco'"):
        small(one=Slice("?", ("dco",)))
    for bad in ({"extra_seeds": (0,)}, {"weak_at": 0.5}, {"line": (0.0,)}, {"level": 1.0}, {"rates": ()}):
        with pytest.raises(InputError, match=next(iter(bad))):
            Map(**bad)


def test_a_slice_brings_what_it_is_compared_with():
    names = [cell.name for cell in chosen(Map(slices=("decoding",)), GRID)]
    assert "right-only" in names
    assert len(names) == 10
    assert [cell.name for cell in chosen(Map(cells=("glow",)), GRID)] == ["glow"]
    assert len(chosen(Map(), GRID)) == len(GRID.cells)


def test_the_registration_names_the_grid():
    """The page says how many cells and comparisons there are; it is committed before any of them runs."""
    text = (ROOT / "docs/when_mistakes_help.md").read_text()
    main = sum(one.main for one in contrasts(GRID, TESTS, 8))
    assert f"{len(GRID.cells)} cells" in text
    assert f"{main} main comparisons" in text
    assert all(text.count(mark) == 1 for mark in map_report.MARKS)
    for name, own in GRID.slices.items():
        assert f"| {name} | {len(GRID.cells_of(name))} |" in text, (name, own)
    assert isinstance(MAP.METHODS["NSR"], MapMethod)


def test_every_method_of_every_cell_is_a_config_that_training_takes():
    """Objective and task fit; `Config` itself refuses what does not."""
    problems = [Problem("a", "1 + 2 =", "3", ("Answer: 3",), ("Answer: 4",), success_rate=0.5)]
    kinds = {repr((made.objective, made.task)): made for cell in GRID.cells.values()
             for made in [GRID.methods[cell.method].make(cell)]}  # fmt: skip
    assert len(kinds) > len(MAP.METHODS)
    for made in kinds.values():
        config = arm_config(MAP.recipe, "x", made, problems, 0, 1e-3, 3)
        assert config.batch_size == 32 // made.task.sides


def test_the_ten_sentences_say_what_the_results_say():
    """Their cells are in the grid, and their differences in domain are those of the table below them."""
    text = (ROOT / "docs" / "when_mistakes_help.md").read_text()
    sentences = " ".join(text.partition("## What to use when")[2].partition("\n## ")[0].split())
    assert [f"{n}. **" in sentences for n in range(1, 12)] == [True] * 10 + [False]
    assert set(re.findall(r"`([^`]+)`", sentences)) <= set(GRID.cells)
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if "| as trained " in line]
    table = {row[0]: float(row[5].split()[0]) for row in rows if len(row) == 9 and "[" in row[5]}
    said = re.findall(r"`([^`]+)`(?: \(|, )([-+]?\d+\.\d)[,);]", sentences)
    assert len(said) > 25
    assert [(name, float(points)) for name, points in said] == [(name, round(100 * table[name], 1)) for name, _ in said]
    assert "0 help, 111 hurt and 243 are unclear" in text
    assert "no method is better, 111 are worse and 243 are unclear" in sentences
