"""SmolLM2-135M-Instruct on GSM8K by mistake tuning: right and wrong solutions of real models, told apart by a prefix.

Command:  python -m mtjax.train configs/gsm8k_smollm2_mistake.py
Machine:  as for `gsm8k_smollm2_nll.py`, from which only task, objective and folder differ.
Expect:   the loss falls from 1.3 to about 0.8 nats a token over the 20 steps (noisy: two rows a step).

The premise of the method is the model's *own* mistakes; these are other models', since one of 135M parameters is right
too rarely to mine.
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
