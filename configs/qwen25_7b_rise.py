"""Qwen2.5 7B Instruct by RISE on one node of 8 GPUs: the paper's setting as far as it is known.

Command:  as for `llama31_8b_rise.py`, with Qwen/Qwen2.5-7B-Instruct and runs/qwen25_7b_mined, runs/qwen25_7b_errors
Machine:  8 x H100 80 GB, with XLA_PYTHON_CLIENT_MEM_FRACTION=.92.
Time:     not measured. docs/plans/qwen25_7b_rise_*.md have bounds.
Expect:   the self-check prints a loss of log 2 = 0.693. The paper has, for Qwen2-7B-Instruct,
          GSM8K 85.4 -> 88.4 and MATH 52.2 -> 59.9.

| | paper or its code | here |
| --- | --- | --- |
| model | Qwen2-7B-Instruct | Qwen2.5-7B-Instruct |
| problems | questions of Math-Step-DPO-10K | GSM8K train |
| samples, step pairs a problem | 5, 1 | the same |
| pairs a step | 128 (4 x 4 x 8 devices) | some 140: 24 packed rows of 2,048 tokens, in 3 micro-batches |
| longest text | 1,024 tokens, cut on the left | 2,048 a row, longer ones left out |
| learning rate, warm-up, schedule | 5e-7, a tenth, cosine to 0 | the same |
| epochs | 8 | 250 steps; see `steps_per_epoch` in the data line |
| beta, lambda | 0.4 in the code; not known | 0.4, 0.05 |
| precision | bf16, ZeRO-3 | bf16 compute, fp32 master weights: 5e-7 vanishes in bf16 |
"""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.data.sources import Mined, Mistakes, Mixture
from mtjax.data.tasks.base import CHATML
from mtjax.distributed.sharding import MeshSpec
from mtjax.optim import OptimConfig

parent = read_file(pathlib.Path(__file__).with_name("llama31_8b_rise.py"))

config = dataclasses.replace(
    parent,
    init_from="Qwen/Qwen2.5-7B-Instruct",
    data=dataclasses.replace(
        parent.data,
        source=Mixture((Mistakes("runs/qwen25_7b_errors/mistakes.jsonl"), Mined("runs/qwen25_7b_mined"))),
        task=dataclasses.replace(parent.data.task, template=CHATML, step_per_problem=1),
    ),
    optim=OptimConfig(learning_rate=5e-7, warmup_steps=25, schedule="cosine", end_fraction=0.0),
    mesh=MeshSpec(fsdp=8),
    steps=250,
    batch_size=24,
    micro_batches=3,
    run_dir="runs/qwen25_7b_rise",
)
