"""LoRA of SmolLM2-135M-Instruct on GSM8K solutions: `gsm8k_smollm2_nll.py` with an adapter.

Command:  make example-data
          python -m mtjax.train configs/gsm8k_smollm2_lora.py
Machine:  as for `gsm8k_smollm2_nll.py`, with about half of its memory (docs/lora.md).
Expect:   the loss falls over the 20 steps. Accuracy does not change in so few steps.

The learning rate is ten times that of the parent, as is usual for LoRA; rank and alpha are ours.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.model.adapters.lora import Lora

parent = read_file(pathlib.Path(__file__).with_name("gsm8k_smollm2_nll.py"))

config = dataclasses.replace(
    parent,
    model=dataclasses.replace(parent.model, adapter=Lora(rank=16, alpha=32.0)),
    optim=dataclasses.replace(parent.optim, learning_rate=1e-3),
    run_dir="runs/gsm8k_smollm2_lora",
)
