"""DPO in a chat: right and wrong solutions as turns of the assistant, in the chat template of the bytes tokenizer.

Command:  python -m mtjax.train configs/tiny_dpo_chat.py
Machine:  2 CPU cores, under a minute.
Expect:   the self-check prints a loss of log 2 = 0.693; the loss is about 0.5 after 30 steps.

With pairs of your own, as strings or conversations (`{"prompt": ..., "chosen": ..., "rejected": ...}`):
    python -m mtjax.train configs/tiny_dpo_chat.py data.source:jsonl --data.source.path=pairs.jsonl
and with another model its own template: --init_from=MODEL --data.tokenizer=MODEL (docs/chat.md).
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Arithmetic
from mtjax.data.tasks import PairTask
from mtjax.objectives.dpo import Dpo

parent = read_file(pathlib.Path(__file__).with_name("tiny.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Arithmetic(count=1_000, split="train", slip_probability=0.8),
        task=PairTask(template="chat", system="Work step by step."),
        tokenizer="bytes",
        sequence_length=384,
        max_segments=4,
    ),
    model=dataclasses.replace(parent.model, max_length=384),
    objective=Dpo(beta=0.1),
    held_out=None,
    steps=30,
    run_dir="runs/tiny_dpo_chat",
)
