"""Experiments at a toy size: two-number sums of numbers up to 4, learnt in some dozens of steps."""

import json
import pathlib

from mtjax.config import module_at
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.experiments.experiment import experiment_of
from mtjax.experiments.findings import Findings
from mtjax.experiments.report import write
from mtjax.experiments.runner import run
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig

EASY = {"min_operands": 2, "max_operands": 2, "high": 4}

SETUP = {
    "model": DecoderConfig(width=32, layers=2, heads=2, kv_heads=2, head_dim=16, mlp_width=64, max_length=128),
    "start_source": Arithmetic(count=300, **EASY),
    "check_source": Arithmetic(count=16, seed=2, **EASY),
    "test_source": Arithmetic(count=16, seed=3, **EASY),
    "optim": OptimConfig(learning_rate=1e-2, warmup_steps=10, schedule="constant", b2=0.98),
    "batch_size": 16,
    "start_steps": 200,
    "check_every": 10,
    "target": (0.2, 1.0),
    "arm_steps": 4,
    "seeds": (0, 1),
    "samples": 4,
    "ks": (1, 2),
}
"""What all experiments share."""


def findings(config, settings):
    """What the experiment of configs/CONFIG.py finds with these settings."""
    module = module_at(pathlib.Path(__file__).parents[2] / "configs" / f"{config}.py")
    experiment = experiment_of(module, settings)
    return Findings(settings, experiment, run(settings, experiment))


def report(found):
    """The page of the report, and results.json without the seconds, which no two runs share."""
    page = write(found)
    numbers = json.loads((page.parent / "results.json").read_text())
    return page, {name: value for name, value in numbers.items() if name != "seconds"}
