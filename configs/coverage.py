"""Does cross-entropy lose coverage while pass@1 rises, and does DCO keep it? 500 problems, three seeds.

Command:  python -m mtjax.recipe configs/coverage.py
Machine:  2 CPU cores, about 15 minutes; nothing is downloaded. A killed run goes on where it stopped.
Expect:   runs/coverage/report.html: pass@1, 8 and 32 over training for both losses, and plainly what appeared.

Each seed has a start model, a training set and a data order of its own. Nothing is planted: the start imitates exact
solutions until it is right in about a third of its samples, so that its errors are of every kind.
"""

from mtjax.comparison.settings import Coverage
from mtjax.data.arithmetic import Arithmetic

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
