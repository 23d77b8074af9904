"""Iterative RISE on generated arithmetic: step pairs with a planted error and full pairs, the reference renewed.

Command:  python -m mtjax.train configs/rounds_start.py
          python -m mtjax.rounds configs/rounds_rise.py
Machine:  2 CPU cores, about two minutes after the start model.
Expect:   pass@1 0.608 at the start and 0.732 at the end; pass@16 falls from 0.994 to 0.931, which is a warning.
"""

import dataclasses
import pathlib

from mtjax.config import module_at
from mtjax.data.tasks import PairTask
from mtjax.mistakes.curation.injected import Injected
from mtjax.objectives.rise import Rise

parent = module_at(pathlib.Path(__file__).with_name("rounds_rejection.py"))
train = parent.rounds.train

rounds = dataclasses.replace(
    parent.rounds,
    train=dataclasses.replace(
        train,
        data=dataclasses.replace(train.data, task=PairTask(full_per_problem=2, step_per_problem=2)),
        objective=Rise(beta=0.4, nll_weight=0.2, nll_on="all"),  # as configs/compare.py
        optim=dataclasses.replace(train.optim, learning_rate=3e-4),
        batch_size=train.batch_size // 2,  # a pair has two rows
        run_dir="runs/rounds_rise",
    ),
    curation=Injected(per_problem=2, steps=2, flawed="right", cut="wrong"),
    renew_reference=1,
)
