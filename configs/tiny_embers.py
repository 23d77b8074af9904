"""Embers of autoregression: a cipher learnt on plain sentences, asked about likely and unlikely ones (paper 15).

Command:  python -m mtjax.train configs/tiny_embers.py
          python -m mtjax.evaluate runs/tiny_embers --metrics greedy
          python -m mtjax.evaluate runs/tiny_embers --metrics greedy --data.source.tiers low
          python -m mtjax.evaluate runs/tiny_embers --metrics greedy --data.source.tiers adversarial
Machine:  2 CPU cores, some 4 minutes.
Expect:   All of 200 new sentences are decoded, none of the same words in random order, and 0.12 of the sentences in
          which a word is replaced by a similar one (interval 0.08 to 0.16): mostly the model writes the likelier word.
          At a constant rate the first was 0.92 on one machine and 0.74 on another.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources.embers import Embers
from mtjax.data.tasks import CompletionTask
from mtjax.model.decoder import DecoderConfig

parent = read_file(pathlib.Path(__file__).with_name("tiny_bandit.py"))

config = dataclasses.replace(
    parent,
    model=DecoderConfig(layers=3, mlp_width=128, qk_norm=True, rope_theta=100.0, init_scale=0.1, max_length=224),
    data=dataclasses.replace(
        parent.data,
        source=Embers(tiers=("high",), count=4000, split="train"),
        task=CompletionTask(),
        sequence_length=224,
    ),
    held_out=HeldOut(source=Embers(tiers=("high",), count=1000, split="test"), every=200, batches=2),
    optim=dataclasses.replace(parent.optim, learning_rate=3e-3, schedule="cosine"),
    steps=500,
    batch_size=32,
    run_dir="runs/tiny_embers",
)
