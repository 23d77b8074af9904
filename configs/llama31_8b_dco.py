"""Llama 3.1 8B by DCO: problems that 64 samples solve often count little, by the success rate of mined samples.

Command:  python -m mtjax.mine meta-llama/Llama-3.1-8B --samples=64 --output=runs/llama31_8b_mined \
              source:gsm8k --source.path=data/gsm8k/train.jsonl
          python -m mtjax.train configs/llama31_8b_dco.py
Machine:  as for `llama31_8b_nll.py`: TPU v5p-64, v5e-256 or 32 x H100.
Time:     not measured. docs/plans/llama31_8b_dco_*.md have bounds.
Expect:   memory as in the plan; `dco_weight` is 1 for problems never solved and near 0 for those mostly solved. Measure
          pass@k: at k = 1 DCO is meant to lose.

A chain of thought has so small a probability that F of the text itself is 1 and DCO is cross-entropy; F is therefore of
the problem's sampled success rate (`granularity="external"`), as in the released code.
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
