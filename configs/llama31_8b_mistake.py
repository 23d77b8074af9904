"""Mistake tuning of Llama 3.1 8B on its own right and wrong solutions.

Command:  make example-data
          python -m mtjax.mine meta-llama/Llama-3.1-8B configs/llama31_8b_nll.py --samples=16 \
              --output=runs/llama31_8b_mined
          python -m mtjax.train configs/llama31_8b_mistake.py
Machine:  as for `llama31_8b_nll.py`: TPU v5p-64, v5e-256 or 32 x H100.
Time:     not measured. docs/plans/llama31_8b_mistake_*.md give bounds.
Expect:   memory as in the plan. Loss and accuracy have not been measured. A replication by others (LEMMA, table 6)
          reports 68.9 on GSM8K for LLaMA3-8B with mistakes of a stronger model, the lowest value of its group.

The paper tuned Flan-T5 with learning rate 1e-4, and states neither batch size nor epochs. A decoder of 8B parameters
needs a lower learning rate.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Mined
from mtjax.data.tasks import MistakeTask
from mtjax.data.tasks.base import QUESTION_ANSWER
from mtjax.objectives.mistake_tuning import MistakeTuning

parent = read_file(pathlib.Path(__file__).with_name("llama31_8b_nll.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Mined("runs/llama31_8b_mined"),
        task=MistakeTask(decode_prefix="correct", template=QUESTION_ANSWER, wrong_per_right=1.0),
    ),
    objective=MistakeTuning(incorrect_weight=1.0),
    run_dir="runs/llama31_8b_mistake",
)
