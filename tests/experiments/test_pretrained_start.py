"""An experiment that starts from a pretrained model with an adapter, at a toy size."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.experiments import map_runner
from mtjax.experiments.arms import start_config
from mtjax.experiments.cells import CellRunner, read_journal
from mtjax.experiments.grid import BASELINE, Slice
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig
from mtjax.runs.loop import train
from tests.experiments.test_map import grid_of, tiny

ADAPTED = DecoderConfig(adapter=Lora(rank=4, alpha=8.0))
SLICES = {"methods": Slice("?", (BASELINE, "mistake tuning", "RISE"), measures=("decodings",))}


def test_an_adapter_needs_a_model(tmp_path):
    with pytest.raises(InputError, match="needs a trained model to stand on; name it with --init_from"):
        tiny(tmp_path, model=ADAPTED)


def test_a_line_between_adapters_is_refused(tmp_path):
    c = tiny(tmp_path, init_from="smollm2", model=ADAPTED)
    with pytest.raises(InputError, match="'line' mixes weights, which a mean of two adapters does not"):
        CellRunner(c, grid_of(c, methods=Slice("?", (BASELINE,), measures=("line",))))


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
