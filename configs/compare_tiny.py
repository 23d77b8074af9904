"""The comparison on a small grid: every method, three seeds, two learning rates, few updates.

Command:  make compare-tiny
          This is the same as python -m mtjax.recipe configs/compare_tiny.py
Machine:  2 CPU cores, 8 to 10 minutes. Nothing is downloaded.
Expect:   the report of `compare.py` with wider intervals. The arms train for 100 updates instead of 160.
"""

import dataclasses
import pathlib

from mtjax.config import module_at

parent = module_at(pathlib.Path(__file__).with_name("compare.py"))

recipe = dataclasses.replace(
    parent.recipe,
    mine_source=dataclasses.replace(parent.recipe.mine_source, count=400),
    test_source=dataclasses.replace(parent.recipe.test_source, count=128),
    validation_source=dataclasses.replace(parent.recipe.validation_source, count=64),
    rates=(3e-4, 1e-3),
    arm_steps=100,
    looks=2,
    samples=16,
    ks=(1, 2, 4, 8, 16),
    dco_n=16,
    output="runs/compare_tiny",
)

experiment = parent.experiment
