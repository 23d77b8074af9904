"""LoRA of Llama 3.1 8B on one GPU of 24 GB: the base in bfloat16, rank 16, rows of 1,024 tokens.

Command:  make example-data
          python -m mtjax.train configs/one_gpu_24gb_lora.py
Machine:  one GPU of 24 GB. Planned for an A100 (mtjax.plan): state 16.56 GB, peak of the step 17.68 GB. DPO adds no
          weights: its reference is the base.
          16 GB: --init_from=Qwen/Qwen2.5-3B (peak 7.25 GB). 80 GB: --batch_size=16 --data.sequence_length=4096 (peak
          21.27 GB). More in docs/lora.md.
Time:     not measured, because the card was not available.
Expect:   loss and accuracy are unknown, because this config has not been run.

The weights are loaded from the Hugging Face hub (gated), or from a folder with --init_from=... Settings are ours.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.distributed.sharding import MeshSpec
from mtjax.model.adapters.lora import Lora

parent = read_file(pathlib.Path(__file__).with_name("llama31_8b_nll.py"))

config = dataclasses.replace(
    parent,
    model=dataclasses.replace(parent.model, remat="full", adapter=Lora(rank=16, alpha=32.0, base_dtype="bfloat16")),
    data=dataclasses.replace(parent.data, sequence_length=1024),
    optim=dataclasses.replace(parent.optim, learning_rate=2e-4),
    mesh=MeshSpec(),
    batch_size=8,
    micro_batches=8,
    chunk=128,
    run_dir="runs/one_gpu_24gb_lora",
)
