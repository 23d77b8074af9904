"""Infilling and continuing with one model: span corruption of half of the texts, on a CPU (paper 7).

Command:  python -m mtjax.train configs/tiny_infill.py
Machine:  2 CPU cores; 5 minutes on a machine that did other work.
Expect:   every answer to a prompt is a number and the sentinel, but 0.06 of the numbers are right (pass@4 0.21): 1,500
          steps teach the layout and not yet the look at the rest of the text. Nats per target on new texts: 0.54.

`coverage/pass@1` is of infilling alone: the value of the first step is cut out of a solution, whose rest is shown.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources import Arithmetic, InMemory
from mtjax.data.tasks.infill import InfillTask
from mtjax.training.monitors import CoverageConfig

parent = read_file(pathlib.Path(__file__).with_name("tiny_bandit.py"))
size = {"min_operands": 2, "max_operands": 2, "high": 9}
task = InfillTask(template="{question}", mask="[{n}]", sep="|", eom=";", spans=1.0, draws=16)


def cut(problem):
    """A problem whose question shows a solution without the value of its first step."""
    first, _, rest = problem.right[0].partition("\n")
    before, value = first.rsplit(" ", 1)
    prompt = problem.question + task.infill_prompt(f"{before} ", f"\n{rest}")
    return dataclasses.replace(problem, question=prompt, answer=value, right=(value,))


config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Arithmetic(count=2_000, split="train", **size),
        task=task,
        max_segments=1,
        sequence_length=80,
    ),
    held_out=HeldOut(source=Arithmetic(count=100, split="test", **size), every=200, batches=4),
    coverage=CoverageConfig(
        source=InMemory(tuple(map(cut, Arithmetic(count=100, split="test", **size).problems().items))),
        every=500,
        samples=4,
        max_tokens=16,
    ),
    steps=1500,
    batch_size=32,
    run_dir="runs/tiny_infill",
)
