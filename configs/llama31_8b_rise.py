"""RISE of Llama 3.1 8B Instruct: pairs of complete solutions, and pairs of steps with an injected error.

Command:  make example-data
          python -m mtjax.mine meta-llama/Llama-3.1-8B-Instruct configs/llama31_8b_nll.py --samples=5 \
              --output=runs/llama31_8b_mined
          python -m mtjax.inject --output=runs/llama31_8b_errors source:mined --source.path=runs/llama31_8b_mined \
              --editor=self_edit --model=meta-llama/Llama-3.1-8B-Instruct --per_problem=3
          python -m mtjax.train configs/llama31_8b_rise.py
Machine:  TPU v5p-64 (32 chips). TPU v5e-256: add --batch_size=256.
Time:     not measured. docs/plans/llama31_8b_rise_*.md give bounds.
Expect:   the self-check prints a loss of log 2 = 0.693. The paper reports GSM8K 84.0 -> 87.9 and MATH 48.3 -> 51.0.

From the paper: 5 samples and 3 step pairs per problem, a learning rate of 5e-7 with a cosine schedule, and 8 epochs.
Deviations: the problems are GSM8K instead of MATH and GSM8K. Beta and lambda are unknown; 0.4 is the beta of the code,
and 0.05 is recalled. A step has 64 packed rows of 2,048 tokens, which are about 400 pairs, to keep 32 chips busy; the
code has 128 pairs.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Mined, Mistakes, Mixture
from mtjax.data.tasks import PairTask
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.objectives.rise import rise_paper
from mtjax.optim import OptimConfig

parent = read_file(pathlib.Path(__file__).with_name("llama31_8b_nll.py"))

config = dataclasses.replace(
    parent,
    init_from="meta-llama/Llama-3.1-8B-Instruct",
    data=dataclasses.replace(
        parent.data,
        source=Mixture((Mistakes("runs/llama31_8b_errors/mistakes.jsonl"), Mined("runs/llama31_8b_mined"))),
        task=PairTask(template=QUESTION_ANSWER, step_per_problem=3),
        boundary="allow",
        sequence_length=2048,
    ),
    objective=rise_paper(beta=0.4, nll_weight=0.05),
    optim=OptimConfig(learning_rate=5e-7, warmup_steps=15, schedule="cosine"),
    steps=150,
    run_dir="runs/llama31_8b_rise",
)
