"""Llama 3.1 8B by mistake tuning on its own right and wrong solutions, told apart by a prefix.

Command:  python -m mtjax.mine meta-llama/Llama-3.1-8B --samples=16 --output=runs/llama31_8b_mined \
              source:gsm8k --source.path=data/gsm8k/train.jsonl
          python -m mtjax.train configs/llama31_8b_mistake.py
Machine:  as for `llama31_8b_nll.py`: TPU v5p-64, v5e-256 or 32 x H100.
Time:     not measured. docs/plans/llama31_8b_mistake_*.md have bounds.
Expect:   memory as in the plan. Loss and accuracy are not known here; a replication by others (LEMMA, table 6) has 68.9
          on GSM8K for LLaMA3-8B with mistakes of a stronger model, the weakest of its group.

The paper tuned Flan-T5 at 1e-4 and says neither batch size nor epochs; a decoder of 8B parameters needs less.
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
