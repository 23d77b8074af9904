"""A slice of the map: six methods and the decodings, two seeds, at a smaller size.

Command:  make map-tiny
          This is the same as python -m mtjax.recipe configs/map_tiny.py
Machine:  2 CPU cores, under 15 minutes. Nothing is downloaded.
Expect:   runs/map_tiny/report.html: six methods in and out of domain, mistake tuning decoded in three ways, and the
          line between start and end. Its problems, seeds and sizes are not those of the registered grid in `map.py`.
"""

import dataclasses
import pathlib

from mtjax.config import module_at
from mtjax.experiments.config import Map
from mtjax.experiments.grid import BASELINE, Grid, Slice

parent = module_at(pathlib.Path(__file__).with_name("map.py"))

recipe = dataclasses.replace(
    parent.recipe,
    mine_source=dataclasses.replace(parent.recipe.mine_source, count=400, seed=21),
    test_source=dataclasses.replace(parent.recipe.test_source, count=96, seed=23),
    more_steps=dataclasses.replace(parent.recipe.more_steps, count=48, seed=25),
    larger_numbers=dataclasses.replace(parent.recipe.larger_numbers, count=48, seed=26),
    other_order=dataclasses.replace(parent.recipe.other_order, count=48, seed=27),
    rates=(3e-4,),
    arm_steps=80,
    seeds=(10, 11),
    extra_seeds=(),
    output="runs/map_tiny",
)

CORE = (BASELINE, "no prefix", "mistake tuning", "GLOW", "NSR", "DPO + NLL")


def experiment(c: Map) -> Grid:
    """Two slices of the grid of `map.py`."""
    return dataclasses.replace(
        parent.experiment(c),
        title="When do mistakes help? A slice",
        slices={
            "domain": Slice("In and out of domain, and on the line from the start?", CORE, measures=("tests", "line")),
            "decoding": Slice(
                "Behind the right prefix, without one, or by the contrast of both?",
                ("mistake tuning",), {"share": (1.0, 2.0)}, ("tests", "decodings"),
            ),
        },
    )  # fmt: skip
