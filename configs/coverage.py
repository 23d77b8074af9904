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
from mtjax.experiments.experiment import PLAIN, Experiment, Method
from mtjax.experiments.findings import Findings
from mtjax.objectives.dco import Dco
from mtjax.objectives.nll import Nll

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


def methods(n: int) -> dict[str, Method]:
    """Both methods; they differ in the loss alone."""
    return {
        "cross-entropy": Method(PLAIN, Nll(), file="nll"),
        f"DCO, N = {n}": Method(PLAIN, Dco(n=n), file="dco"),
    }


def experiment(c: Coverage) -> Experiment:
    """Both methods from a start model of each seed, on exact solutions."""
    return Experiment(
        title="Coverage on a small training set",
        pictures="pictures/coverage",
        methods=methods(c.n),
        train_on=c.train_source,
        own_starts=True,
        looks=c.looks,
        sections=("curves", "calibration", "protocol"),
        texts={"calibration": lambda f: CALIBRATION, "protocol": protocol},
    )


CALIBRATION = """\
Confidence is the probability that the model gives its complete greedy solution; a calibrated model of confidence 0.8 is
right in 8 of 10 such solutions. The error is binned (10 bins of equal width, all seeds together) and is above 0 by
chance alone in small bins."""


def protocol(f: Findings) -> str:
    """What was done."""
    c, o = f.c, f.outcome
    starts = ", ".join(f"step {begin.steps} ({begin.stop_rule[-1][1]:.3f})" for begin in o.begins)
    epochs = o.arms["cross-entropy"][0].cost["examples"] / c.train_source.count
    return f"""\
For each of the seeds {c.seeds} a start model imitates generated arithmetic ({c.start_source.habit_share:.0%} of the
solutions carry planted slips) until its sampled accuracy on a separate set of problems is within {c.target}: {starts}.

From each start, two arms continue on {c.train_source.count} problems of that seed with their exact solutions, for
{c.arm_steps} steps of {c.batch_size} rows at learning rate {c.arm_optim.learning_rate:g}: {epochs:.0f} passes over the
set. The arms differ in the loss only; the data order is the same. pass@k is estimated without bias from {c.samples}
samples at temperature 1 of each of {c.test_source.count} held-out problems; all arms and seeds use the same problems.

Both arms use the same learning rate, which was not tuned. DCO's loss is a sum over tokens and cross-entropy's a mean,
but the gradient's norm is clipped and Adam divides by its size, so that the scale matters little. Time:

{f.seconds}"""
