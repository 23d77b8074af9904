"""GRPO on groups of generated arithmetic: a right and wrong solutions of each problem, in seconds on a CPU.

Command:  python -m mtjax.train configs/tiny_grpo.py
Machine:  2 CPU cores, seconds.
Expect:   on random parameters the margin grows: after 30 steps a right solution has -87 nats and a wrong one -99 (from
          -85 and -86), with a KL of 1.8 to the start.

With a file of groups (`{"prompt": ..., "completions": [...], "rewards": [...]}`; docs/groups.md):
    python -m mtjax.train configs/tiny_grpo.py data.source:files --data.source.path=groups.jsonl --data.task.size=8
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Arithmetic
from mtjax.data.tasks import GroupTask
from mtjax.objectives.policy_gradient import PolicyGradient

parent = read_file(pathlib.Path(__file__).with_name("tiny.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Arithmetic(count=1_000, split="train", slip_probability=0.8),
        task=GroupTask(size=2, equal="drop"),
    ),
    # One update per rollout: nothing was recorded, and the ratio is that of the policy to itself.
    objective=PolicyGradient(old="current", reduction="sequence_mean", kl_weight=0.05),
    held_out=None,
    steps=30,
    run_dir="runs/tiny_grpo",
)
