"""DPO whose reference follows the policy (TR-DPO), on generated arithmetic, in less than a minute on a CPU.

Command:  python -m mtjax.train configs/tiny_tr_dpo.py
Machine:  2 CPU cores, under a minute.
Expect:   the loss starts at log 2 = 0.693; it rises again after each tenth step, when the reference moves towards the
          policy and the margins shrink.

With `--reference.mix=1` the reference is the policy as it was ten steps ago, which is what `objective:psft` and
`objective:w_reinforce` want of an old policy; without `refresh_every` this is DPO.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.tasks import PairTask
from mtjax.objectives.dpo import Dpo
from mtjax.training.reference import ReferenceConfig

parent = read_file(pathlib.Path(__file__).with_name("tiny.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(parent.data, task=PairTask()),
    objective=Dpo(),
    optim=dataclasses.replace(parent.optim, learning_rate=1e-3),
    reference=ReferenceConfig(refresh_every=10, mix=0.6),
    run_dir="runs/tiny_tr_dpo",
)
