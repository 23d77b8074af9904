"""The map end to end at a toy size: every kind of cell, two processes in one folder, a kill, and a cell run again."""

import dataclasses
import json
import pathlib
import shutil

import pytest

from mtjax.config import module_at
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.experiments import map_report, map_runner
from mtjax.experiments.cells import JOURNAL, CellRunner, read_journal
from mtjax.experiments.config import Map
from mtjax.experiments.grid import BASELINE, IN, Slice, StartModel
from mtjax.experiments.runner import best_rate
from mtjax.experiments.stages import Stages
from mtjax.io.lock import locked
from tests.experiments.tiny import EASY, SETUP

MAP = module_at(pathlib.Path(__file__).parents[2] / "configs" / "map.py")
SLICES = {
    "methods": Slice("?", tuple(MAP.METHODS), measures=("tests", "line")),
    "wrong": Slice("?", ("mistake tuning",), {"mistakes": ("own", "injected", "weaker")}, ("decodings",)),
    "matched": Slice("?", (BASELINE,), {"matched": ("no prefix", "RISE"), "share": (2.0,)}),
    "data": Slice("?", (BASELINE, "DPO + NLL"), {"solutions": ("one",), "problems": (12,)}),
}


def tiny(folder, **changes):
    settings = {
        "start_source": Arithmetic(count=300, **EASY),
        "mine_source": Arithmetic(count=40, seed=1, **EASY),
        "validation_source": Arithmetic(count=8, seed=4, **EASY),
        "more_steps": Arithmetic(count=4, seed=5, min_operands=3, max_operands=3, high=4),
        "larger_numbers": Arithmetic(count=4, seed=6, min_operands=2, max_operands=2, low=5, high=9),
        "other_order": Arithmetic(count=4, seed=7, min_operands=3, max_operands=3, high=4, sums_first=False),
        "rates": (1e-3,), "weak_at": 0.02, "seeds": (0,), "extra_seeds": (1,), "line": (0.5,), "target": (0.2, 1.0),
        "output": str(folder),
    }  # fmt: skip
    return Map(**(SETUP | settings | changes))


def grid_of(c, **slices):
    starts = {name: StartModel(c.start_source, c.target, "toy") for name in MAP.STARTS}
    return dataclasses.replace(MAP.experiment(c), starts=starts, slices=slices or SLICES)


def kept(folder):
    """The lines of the journal without times."""
    runs = [run for own in read_journal(folder / JOURNAL).values() for run in own.values()]
    return {(run.cell, run.seed): dataclasses.replace(run, seconds={}) for run in runs}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    c = tiny(tmp_path_factory.mktemp("map") / "whole")
    map_runner.run(c, grid_of(c))
    return c, kept(pathlib.Path(c.output))


@pytest.mark.slow
def test_every_cell_is_run_and_measured(done):
    c, runs = done
    grid = grid_of(c)
    assert {name for name, seed in runs if seed == 0} == {*grid.cells, "start,planted"}
    equal = c.arm_steps * c.batch_size * c.sequence_length
    for (name, seed), run in runs.items():
        assert seed in (0, 1)
        assert {IN, "more steps", "larger numbers", "other order"} <= set(run.counts)
        assert not run.diverged
        if name in grid.cells and not grid.cells[name].matched:
            assert run.cost["positions"] == equal, name
    assert "as trained@0.5" in runs["glow", 0].counts
    assert {"as trained@none", "other order@contrast"} <= set(runs["mistake-tuning,mistakes=weaker", 0].counts)
    matched, both = runs["right-only,share=2,matched=no-prefix", 0], runs["right-only", 0]
    assert matched.cost["updates"] < both.cost["updates"]
    assert matched.cost["right_tokens"] < both.cost["right_tokens"]
    page = map_report.write(c, grid, "made by a test")
    assert "is not complete" not in page.read_text()
    assert list(pathlib.Path(c.output, "work", "cells").rglob("run")) == []


@pytest.mark.slow
def test_a_cell_run_again_gives_the_same_numbers(done, tmp_path):
    c, runs = done
    again = dataclasses.replace(c, output=str(tmp_path / "again"), cells=("dco", "nsr"))
    map_runner.run(again, grid_of(again))
    for name in ("dco", "nsr"):
        assert kept(tmp_path / "again")[name, 0] == runs[name, 0]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_others_are_left_alone(done, tmp_path, monkeypatch):
    c, runs = done
    folder = tmp_path / "resumed"
    shutil.copytree(c.output, folder)
    (folder / "cells" / "dco-seed0.json").unlink()
    (folder / "cells" / "nsr-seed0.json").write_text('{"part"')  # damaged
    (folder / JOURNAL).unlink()
    c = dataclasses.replace(c, output=str(folder))
    said = []
    with locked(folder / "work" / "cells" / "dco-seed0"):  # another process is at it
        map_runner.run(c, grid_of(c), said.append)
    assert any("1 runs are with other processes" in line for line in said)
    assert kept(folder).keys() == runs.keys() - {("dco", 0)}
    map_runner.run(c, grid_of(c), said.append)
    assert kept(folder) == runs
    monkeypatch.setattr(Stages, "train", lambda *_, **__: pytest.fail("trained again"))
    map_runner.run(c, grid_of(c), said.append)
    with pytest.raises(InputError, match="other settings"):
        CellRunner(dataclasses.replace(c, arm_steps=5), grid_of(c))


@pytest.mark.slow
def test_the_learning_rate_is_chosen_on_validation_problems(done, tmp_path):
    c, _ = done
    c = dataclasses.replace(c, output=str(tmp_path / "rates"), rates=(1e-6, 3e-2), cells=("right-only",), seeds=(0,))
    map_runner.run(c, grid_of(c))
    found = json.loads((tmp_path / "rates/rates/right-only.json").read_text())["part"]
    (run,) = (run for (name, _), run in kept(tmp_path / "rates").items() if name == "right-only")
    assert {float(rate) for rate in found} == set(c.rates)
    assert run.rate == best_rate({float(rate): value for rate, value in found.items()})
