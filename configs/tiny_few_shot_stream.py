"""Continual few-shot learning: support sets whose classes change, and a question about all of them (paper 11).

Command:  python -m mtjax.train configs/tiny_gpicl.py
          python -m mtjax.train configs/tiny_few_shot_stream.py
          python -m mtjax.evaluate runs/tiny_few_shot_stream --metrics greedy --limit=500
Machine:  one CPU core, a minute and a half after the start model.
Expect:   0.99 of the questions about new streams are answered (interval 0.98 to 1.00); chance is 0.25. The loss on new
          streams is 0.50 nats per target after 200 steps and 0.35 at the end.

From nothing, models of this size stay at chance on streams; from the in-context learner of `tiny_gpicl.py` they learn
them. A stream has four support sets of two classes, which change after the second set: four classes, each shown twice.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources.few_shot_stream import FewShotStream

parent = read_file(pathlib.Path(__file__).with_name("tiny_gpicl.py"))
stream = {"ways": 2, "sets": 4, "change_every": 2, "features": 1, "letters": 26, "noise": 0.02}

config = dataclasses.replace(
    parent,
    init_from="runs/tiny_gpicl",
    data=dataclasses.replace(
        parent.data, source=FewShotStream(count=40_000, split="train", **stream), sequence_length=42
    ),
    held_out=HeldOut(source=FewShotStream(count=512, split="test", **stream), every=200, batches=8),
    steps=1500,
    run_dir="runs/tiny_few_shot_stream",
)
