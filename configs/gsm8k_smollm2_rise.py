"""SmolLM2-135M-Instruct on GSM8K by RISE: real right and wrong solutions, and right steps with a planted error.

Command:  python -m mtjax.inject --output=runs/gsm8k_errors source:gsm8k-solutions \
              --source.path=../shared/data/gsm8k/example_model_solutions.jsonl --source.split=train
          python -m mtjax.train configs/gsm8k_smollm2_rise.py
Machine:  starts on 2 CPU cores (two models and two sides: some four times a step of `gsm8k_smollm2_nll.py`); a real
          run wants one GPU or TPU, --batch_size=64 and --steps=500. `--reference.kind=cached` halves the memory.
Expect:   the loss starts at log 2 = 0.693 and falls; rows of 1,024 hold some eight pairs and waste less than a tenth.

What is the paper's and what is ours stands in `docs/recipes/rise.md`. The premise is the model's own solutions and its
own edits (`--editor=self_edit --model=...`); these are other models' solutions and our rules, since a model of 135M
parameters is right too rarely.
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
        # White space of real solutions may lie across the edge of a step; such a token is trained with the step.
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
