"""An experiment that starts from a pretrained model with an adapter, at a toy size."""

import dataclasses
import pathlib
import tarfile

import jax
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.experiments import map_runner
from mtjax.experiments.arms import start_config
from mtjax.experiments.cells import CellRunner, read_journal
from mtjax.experiments.grid import BASELINE, IN, OUT, Slice
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig
from mtjax.runs.loop import train
from tests.experiments.test_map import grid_of, tiny

ROOT = pathlib.Path(__file__).parents[2]
ADAPTED = DecoderConfig(adapter=Lora(rank=4, alpha=8.0))
SLICES = {"methods": Slice("?", (BASELINE, "mistake tuning", "RISE"), measures=("decodings",))}


def test_an_adapter_needs_a_model(tmp_path):
    with pytest.raises(InputError, match="needs a trained model to stand on; name it with --init_from"):
        tiny(tmp_path, model=ADAPTED)


def test_a_line_between_adapters_is_refused(tmp_path):
    c = tiny(tmp_path, init_from="smollm2", model=ADAPTED)
    with pytest.raises(InputError, match="'line' mixes weights, which a mean of two adapters does not"):
        CellRunner(c, grid_of(c, methods=Slice("?", (BASELINE,), measures=("line",))))


def test_the_page_says_what_the_runs_say(tmp_path):
    """The numbers of the page's text, computed again from the archive of its runs."""
    with tarfile.open(ROOT / "docs" / "map_smollm2_runs.tar.xz") as archive:
        archive.extract("map_smollm2/cells.jsonl", tmp_path, filter="data")
    runs = read_journal(tmp_path / "map_smollm2" / "cells.jsonl")
    mean = lambda name, test, k: float(np.mean([run.passes(test, k) for run in runs[name].values()]))
    short = lambda value: f"{value:.2f}".removeprefix("0")
    right, start = "right-only,start=smollm2", "start,smollm2"
    others = {"mistake tuning": "mistake-tuning,share=0.25,weight=0.2,start=smollm2", "RISE": "rise,start=smollm2",
              "DCO": "dco,start=smollm2"}  # fmt: skip
    assert set(runs) == {right, start, *others.values()}
    assert [sorted(own) for own in runs.values()] == [[0, 1] if name != start else [0] for name in runs]
    text = " ".join((ROOT / "docs/when_mistakes_help_smollm2.md").read_text().partition("## How it was")[0].split())
    points = {test: {one: 100 * (mean(name, test, 1) - mean(right, test, 1)) for one, name in others.items()}
              for test in (IN, OUT)}  # fmt: skip
    first, *_, last = text.split("**Out of domain nothing helps**")
    for one in others:
        assert f"{one} ({points[IN][one]:.1f}, " in first
        assert f"({points[OUT][one]:.1f}" in last.partition("**")[0]
    tuned = others["mistake tuning"]
    contrast = mean(tuned, f"{IN}@contrast", 1)
    assert (
        f"the start solves {short(mean(start, IN, 1))} of the problems as trained and {short(mean(start, OUT, 1))}"
        in text
    )
    assert f"{short(mean(right, IN, 1))} as trained and {short(mean(right, OUT, 1))} out of domain" in text
    assert f"{100 * (contrast - mean(tuned, IN, 1)):+.1f} points" in text
    assert f"to {short(contrast)}; without a prefix mistake tuning solves {short(mean(tuned, f'{IN}@none', 1))}" in text
    ends = [short(mean(name, IN, 4)) for name in (start, right, *others.values())]
    said = (
        "pass@4 rises from {} to {} with right-only training, to {} with mistake tuning, {} with DCO and {} with RISE"
    )
    assert said.format(*ends[:3], ends[4], ends[3]) in text


@pytest.mark.slow
def test_the_start_is_an_adapter_and_every_method_goes_on_with_it(tmp_path):
    scratch = tiny(tmp_path / "scratch")
    base = train(dataclasses.replace(start_config(scratch, 5), steps=60)).state.params
    # The arm's rate is so small that the arm's answers are the start's.
    slow = OptimConfig(learning_rate=1e-9, schedule="constant")
    c = tiny(
        tmp_path / "map", init_from=str(tmp_path / "scratch" / "train" / "start-5"), model=ADAPTED, rates=(1e-9,),
        arm_optim=slow, extra_seeds=(), answer_length=40, rows=32,
    )  # fmt: skip
    runner = map_runner.run(c, grid_of(c, **SLICES))
    start = runner.start("planted").params
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(start["base"]), jax.device_get(base))
    moved = start["adapter"]["layers"]["mlp"]["up"]["b"]
    assert np.abs(np.asarray(moved)).max() > 0
    runs = read_journal(pathlib.Path(c.output) / "cells.jsonl")
    assert set(runs) == {"start,planted", "right-only", "mistake-tuning", "rise"}
    assert runs["right-only"][0].counts["as trained"] == runs["start,planted"][0].counts["as trained"]
    assert runs["rise"][0].counts["as trained"] == runs["start,planted"][0].counts["as trained"]
    assert "as trained@contrast" in runs["mistake-tuning"][0].counts
    assert runs["rise"][0].cost["reference_positions"] > 0
