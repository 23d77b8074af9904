"""The map of when mistakes help from a pretrained start: SmolLM2-135M-Instruct with LoRA on the map's own task.

Command:  python -m mtjax.recipe configs/map_smollm2.py
Machine:  2 CPU cores and 8 GB; two and a half hours beside other work. A killed process loses the cell that it was at.
Expect:   runs/map_smollm2/report.html: right-only training, RISE, DCO and mistake tuning, in and out of domain.

The start model is an adapter that is trained on exact solutions until 30 to 60 % of its samples are right; each method
goes on with this adapter. The grid is a part of that of `map.py`, with fewer problems, samples and updates.
"""

import dataclasses
import pathlib

from mtjax.config import module_at
from mtjax.experiments.config import Map
from mtjax.experiments.grid import BASELINE, Grid, Slice, StartModel
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig

parent = module_at(pathlib.Path(__file__).with_name("map.py"))

recipe = dataclasses.replace(
    parent.recipe,
    init_from="smollm2",
    model=DecoderConfig(adapter=Lora(rank=16, alpha=32.0)),
    start_source=parent.EXACT,
    check_source=dataclasses.replace(parent.recipe.check_source, count=48),
    mine_source=dataclasses.replace(parent.recipe.mine_source, count=240),
    mine_samples=4,
    test_source=dataclasses.replace(parent.recipe.test_source, count=96),
    more_steps=dataclasses.replace(parent.recipe.more_steps, count=32),
    larger_numbers=dataclasses.replace(parent.recipe.larger_numbers, count=32),
    other_order=dataclasses.replace(parent.recipe.other_order, count=32),
    optim=OptimConfig(learning_rate=5e-4, warmup_steps=5, schedule="constant", b2=0.98),
    arm_optim=OptimConfig(warmup_steps=5, schedule="constant", b2=0.98),
    rates=(3e-4,),
    target=(0.3, 0.6),
    batch_size=8,
    start_batch_size=4,
    sequence_length=128,
    max_segments=3,
    start_steps=80,
    check_every=10,
    arm_steps=30,
    samples=4,
    ks=(1, 4),
    answer_length=96,
    rows=64,
    seeds=(0, 1),
    extra_seeds=(),
    output="runs/map_smollm2",
)

START = {"start": ("smollm2",)}


def experiment(c: Map) -> Grid:
    """Part of the grid of `map.py`: the methods of the demo, from the pretrained start."""
    return dataclasses.replace(
        parent.experiment(c),
        title="When do mistakes help? From SmolLM2-135M with LoRA",
        starts={"smollm2": StartModel(parent.EXACT, c.target, "SmolLM2-135M-Instruct with LoRA, on exact solutions")},
        weaker_of="smollm2",
        slices={
            "pretrained": Slice("In and out of domain, from a pretrained start?", (BASELINE, "RISE", "DCO"), START),
            "pretrained, mistake tuning": Slice(
                "With few wrong solutions at a small weight, decoded in three ways?",
                ("mistake tuning",), START | {"share": (0.25,), "weight": (0.2,)}, ("tests", "decodings"),
            ),
        },
    )  # fmt: skip
