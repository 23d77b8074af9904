"""Reports made up by hand."""

import dataclasses

from mtjax.planning.bounds import Bound
from mtjax.planning.collectives import Row
from mtjax.planning.lint import Finding
from mtjax.planning.report import Memory, Report

REPORT = Report(
    config="configs/tiny.py",
    phase="train",
    topology="v5e-8",
    hardware="8 x TPU v5 lite",
    level="fast",
    versions="jax 1, libtpu 2",
    mesh={"data": 2, "fsdp": 4, "tensor": 1},
    wiring={"fsdp": "side 2"},
    model="2 layers",
    parameters=1000,
    batch="16 rows",
    tokens=1536,
    memory=Memory({"parameters": 4000, "reference": 0}, 2**30, 2**31, 4000),
    flops=4_000_000,
    useful_flops=3e6,
    collectives=(Row("all-gather", "fsdp", 4, False, 1024, 3 * 2**20),),
    bound=Bound({"matrix products": 0.5, "memory": 0.25}, 0.5, "matrix products", 0.75),
    compiler_seconds=None,
    findings=(),
)
LARGE = dataclasses.replace(REPORT.memory, peak=2**32, largest=((2**30, "f32[16384,16384]"),))
NO_FIT = dataclasses.replace(REPORT, memory=LARGE, bound=None, collectives=(), advice="--micro_batches=2 fits")
LINTED = dataclasses.replace(REPORT, findings=(Finding("rows gathered", 1, 2**20, "all-gather over data"),))
