"""Comparison of seven ways to learn from one's own mistakes, at equal cost.

Command:  python -m mtjax.recipe configs/compare.py
Machine:  2 CPU cores, about 60 minutes. Nothing is downloaded. A killed run resumes.
Expect:   runs/compare/report.html with pass@1 to pass@32, calibration, errors that disappeared and appeared, and cost,
          over three seeds. Each method uses the learning rate that was best on validation problems. An example is
          docs/recipes/comparison_report.md.

All methods use the same start model, the same mined problems and the same number of forward positions. The start model
is trained to make a recognisable kind of mistake, as in `demo.py`.
"""

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.experiments.config import Comparison
from mtjax.optim import OptimConfig

recipe = Comparison(
    test_source=Arithmetic(count=256, seed=3, split="test"),
    arm_optim=OptimConfig(warmup_steps=20, schedule="constant", b2=0.98),
    max_segments=4,
    arm_steps=160,
    samples=32,
    ks=(1, 2, 4, 8, 16, 32),
    output="runs/compare",
)
