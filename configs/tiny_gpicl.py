"""General-purpose in-context learning: each text is a task of its own, told by five examples, on a CPU (paper 49).

Command:  python -m mtjax.train configs/tiny_gpicl.py
          python -m mtjax.evaluate runs/tiny_gpicl --metrics greedy --limit=500
          python -m mtjax.evaluate runs/tiny_gpicl --metrics greedy --limit=500 --data.source.shots=1
Machine:  2 CPU cores, 3 minutes of CPU time; 7 minutes on a machine that did other work.
Expect:   0.91 of new tasks are answered after five examples (interval 0.88 to 0.93), and 0.50 after one (0.46 to 0.55);
          chance is 0.33. The loss stays on a plateau for the first 500 steps or more.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources.gpicl import Gpicl
from mtjax.model.decoder import DecoderConfig

parent = read_file(pathlib.Path(__file__).with_name("tiny_bandit.py"))
task = {"shots": 5, "classes": 3, "inputs": 3, "features": 1, "levels": 26, "noise": 0.02}

config = dataclasses.replace(
    parent,
    # Attention is sharp from the start, which is to shorten the plateau; not compared with the defaults on this task.
    model=DecoderConfig(layers=2, mlp_width=64, qk_norm=True, rope_theta=100.0, init_scale=0.1, max_length=128),
    data=dataclasses.replace(parent.data, source=Gpicl(count=40_000, split="train", **task), sequence_length=32),
    held_out=HeldOut(source=Gpicl(count=512, split="test", **task), every=500, batches=4),
    optim=dataclasses.replace(parent.optim, learning_rate=3e-3),
    steps=4000,
    batch_size=32,
    run_dir="runs/tiny_gpicl",
)
