"""Full tuning on one GPU: Qwen2.5 0.5B on 16 GB, and larger models on larger cards.

Command:  make example-data
          python -m mtjax.train configs/one_gpu_full.py
Machine:  one GPU. Planned for an A100 (mtjax.plan), peak of the step: Qwen2.5 0.5B 11.7 GB (16 GB cards), 1.5B 35.8
          GB and 3B 71.2 GB (both 80 GB, --init_from=Qwen/Qwen2.5-1.5B or Qwen/Qwen2.5-3B). A frozen reference takes 4
          bytes a parameter more. For more parameters take LoRA (`one_gpu_24gb_lora.py`).
Time:     not measured, because the cards were not available.
Expect:   loss and accuracy are unknown, because this config has not been run.

The weights are loaded from the Hugging Face hub, or from a folder with --init_from=... Settings are ours.
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.distributed.sharding import MeshSpec

parent = read_file(pathlib.Path(__file__).with_name("llama31_8b_nll.py"))

config = dataclasses.replace(
    parent,
    init_from="Qwen/Qwen2.5-0.5B",
    model=dataclasses.replace(parent.model, remat="full"),
    data=dataclasses.replace(parent.data, sequence_length=1024),
    mesh=MeshSpec(),
    batch_size=8,
    micro_batches=8,
    chunk=128,
    run_dir="runs/one_gpu_full",
)
