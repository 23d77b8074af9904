"""Infilling and continuing with one model: span corruption of half of the texts, on a CPU (paper 7).

Command:  python -m mtjax.train configs/tiny_gpicl.py
          python -m mtjax.train configs/tiny_infill.py
Machine:  2 CPU cores, six minutes after the start model.
Expect:   0.23 nats per target on new texts, and 0.50 to 0.70 of the spans that the task cuts out of them are filled in
          exactly (264 texts of one span, greedy; the start models differed by their last bits). After 2,000
          steps it was 0.20 to 0.40. From nothing, models of this size learn the layout alone.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources import Arithmetic
from mtjax.data.tasks.infill import InfillTask

parent = read_file(pathlib.Path(__file__).with_name("tiny_gpicl.py"))
size = {"min_operands": 2, "max_operands": 2, "high": 60}
task = InfillTask(template="{question}", mask="[{n}]", sep="|", eom=";", spans=1.0, draws=4)


config = dataclasses.replace(
    parent,
    init_from="runs/tiny_gpicl",
    data=dataclasses.replace(
        parent.data, source=Arithmetic(count=2_000, split="train", **size), task=task, sequence_length=80
    ),
    held_out=HeldOut(source=Arithmetic(count=200, split="test", **size), every=200, batches=8),
    optim=dataclasses.replace(parent.optim, schedule="cosine"),
    steps=6000,
    run_dir="runs/tiny_infill",
)
