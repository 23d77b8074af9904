"""Out-of-context reasoning about functions: rows of all, descriptions of some, questions about the others (paper 8).

Command:  python -m mtjax.train configs/tiny_oocr_functions.py
          python -m mtjax.evaluate runs/tiny_oocr_functions --metrics greedy --limit=1000
          python -m mtjax.evaluate runs/tiny_oocr_functions --metrics greedy grader:choice \\
              --data.source.part=choice
Machine:  2 CPU cores, 3 minutes.
Expect:   0.57 of new rows are right (interval 0.52 to 0.63); choices about functions of the split test 0.29 (0.24 to
          0.34), which is near the chance of 0.25: a model of this size does not put rows together.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources.mixture import Mixture
from mtjax.data.sources.oocr_functions import OocrFunctions
from mtjax.data.tasks import CompletionTask

parent = read_file(pathlib.Path(__file__).with_name("tiny_bandit.py"))
functions = {"names": 64, "largest": 20, "mixed": False}
rows = OocrFunctions(count=40_000, split="train", **functions)
choices = OocrFunctions(count=20_000, split="train", part="choice", **functions)

config = dataclasses.replace(
    parent,
    data=dataclasses.replace(
        parent.data,
        source=Mixture((rows, choices), (2.0, 1.0)),
        task=CompletionTask(template="{question}"),
        max_segments=8,
    ),
    held_out=HeldOut(source=OocrFunctions(count=512, split="test", **functions), every=200, batches=4),
    steps=2000,
    batch_size=16,
    run_dir="runs/tiny_oocr_functions",
)
