"""Mistake tuning of SmolLM2-135M-Instruct on right and wrong GSM8K solutions that other models wrote.

Command:  make example-data
          python -m mtjax.train configs/gsm8k_smollm2_mistake.py
Machine:  as for `gsm8k_smollm2_nll.py`. Only the task, the objective and the run folder differ from that config.
Expect:   the loss falls from 1.3 to about 0.8 nats per token in 20 steps (noisy, because a step has two rows).

The method presupposes the model's *own* mistakes. This config uses those of other models, because a model of 135M
parameters is right too rarely for mining.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.tasks import MistakeTask
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.objectives.mistake_tuning import MistakeTuning

parent = read_file(pathlib.Path(__file__).with_name("gsm8k_smollm2_nll.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        task=MistakeTask(decode_prefix="correct", loss_on="prefix+rationale", template=QUESTION_ANSWER),
    ),
    objective=MistakeTuning(incorrect_weight=1.0),
    run_dir="runs/gsm8k_smollm2_mistake",
)
