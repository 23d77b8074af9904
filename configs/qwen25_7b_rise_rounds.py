"""Iterative RISE of Qwen2.5 7B Instruct on GSM8K: three rounds of sampling, self-editing and pairs.

Command:  make example-data
          python -m mtjax.rounds configs/qwen25_7b_rise_rounds.py
          python -m mtjax.plan configs/qwen25_7b_rise_rounds.py --topology=h100-8
Machine:  8 x H100 80 GB, with XLA_PYTHON_CLIENT_MEM_FRACTION=.92.
Time:     not measured. docs/plans/qwen25_7b_rise_rounds_h100_8.md gives bounds of an update; sampling comes on top.
Expect:   unknown, because this config has not been run: the paper does one round (configs/qwen25_7b_rise.py).

A round samples 5 solutions of each problem, lets the model plant an error into a step of a right one, and trains on
step pairs and full pairs. The reference is the model at the start of the round.
"""

import dataclasses
import pathlib

from mtjax.config import CheckpointConfig, read_file
from mtjax.data.sources.gsm8k import Gsm8k
from mtjax.mistakes.curation.injected import Injected
from mtjax.runs.rounds.config import Measure, Rounds, Stops
from mtjax.sampling.config import SamplingConfig

parent = read_file(pathlib.Path(__file__).with_name("qwen25_7b_rise.py"))

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(parent.data, source=Gsm8k("data/gsm8k/train.jsonl"), cache_dir=None),
    checkpoint=CheckpointConfig(every=1, keep=2),
    run_dir="runs/qwen25_7b_rise_rounds",
)

rounds = Rounds(
    train=config,
    rounds=3,
    sampling=SamplingConfig(samples=5, max_new_tokens=512, temperature=0.7),
    rows=256,
    curation=Injected(editor="self_edit", per_problem=1, steps=1),
    updates=84,  # three rounds are the 250 updates of the parent
    renew_reference=1,
    measure=Measure(source=Gsm8k("data/gsm8k/test.jsonl"), samples=4, limit=200),
    stop=Stops(patience=1),
)
