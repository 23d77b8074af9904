"""Out-of-context reasoning about bits: sums modulo 2 of several, and the question for each alone (paper 8).

Command:  python -m mtjax.train configs/tiny_oocr_parity.py
          python -m mtjax.evaluate runs/tiny_oocr_parity --metrics greedy
          python -m mtjax.evaluate runs/tiny_oocr_parity --metrics greedy --data.source.part=bits --data.source.count=8
Machine:  2 CPU cores, 2 minutes.
Expect:   every new row is right (1.00 of 500) from step 500 on, and 4 of the 8 single bits, which is chance: a model of
          this size learns the sums and not the bits behind them.
"""

import dataclasses
import pathlib

from mtjax.config import HeldOut, read_file
from mtjax.data.sources.oocr_parity import OocrParity

parent = read_file(pathlib.Path(__file__).with_name("tiny_oocr_functions.py"))
config = dataclasses.replace(
    parent,
    data=dataclasses.replace(parent.data, source=OocrParity(count=20_000, split="train")),
    held_out=HeldOut(source=OocrParity(count=512, split="test"), every=200, batches=4),
    steps=1500,
    run_dir="runs/tiny_oocr_parity",
)
