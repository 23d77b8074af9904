"""RISE of SmolLM2-135M-Instruct on GSM8K: pairs of real solutions, and pairs of steps with an injected error.

Command:  make example-data
          python -m mtjax.inject --output=runs/gsm8k_errors source:gsm8k-solutions \
              --source.path=data/gsm8k/example_model_solutions.jsonl --source.split=train
          python -m mtjax.train configs/gsm8k_smollm2_rise.py
Machine:  2 CPU cores for a short run. A step takes about four times as long as in `gsm8k_smollm2_nll.py`, because there
          are two models and two sides. A full run needs one GPU or TPU, --batch_size=64 and --steps=500.
          `--reference.kind=cached` halves the memory.
Expect:   the loss starts at log 2 = 0.693 and falls. A row of 1,024 tokens holds about eight pairs, and less than a
          tenth of it is empty.

`docs/recipes/rise.md` explains which settings are the paper's. The method presupposes the model's own solutions and
edits (`--editor=self_edit --model=...`). This config uses solutions of other models and rule-based edits, because a
model of 135M parameters is right too rarely.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Mistakes, Mixture
from mtjax.data.tasks import PairTask
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.objectives.rise import rise_paper
from mtjax.optim import OptimConfig

parent = read_file(pathlib.Path(__file__).with_name("gsm8k_smollm2_nll.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Mixture((Mistakes("runs/gsm8k_errors/mistakes.jsonl"), parent.data.source)),
        # A token of white space may begin before a step and end inside it; it is trained with the step.
        task=PairTask(template=QUESTION_ANSWER),
        boundary="allow",
        sequence_length=1024,
        max_segments=None,
    ),
    objective=rise_paper(beta=0.1, nll_weight=0.05),
    optim=OptimConfig(learning_rate=5e-7, warmup_steps=5, schedule="constant"),
    held_out=None,
    batch_size=1,
    run_dir="runs/gsm8k_smollm2_rise",
)
