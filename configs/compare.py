"""Seven ways to learn from one's own mistakes, compared at equal cost.

Command:  python -m mtjax.recipe configs/compare.py
Machine:  2 CPU cores, about 60 minutes; nothing is downloaded. A killed run resumes.
Expect:   runs/compare/report.html: pass@1 to pass@32, calibration, errors that went away and appeared, and cost, over
          three seeds, each method at the learning rate that did best on validation problems; one such report is
          docs/recipes/comparison_report.md.

Same start, same mined problems, equal forward positions; the start model has a recognisable kind of mistake planted, as
in `demo.py`.
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
