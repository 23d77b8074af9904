"""Rejection sampling over three rounds on generated arithmetic: train on the right ones of one's own solutions.

Command:  python -m mtjax.train configs/rounds_start.py
          python -m mtjax.rounds configs/rounds_rejection.py
Machine:  2 CPU cores, about a minute after the start model.
Expect:   pass@1 0.608 at the start, 0.770, 0.802 and 0.812 after the rounds; pass@16 stays at 0.98.

The other configs/rounds_*.py change the curation and the objective, and keep what is sampled: 12,288 solutions of 1,536
problems. docs/recipes/rounds.md compares them. One round with the same tokens:
    python -m mtjax.rounds configs/rounds_rejection.py --rounds=1 --problems=1536 --updates=102 \
        --train.run_dir=runs/rounds_one
"""

import dataclasses
import pathlib

from mtjax.config import CheckpointConfig, read_file
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.mistakes.curation.right_only import RightOnly
from mtjax.optim import OptimConfig
from mtjax.runs.rounds.config import Measure, Rounds
from mtjax.sampling.config import SamplingConfig

start = read_file(pathlib.Path(__file__).with_name("rounds_start.py"))

rounds = Rounds(
    train=dataclasses.replace(
        start,
        init_from="runs/rounds_start",
        data=dataclasses.replace(start.data, source=Arithmetic(count=1536, seed=1, split="train")),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=10, schedule="constant", b2=0.98),
        coverage=None,
        checkpoint=CheckpointConfig(every=1),
        run_dir="runs/rounds_rejection",
    ),
    rounds=3,
    problems=512,
    sampling=SamplingConfig(samples=8, max_new_tokens=64),
    rows=512,
    curation=RightOnly(per_problem=4, flawed="right"),
    updates=34,
    measure=Measure(source=Arithmetic(count=160, seed=3, split="test"), samples=16),
)
