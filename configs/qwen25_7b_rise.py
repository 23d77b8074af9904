"""RISE of Qwen2.5 7B Instruct on one node of 8 GPUs, with the paper's settings as far as they are known.

Command:  make example-data
          python -m mtjax.mine Qwen/Qwen2.5-7B-Instruct configs/qwen25_7b_rise.py --samples=5 \
              --output=runs/qwen25_7b_mined data.source:gsm8k --data.source.path=data/gsm8k/train.jsonl
          python -m mtjax.inject --output=runs/qwen25_7b_errors source:mined --source.path=runs/qwen25_7b_mined \
              --editor=self_edit --model=Qwen/Qwen2.5-7B-Instruct
          python -m mtjax.train configs/qwen25_7b_rise.py
Machine:  8 x H100 80 GB, with XLA_PYTHON_CLIENT_MEM_FRACTION=.92.
Time:     not measured. docs/plans/qwen25_7b_rise_*.md give bounds.
Expect:   the self-check prints a loss of log 2 = 0.693. For Qwen2-7B-Instruct the paper reports
          GSM8K 85.4 -> 88.4 and MATH 52.2 -> 59.9.

| setting | paper or its code | this config |
| --- | --- | --- |
| model | Qwen2-7B-Instruct | Qwen2.5-7B-Instruct |
| problems | questions of Math-Step-DPO-10K | GSM8K train |
| samples and step pairs per problem | 5, 1 | 5, 1 |
| pairs per step | 128 (4 x 4 x 8 devices) | about 140: 24 packed rows of 2,048 tokens, in 3 micro-batches |
| longest text | 1,024 tokens, truncated on the left | 2,048 tokens per row, longer texts left out |
| learning rate, warm-up, schedule | 5e-7, a tenth, cosine to 0 | the same |
| epochs | 8 | 250 steps; one epoch is the rows in the `data` line of the run, divided by the batch size |
| beta, lambda | 0.4 in the code; unknown | 0.4, 0.05 |
| precision | bf16, ZeRO-3 | bf16 compute and fp32 master weights, because updates of 5e-7 vanish in bf16 |
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
