"""Does cross-entropy lose coverage while pass@1 rises, and does DCO keep it? 500 problems, three seeds.

Command:  python -m mtjax.recipe configs/coverage.py
Machine:  2 CPU cores, about 11 minutes; nothing is downloaded. A killed run resumes.
Expect:   runs/coverage/report.html: pass@k over training for both losses. Cross-entropy: pass@1 .28 to .66, pass@32
          .94 to .87; DCO: .37 and .96. docs/recipes/coverage_report.md is one run's report.

Each seed has a start model, a training set and a data order of its own. Nothing is planted: the start imitates exact
solutions until it is right in about a third of its samples, so that its errors are of every kind.
"""

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.experiments.config import Coverage

recipe = Coverage(
    start_source=Arithmetic(count=20_000, split="train"),
    test_source=Arithmetic(count=256, seed=3, split="test"),
    target=(0.25, 0.5),
    check_every=25,
    arm_steps=200,
    looks=5,
    samples=32,
    ks=(1, 2, 4, 8, 16, 32),
    output="runs/coverage",
)
