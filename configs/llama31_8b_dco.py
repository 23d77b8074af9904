"""DCO of Llama 3.1 8B: problems that many of 64 samples solve get a small weight.

Command:  make example-data
          python -m mtjax.mine meta-llama/Llama-3.1-8B configs/llama31_8b_nll.py --samples=64 \
              --output=runs/llama31_8b_mined
          python -m mtjax.train configs/llama31_8b_dco.py
Machine:  as for `llama31_8b_nll.py`: TPU v5p-64, v5e-256 or 32 x H100.
Time:     not measured. docs/plans/llama31_8b_dco_*.md give bounds.
Expect:   memory as in the plan. `dco_weight` is 1 for problems that no sample solves, and near 0 for those that most
          samples solve. Measure pass@k: DCO is expected to be lower at k = 1.

A chain of thought has such a small probability that F of the text is 1, so DCO of the text would be cross-entropy. This
config therefore uses F of the problem's sampled success rate (`granularity="external"`), as the released code does.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Mined
from mtjax.objectives.dco import dco_code

parent = read_file(pathlib.Path(__file__).with_name("llama31_8b_nll.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Mined("runs/llama31_8b_mined"),
        task=dataclasses.replace(parent.data.task, success_rate=True),
    ),
    objective=dco_code(n=64),
    run_dir="runs/llama31_8b_dco",
)
