"""DCO on one's own right solutions of generated arithmetic, with the success rates of each round.

Command:  python -m mtjax.train configs/rounds_start.py
          python -m mtjax.rounds configs/rounds_dco.py
Machine:  2 CPU cores, about a minute after the start model.
Expect:   pass@1 0.608 at the start and 0.554 at the end; pass@16 0.919, which is a warning.

The weight of a solution is F(n, q) of its problem's success rate q among the round's samples: problems that one of n
samples solves anyway are left alone, and a rate is never older than a round.
"""

import dataclasses
import pathlib

from mtjax.config import module_at
from mtjax.objectives.dco import Dco

parent = module_at(pathlib.Path(__file__).with_name("rounds_rejection.py"))
train = parent.rounds.train

rounds = dataclasses.replace(
    parent.rounds,
    train=dataclasses.replace(
        train,
        data=dataclasses.replace(train.data, task=dataclasses.replace(train.data.task, success_rate=True)),
        objective=Dco(n=16, granularity="external"),
        run_dir="runs/rounds_dco",
    ),
)
