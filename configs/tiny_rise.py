"""RISE on generated arithmetic: full pairs and step pairs with an injected error, in seconds on a CPU.

Command:  python -m mtjax.train configs/tiny.py --run_dir=runs/tiny --steps=120
          python -m mtjax.inject --output=runs/tiny_errors source:arithmetic --source.count=1000 --source.split=train
          python -m mtjax.train configs/tiny_rise.py
Machine:  2 CPU cores, seconds for each command.
Expect:   the self-check prints a loss of log 2 = 0.693. Ranking accuracy is 0.65 over the first ten steps and 0.77 over
          the last ten. The displacement alarm starts at step 20, because chosen texts lose probability too.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Mistakes, Mixture
from mtjax.data.tasks import PairTask
from mtjax.objectives.rise import rise_paper
from mtjax.optim import OptimConfig

parent = read_file(pathlib.Path(__file__).with_name("tiny.py"))

config = dataclasses.replace(
    parent,
    init_from="runs/tiny",
    data=dataclasses.replace(
        parent.data,
        # Half of the examples are step pairs from injection, half are full pairs of a right and a wrong solution.
        source=Mixture((Mistakes("runs/tiny_errors/mistakes.jsonl"), parent.data.source)),
        # The start model was mistake-tuned, so its prompt ends with the prefix of right solutions.
        task=PairTask(template="{question}\n[CORRECT RATIONALE]\n"),
        boundary="allow",  # the tokenizer encodes "Step 2: " as one token, and the text of the step begins inside it
        sequence_length=128,
        max_segments=8,
    ),
    # The paper's beta and lambda are unknown. These values are ours.
    objective=rise_paper(beta=0.1, nll_weight=0.05),
    optim=OptimConfig(learning_rate=1e-3, warmup_steps=10, schedule="constant"),
    held_out=None,
    run_dir="runs/tiny_rise",
)
