"""RLVR with pass@k advantages on generated arithmetic: a solution counts for what it adds to one of four being right.

Command:  python -m mtjax.train configs/rounds_start.py
          python -m mtjax.rounds configs/rounds_pass_at_k.py
Machine:  2 CPU cores, about two minutes after the start model.
Expect:   pass@1 0.608 at the start and 0.757 at the end; pass@16 0.988.

Groups with more than four right solutions of eight have advantages of 0: what is solved often enough is left alone.
"""

import dataclasses
import pathlib

from mtjax.config import module_at
from mtjax.data.advantages.pass_at_k import PassAtK

parent = module_at(pathlib.Path(__file__).with_name("rounds_grpo.py"))
train = parent.rounds.train

rounds = dataclasses.replace(
    parent.rounds,
    train=dataclasses.replace(
        train,
        data=dataclasses.replace(train.data, task=dataclasses.replace(train.data.task, advantage=PassAtK(4))),
        run_dir="runs/rounds_pass_at_k",
    ),
)
