"""The demo end to end at a toy size, and its accounting."""

import json
import pathlib
import tarfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.config import module_at
from mtjax.data.answers import Verdict, check_answer
from mtjax.data.examples import encode_prompt
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.experiments.arms import arm_config, cost_of, start_config
from mtjax.experiments.config import Demo, Overfit
from mtjax.experiments.experiment import PLAIN
from mtjax.experiments.findings import MARGIN
from mtjax.experiments.runner import best_rate
from mtjax.experiments.stages import Stages
from tests.experiments.tiny import EASY, SETUP, findings, report

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def tiny(folder, **changes):
    settings = {
        "mine_source": Arithmetic(count=24, seed=1, **EASY),
        "overfit": Overfit(
            source=Arithmetic(count=8, seed=5, **EASY),
            test_source=Arithmetic(count=8, seed=6, **EASY),
            n=4,
            steps=4,
            looks=2,
            samples=4,
            ks=(1, 4),
        ),
        "output": str(folder),
    }
    return Demo(**(SETUP | settings | changes))


def trained_on(found, name, problems):
    """Target tokens of an arm of the first seed, had it these problems."""
    method = found.e.methods[name]
    config = arm_config(found.c, "x", method, problems, found.c.seeds[0], method.rate, found.c.arm_steps)
    return cost_of(config, load_tokenizer("arithmetic"))["target_tokens"]


def test_end_to_end_with_equal_budgets(tmp_path, capsys):
    found = findings("demo", tiny(tmp_path / "report"))
    outcome, arms = found.outcome, found.outcome.arms
    positions = {name: [run.cost["positions"] for run in runs] for name, runs in arms.trained.items()}
    equal = 4 * 16 * 96  # steps, rows, positions of a row
    assert positions == {name: [equal, equal] for name in ("right only", "mistake tuning", "RISE", "DCO")}
    assert all(run.behind_wrong is not None for run in arms["mistake tuning"])
    # RISE alone trains on the injected steps; mistake tuning could read them as solutions.
    tokens = {name: trained_on(found, name, outcome.mined.problems) for name in arms.trained}
    differ = [name for name, records in arms.trained.items() if records[0].cost["target_tokens"] != tokens[name]]
    assert differ == ["RISE"]
    # Another decoding is an arm of its own, with other samples of the same training.
    tuned, contrast = arms["mistake tuning"], arms["mistake tuning, by contrast"]
    assert [run.losses for run in contrast] == [run.losses for run in tuned]
    assert [run.curve for run in contrast] != [run.curve for run in tuned]
    assert [run.passes(1).mean() for run in contrast] == [run.end.right.mean() for run in contrast]
    # One margin for each problem that an error can be injected into, the same problems for all.
    margins = {name: [run.margins for run in runs] for name, runs in arms.items()}
    assert {each.shape for own in margins.values() for each in own} == {(16,)}
    assert not np.array_equal(margins["RISE"][0], margins["right only"][0])
    measured = {claim.measure: claim.interval for claim in found.claims}
    expected = np.mean(margins["RISE"]) - np.mean(margins["right only"])
    np.testing.assert_allclose(measured[f"{MARGIN}: RISE less right only"].mean, expected, rtol=1e-6)
    assert "pass@4: DCO, N = 4 less cross-entropy" in measured
    assert "pass@1: mistake tuning, by contrast less mistake tuning" in measured
    # What was mined is what the checker says.
    for problem in outcome.mined.problems:
        assert all(check_answer(text, problem.answer) is Verdict.RIGHT for text in problem.right)
        assert all(check_answer(text, problem.answer) is Verdict.WRONG for text in problem.wrong)
    page, numbers = report(found)
    text = page.read_text()
    assert "<img" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    start = numbers["arms"]["start"]["1"][0][0]
    np.testing.assert_allclose(start, arms["start"][0].end.right.mean())
    # The coverage picture: both arms from one start, looked at twice.
    small = numbers["overfit"]["curves"]
    assert {name: list(steps) for name, steps in small.items()} == {
        "cross-entropy": ["0", "2", "4"],
        "DCO, N = 4": ["0", "2", "4"],
    }
    assert small["cross-entropy"]["0"] == small["DCO, N = 4"]["0"]
    assert numbers["overfit"]["verdict"] in text
    said = capsys.readouterr().out
    assert "mistake tuning, by contrast" in said
    assert "pass@1" in said


def test_the_demo_is_four_cells_of_the_map():
    """Their settings, and the learning rates that were chosen, as the archive of the map has them."""
    demo, grid = module_at(CONFIGS / "demo.py"), module_at(CONFIGS / "map.py")
    arms, cells = demo.methods(), grid.experiment(grid.recipe).cells
    with tarfile.open(CONFIGS.parent / "docs" / "map_runs.tar.xz") as archive:
        for name, (cell, rate) in demo.CELLS.items():
            base = grid.experiment(grid.recipe).cell(cells[cell].method, start=cells[cell].start)
            found = json.load(archive.extractfile(f"rates/{base.name}.json"))["part"]
            assert rate == arms[name].rate == best_rate({float(key): value for key, value in found.items()}), name
    shared = ("model", "optim", "start_source", "test_source", "batch_size", "start_batch_size", "sequence_length")
    for setting in (*shared, "max_segments", "arm_steps", "samples", "mine_samples", "check_every", "target"):
        assert getattr(demo.recipe, setting) == getattr(grid.recipe, setting), setting
    assert set(demo.recipe.seeds) < set(grid.recipe.seeds)
    first = grid.recipe.mine_source.problems().items[:400]
    assert demo.recipe.mine_source.problems().items == first


def test_the_start_has_its_own_batch_size(tmp_path):
    c = tiny(tmp_path, batch_size=8, start_batch_size=32)
    assert start_config(c, 0).batch_size == 32
    assert start_config(tiny(tmp_path, batch_size=8), 0).batch_size == 8
    rise = module_at(CONFIGS / "demo.py").methods()["RISE"]
    assert arm_config(c, "x", rise, [], 0, None, 4).batch_size == 4  # pairs of two rows
    assert arm_config(c, "x", module_at(CONFIGS / "demo.py").methods()["DCO"], [], 0, None, 4).batch_size == 8


def test_margins_are_log_probabilities_of_a_right_and_a_wrong_step(tmp_path):
    """Against the model's own log-softmax, one text at a time."""
    stages = Stages(tiny(tmp_path))
    params = jax.jit(stages.model.init)(jax.random.key(3))
    problems = Arithmetic(count=3, seed=8, **EASY).problems().items
    found = stages.margins(params, problems, PLAIN)
    for problem, value, (name, pair) in zip(problems, found, stages.step_pairs(problems, 1, {}), strict=True):
        assert name == problem.id
        sums = []
        for side in (pair.chosen, pair.rejected):
            before = encode_prompt(stages.tokenizer, PLAIN.prompt(problem, None, stages.tokenizer))
            before = [*before, *stages.tokenizer.encode(pair.context).ids]
            ids = np.array([*before, *stages.tokenizer.encode(side).ids])
            read = jnp.asarray(ids[None, :-1], jnp.int32)
            hidden = stages.model.hidden(params, read, jnp.ones_like(read))
            log_p = jax.nn.log_softmax(stages.model.logits(params, hidden[0]))
            sums.append(float(np.asarray(log_p)[np.arange(len(before) - 1, len(ids) - 1), ids[len(before) :]].sum()))
        np.testing.assert_allclose(value, sums[0] - sums[1], atol=1e-4)


def test_a_missed_stop_rule_fails_and_says_so(tmp_path):
    with pytest.raises(InputError, match="the stop rule was not met.*after 10 steps"):
        findings("demo", tiny(tmp_path, start_steps=10, target=(0.9, 1.0)))


def test_impossible_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match="target"):
        tiny(tmp_path, target=(0.7, 0.3))
    with pytest.raises(InputError, match="ks"):
        tiny(tmp_path, ks=(1, 8))
