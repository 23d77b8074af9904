"""Comparison of seven ways to learn from one's own mistakes, at equal cost.

Command:  python -m mtjax.recipe configs/compare.py
Machine:  2 CPU cores, about 60 minutes. Nothing is downloaded. A killed run resumes.
Expect:   runs/compare/report.html with pass@1 to pass@32, calibration, errors that disappeared and appeared, and cost,
          over three seeds. Each method uses the learning rate that was best on validation problems. An example is
          docs/recipes/comparison_report.md.

All methods use the same start model, the same mined problems and the same number of forward positions. The start model
is trained to make a recognisable kind of mistake, as in `demo.py`.
"""

import dataclasses
import pathlib

from mtjax.config import module_at
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import CompletionTask, PairTask
from mtjax.experiments.config import Comparison
from mtjax.experiments.experiment import (
    MISTAKE,
    PLAIN,
    Experiment,
    Method,
    Mining,
    Tuning,
    chosen,
    with_both,
    with_right,
)  # fmt: skip
from mtjax.experiments.findings import Findings
from mtjax.objectives.dco import Dco
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nll import Nll
from mtjax.objectives.rise import Rise
from mtjax.objectives.unlikelihood import Unlikelihood
from mtjax.optim import OptimConfig

coverage = module_at(pathlib.Path(__file__).with_name("coverage.py"))

recipe = Comparison(
    test_source=Arithmetic(count=256, seed=3, split="test"),
    arm_optim=OptimConfig(warmup_steps=20, schedule="constant", b2=0.98),
    max_segments=4,
    arm_steps=160,
    samples=32,
    ks=(1, 2, 4, 8, 16, 32),
    output="runs/compare",
)


def methods(c: Comparison) -> dict[str, Method]:
    """The methods by name."""
    both = CompletionTask(polarities="both")
    full = PairTask(full_per_problem=c.full_pairs, step_per_problem=0)
    paired = dataclasses.replace(full, step_per_problem=c.step_pairs)
    # The gate is on full pairs too, so that the two methods differ in the step pairs alone.
    rise = Rise(beta=c.beta, nll_weight=c.nll_weight, nll_on="all")
    return {
        "right only": Method(
            PLAIN, Nll(), with_right,
            says="Cross-entropy on its own right solutions.",
        ),
        "no prefix": Method(
            both, Nll(),
            says="Cross-entropy on right and wrong solutions alike.",
        ),
        "mistake tuning": Method(
            MISTAKE, MistakeTuning(1.0), polarities=(True, False),
            says="The same behind a prefix that says which is which; decoded behind the correct one.",
        ),
        "DPO + NLL": Method(
            full, dataclasses.replace(rise, step_weight=0), with_both,
            says="Pairs of whole solutions, right over wrong, and cross-entropy on the right one while the policy "
            "likes it less than the reference does (RISE's gate; an ungated term would be DPO + NLL proper).",
        ),
        "RISE": Method(
            paired, rise, with_both, step_pairs=True,
            says="The same, and pairs of single steps: a right step over one with an error injected by rule.",
        ),
        "DCO": Method(
            PLAIN, Dco(n=c.dco_n), with_right,
            says=f"As right only, with the loss of coverage for {c.dco_n} samples.",
        ),
        "unlikelihood": Method(
            both, Unlikelihood(c.unlikelihood_weight),
            says="Cross-entropy on right solutions, and -log(1 - p) on the tokens of wrong ones at weight "
            f"{c.unlikelihood_weight:g}.",
        ),
    }  # fmt: skip


def claims(k: int) -> list[tuple[str, str, str, int]]:
    """Sentences to test; each holds if pass@k of the first method is above that of the second."""
    return [
        ("Own right solutions help (rejection sampling)", "right only", "start", 1),
        ("Mistake tuning beats right solutions alone (Tong et al. 2024)", "mistake tuning", "right only", 1),
        ("The prefix is what makes wrong solutions usable (the same)", "mistake tuning", "no prefix", 1),
        ("DPO on whole solutions with cross-entropy improves the start (ablation of RISE)", "DPO + NLL", "start", 1),
        ("Pairs beat right solutions alone", "DPO + NLL", "right only", 1),
        ("Steps with injected errors add to that (RISE, Xu et al. 2025)", "RISE", "DPO + NLL", 1),
        (f"DCO has more coverage at {k} samples (Chen et al. 2025)", "DCO", "right only", k),
        ("and pays for it at one sample (the same)", "right only", "DCO", 1),
        ("Unlikelihood of wrong solutions beats right ones alone (nobody's claim)", "unlikelihood", "right only", 1),
    ]


def experiment(c: Comparison) -> Experiment:
    """The methods on the start model's own solutions, each at its best learning rate on validation problems."""
    return Experiment(
        title="Ways to learn from one's own mistakes, compared",
        pictures="pictures/comparison",
        methods=chosen(c.methods, methods(c)),
        train_on=Mining(c.mine_source, c.mine_samples, c.step_pairs),
        tuning=Tuning(c.validation_source, c.rates, c.tune_seed, c.tune_samples, c.tune_k),
        looks=c.looks,
        baseline="right only",
        claims=claims(max(c.ks)),
        sections=(
            "arms", "claims", "coverage", "over training", "calibration", "errors", "prefix",
            "cost", "rates", "protocol",
        ),
        texts={
            "claims": lambda f: CLAIMS, "calibration": lambda f: coverage.CALIBRATION, "errors": lambda f: ERRORS,
            "cost": cost, "rates": rates, "protocol": protocol,
        },
        free=("methods", "rates", "seeds", "ks", "tune_k", "output"),
    )  # fmt: skip


CLAIMS = """\
Each claim is tested by a difference that is above 0 if the claim holds, at this size, on this task and with this
budget. The papers used models that are ten thousand times as large."""


ERRORS = """\
What is wrong first in a solution, by the exact checker: a type of error such as `carry` or `value` where a step is
proved wrong, else what is wrong with its form, such as `missing` for a line too few."""


def cost(f: Findings) -> str:
    """What is counted as cost."""
    mined = f.outcome.mined
    return f"""\
All methods train on equal forward positions of the policy. Additional cost is counted here: positions of a reference
model, and the solutions that were sampled before any method could start, the same for all (right-only training needs
them too): {mined.drawn:,} solutions, {mined.tokens:,} tokens. The step pairs were made by rule, without a model.
`forward passes` counts a training position as three forward ones (one forward, two backward) and a reference's or a
sampled token as one, per arm. The choice of the learning rate trains every arm {len(f.c.rates)} more times and measures
on separate problems.

Seconds are wall-clock times of this machine, which may have been shared:

{f.seconds}"""


def rates(f: Findings) -> str:
    """How learning rates were chosen, and which methods took one at the edge of the grid."""
    c = f.c
    ends = {min(c.rates), max(c.rates)} if len(c.rates) > 1 else set()
    at_edge = ", ".join(name for name, rate in f.outcome.rates.items() if rate in ends)
    edge = f"At the edge of the grid, where a wider one might be better: {at_edge}."
    return f"""\
pass@{c.tune_k} on {c.validation_source.count} validation problems from {c.tune_samples} samples each, after all
updates, with data order {c.tune_seed}; the highest is taken, of equal ones the lower rate.
{edge if at_edge else "No method took a rate at the edge of the grid."}"""


def protocol(f: Findings) -> str:
    """What was done, and what each method is."""
    c, o = f.c, f.outcome
    kinds = ", ".join(f"{name} {count}" for name, count in o.injected.kinds.items())
    listed = "\n".join(f"- **{name}**: {method.says} `{method.objective_name}`" for name, method in f.e.methods.items())
    return f"""\
The start model imitates generated arithmetic in which {c.start_source.habit_share:.0%} of the solutions drop carries
and borrows (probability {c.start_source.slip_probability} per step), so that it makes a recognisable kind of mistake.
It stopped at step {o.begins[0].steps}, when its sampled accuracy on a separate set of problems was within {c.target}
({o.begins[0].stop_rule[-1][1]:.3f}).

It then solved {len(o.mined.problems)} problems {c.mine_samples} times; the exact checker found {o.mined.right} distinct
right and {o.mined.wrong} wrong solutions. Out of its own right steps a seeded rule editor made {o.injected.pairs} step
pairs ({o.injected.made} edits tried), each wrong side proved wrong by the checker: {kinds}.

Every method starts from the same weights with fresh moments and does {c.arm_steps} updates of {c.batch_size} rows of
{c.sequence_length} positions (a pair has two rows), with a learning rate chosen on {c.validation_source.count}
validation problems by pass@{c.tune_k}, with a separate seed; then once for each of the seeds {c.seeds}. pass@k is
estimated without bias from {c.samples} samples at temperature 1 of each of {c.test_source.count} test problems, which
are the same for all. Intervals are over problems, not over seeds, which are shown separately. They are not corrected
for multiple comparisons.

{listed}"""
