"""DCO for 8 samples on generated arithmetic, in seconds on a CPU.

Command:  python -m mtjax.train configs/tiny_dco.py
Machine:  2 CPU cores, seconds.
Expect:   the metric `dco_weight` is 1 for 30 steps, during which DCO equals cross-entropy. It then falls, as the short
          solutions become likely: to 0.73 at step 80, 0.30 at step 100 and 0.03 at step 200.

The problems have two small numbers, so that their solutions are short. The solutions of `configs/tiny.py` are more than
twice as long; with them, `dco_weight` is still 1.000 after 60 steps. For comparison, run `objective:nll` with another
--run_dir. `configs/coverage.py` measures the effect on pass@k.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import CompletionTask
from mtjax.objectives.dco import dco_paper

parent = read_file(pathlib.Path(__file__).with_name("tiny.py"))
size = {"min_operands": 2, "max_operands": 2, "high": 9}  # short enough for a solution to become likely

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(parent.data, source=Arithmetic(count=2_000, split="train", **size), task=CompletionTask()),
    objective=dco_paper(n=8),
    held_out=HeldOut(source=Arithmetic(count=200, split="test", **size), every=50, batches=4),
    steps=200,
    run_dir="runs/tiny_dco",
)
