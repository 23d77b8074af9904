"""DCO on generated arithmetic: stop pushing a solution once 8 samples will find it; in seconds on a CPU.

Command:  python -m mtjax.train configs/tiny_dco.py
Machine:  2 CPU cores, seconds.
Expect:   the metric `dco_weight` starts at 1, where DCO is cross-entropy, and falls as solutions become likely. Compare
          with `objective:nll` at --run_dir of its own; `configs/coverage.py` measures what that does to pass@k.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.tasks import CompletionTask
from mtjax.objectives.dco import dco_paper

parent = read_file(pathlib.Path(__file__).with_name("tiny.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(parent.data, task=CompletionTask()),
    objective=dco_paper(n=8),
    run_dir="runs/tiny_dco",
)
