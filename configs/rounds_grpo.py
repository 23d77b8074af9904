"""RLVR with GRPO on generated arithmetic: 48 rounds of one update on fresh groups of eight.

Command:  python -m mtjax.train configs/rounds_start.py
          python -m mtjax.rounds configs/rounds_grpo.py
Machine:  2 CPU cores, about two minutes after the start model.
Expect:   pass@1 0.608 at the start and 0.815 at the end; pass@16 0.981.

A round has 32 groups and one update on all of them: on-policy training, in which the ratio is 1 and the clip idle.
Policy and sampler share their parameters in memory; a checkpoint comes every 12 rounds, and a killed run repeats the
updates since then from the attempts, which are kept.
"""

import dataclasses
import pathlib

from mtjax.config import CheckpointConfig, module_at
from mtjax.data.advantages.baselines import Grpo
from mtjax.data.tasks import GroupTask
from mtjax.mistakes.curation.groups import Groups
from mtjax.objectives.policy_gradient import PolicyGradient

parent = module_at(pathlib.Path(__file__).with_name("rounds_rejection.py"))
train = parent.rounds.train

rounds = dataclasses.replace(
    parent.rounds,
    train=dataclasses.replace(
        train,
        data=dataclasses.replace(
            train.data,
            task=GroupTask(size=8, advantage=Grpo(), logprobs="own"),
            sequence_length=80,
            pack=False,  # one group in a row, so that 32 rows hold every round
        ),
        objective=PolicyGradient(old="current", reduction="token_mean"),
        optim=dataclasses.replace(train.optim, learning_rate=3e-4, warmup_steps=4),
        batch_size=32,
        checkpoint=CheckpointConfig(every=12),
        run_dir="runs/rounds_grpo",
    ),
    rounds=48,
    problems=32,
    rows=256,
    curation=Groups(),
    updates=None,
    measure=dataclasses.replace(parent.rounds.measure, every=16),
)
