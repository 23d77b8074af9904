"""Coverage experiment: does cross-entropy lose coverage while pass@1 rises, and does DCO keep it?

Command:  python -m mtjax.recipe configs/coverage.py
Machine:  2 CPU cores, about 11 minutes. Nothing is downloaded. A killed run resumes.
Expect:   runs/coverage/report.html with pass@k over training for both losses. Cross-entropy: pass@1 .28 to .66, pass@32
          .94 to .87. DCO: .37 and .96. An example is docs/recipes/coverage_report.md.

There are 500 training problems and three seeds. Each seed has its own start model, training set and data order. No
mistakes are planted: the start model is trained on exact solutions until about a third of its samples are right, so
that it makes errors of every kind.
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
