"""The demo: a small model makes mistakes, is trained on them by three methods, and is compared with plain fine-tuning.

Command:  make demo
          After the set-up this is the same as python -m mtjax.recipe configs/demo.py
Machine:  2 CPU cores, about 7 minutes after set-up. Nothing is downloaded.
Expect:   a start model right about two times in five; its own mistakes, mined and verified; a table of pass@1, pass@8
          and maj@8 with intervals over two seeds; and what each method does that it is for. All is in runs/demo.
          A killed run resumes; delete the folder to start again.

The arms are four cells of the map of when mistakes help (`map.py`, docs/when_mistakes_help.md), with its problems,
seeds and learning rates. `coverage.py` has the two arms on a small training set.
"""

import dataclasses
import pathlib

from mtjax.config import module_at
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.experiments.config import Demo, Overfit
from mtjax.experiments.experiment import Experiment, Method, Mining
from mtjax.experiments.findings import Findings

parent = module_at(pathlib.Path(__file__).with_name("map.py"))
coverage = module_at(pathlib.Path(__file__).with_name("coverage.py"))

recipe = Demo(
    start_source=parent.recipe.start_source,
    check_source=parent.recipe.check_source,
    test_source=parent.recipe.test_source,
    mine_source=dataclasses.replace(parent.recipe.mine_source, count=400),
    mine_samples=parent.recipe.mine_samples,
    max_segments=parent.recipe.max_segments,
    batch_size=parent.recipe.batch_size,
    start_batch_size=parent.recipe.start_batch_size,
    start_steps=parent.recipe.start_steps,
    check_every=parent.recipe.check_every,
    seeds=parent.recipe.seeds[:2],
    samples=parent.recipe.samples,
    ks=(1, 2, 4, 8),
    overfit=Overfit(
        source=Arithmetic(count=300, seed=5, split="train", sums_first=True),
        test_source=Arithmetic(count=160, seed=6, split="test", sums_first=True),
        looks=2,
    ),
)

CELLS = {
    "right only": ("right-only", 3e-4),
    "mistake tuning": ("mistake-tuning,share=0.25,weight=0.2", 1e-3),
    "RISE": ("rise", 3e-4),
    "DCO": ("dco", 3e-4),
}
"""Each arm's cell of the map, and the learning rate that the map chose for its method on validation problems."""


def methods() -> dict[str, Method]:
    """The arms, all on the first 400 problems of the map."""
    grid, found = parent.experiment(parent.recipe), {}
    for name, (cell, rate) in CELLS.items():
        kind = grid.methods[grid.cells[cell].method]
        found[name] = kind.make(grid.cells[cell])._replace(rate=rate, step_pairs=kind.step_pairs > 0)
    return found


def experiment(c: Demo) -> Experiment:
    """The arms on the start model's own solutions, and both methods of the coverage experiment."""
    cover, most = coverage.methods(c.overfit.n), max(c.overfit.ks)
    entropy, dco = cover
    return Experiment(
        title="Learning from one's own mistakes",
        pictures="pictures/demo",
        methods=methods(),
        train_on=Mining(c.mine_source, c.mine_samples, step_pairs=4),
        contrast=parent.recipe.contrast_weight,
        margins=True,
        small=(cover, c.overfit),
        baseline="right only",
        claims=[
            ("Mistake tuning: the contrast of both prefixes is better than the right one alone",
             "mistake tuning, by contrast", "mistake tuning", 1),
            ("RISE: an injected error becomes less likely against the right step", "RISE", "right only", "margin"),
            ("DCO: on a small training set, more problems are solved by some sample", dco, entropy, most),
        ],
        sections=("arms", "claims", "prefix", "coverage", "small", "losses", "cost", "protocol"),
        texts={"claims": lambda f: CLAIMS, "small": small, "cost": lambda f: COST, "protocol": protocol},
    )  # fmt: skip


CLAIMS = """\
What each method is for, measured on held-out problems; the prefixes of mistake tuning are the last line. None of this
says that a method is better than training on right solutions only: that is in the first table."""

COST = """\
All arms train on equal forward positions. `forward passes` counts a training position as three, and adds the tokens
that were sampled to mine."""


def protocol(f: Findings) -> str:
    """What was done."""
    c, o = f.c, f.outcome
    return f"""\
The start model imitates generated arithmetic in which {c.start_source.habit_share:.0%} of the solutions drop carries
and borrows (probability {c.start_source.slip_probability} per step), so that it makes a recognisable kind of mistake.
It stopped at step {o.begins[0].steps}, when its sampled accuracy on a separate set of problems was within {c.target}
({", ".join(f"step {step}: {share:.3f}" for step, share in o.begins[0].stop_rule)}).

It then solved {len(o.mined.problems)} problems {c.mine_samples} times; the exact checker found {o.mined.right} distinct
right and {o.mined.wrong} wrong solutions, and a rule editor made {o.injected.pairs} pairs of steps for RISE. Every arm
is a run of `mtjax.train` from the same weights, with seeds {c.seeds}.

Mistake tuning trains on one wrong solution for four right ones, at weight 0.2. The learning rate of each arm is the one
that the map of when mistakes help chose on validation problems. Time:

{f.seconds}"""


def small(f: Findings) -> str:
    """What was done on the small training set."""
    o = f.c.overfit
    early = next(step for step, share in f.outcome.begins[0].stop_rule if share >= o.start_at)
    return f"""\
The start model at the earlier step {early}, when its errors are of many kinds, trained on
{o.source.count} problems with their exact solutions until it has memorised them ({o.steps} steps at learning rate
{f.c.arm_optim.learning_rate:g}): by cross-entropy, and by DCO, whose loss stops raising the probability of answers that
{o.n} samples already find. One seed, {o.test_source.count} held-out problems, {o.samples} samples each."""
