"""The demo: a small model makes mistakes, is trained on them in four ways, and is evaluated.

Command:  make demo
          After the set-up this is the same as python -m mtjax.recipe configs/demo.py
Machine:  2 CPU cores, about 4 minutes after set-up. Nothing is downloaded.
Expect:   a start model right about half of the time; its own mistakes, mined and verified; and a table of pass@1,
          pass@8 and maj@8 with intervals over three seeds. Runs, mined solutions and the report are in runs/demo.
          A killed run resumes; delete the folder to start again.

The start model is deliberately trained to make a recognisable kind of mistake: four in five of its training solutions
drop each carry and borrow with probability one half. With errors of many kinds, the prefix was not learned.
"""

import pathlib

from mtjax.config import module_at
from mtjax.data.tasks import CompletionTask
from mtjax.experiments.config import Demo
from mtjax.experiments.experiment import MISTAKE, PLAIN, Experiment, Method, Mining, with_right
from mtjax.experiments.findings import Findings
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nll import Nll

coverage = module_at(pathlib.Path(__file__).with_name("coverage.py"))

recipe = Demo()

METHODS = {
    "right only": Method(PLAIN, Nll(), with_right),
    "right and wrong, no prefix": Method(CompletionTask(polarities="both"), Nll()),
    "mistake tuning": Method(MISTAKE, MistakeTuning(1.0), polarities=(True, False)),
    "right only, equal right tokens": Method(PLAIN, Nll(), with_right, right_tokens_of="mistake tuning"),
}
"""The first three train on equal forward positions, the last on as many right target tokens as mistake tuning."""


def experiment(c: Demo) -> Experiment:
    """Four methods on the start model's own solutions, and both methods of the coverage experiment."""
    return Experiment(
        title="Learning from one's own mistakes",
        pictures="pictures/demo",
        methods=METHODS,
        train_on=Mining(c.mine_source, c.mine_samples),
        small=(coverage.methods(c.overfit.n), c.overfit),
        baseline="right only",
        sections=("arms", "prefix", "coverage", "small", "losses", "cost", "protocol"),
        texts={"small": small, "cost": lambda f: COST, "protocol": protocol},
    )


COST = """\
The first three arms train on equal forward positions, the last on as many target tokens of right solutions as mistake
tuning. `forward passes` counts a training position as three, and adds the tokens that were sampled to mine."""


def protocol(f: Findings) -> str:
    """What was done."""
    c, o = f.c, f.outcome
    return f"""\
The start model imitates generated arithmetic in which {c.start_source.habit_share:.0%} of the solutions drop carries
and borrows (probability {c.start_source.slip_probability} per step), so that it makes a recognisable kind of mistake.
It stopped at step {o.begins[0].steps}, when its sampled accuracy on a separate set of problems was within {c.target}
({", ".join(f"step {step}: {share:.3f}" for step, share in o.begins[0].stop_rule)}).

It then solved {len(o.mined.problems)} problems {c.mine_samples} times; the exact checker found {o.mined.right} distinct
right and {o.mined.wrong} wrong solutions. Every arm is a run of `mtjax.train` from the same weights, with seeds
{c.seeds}. The last arm stops when it has seen as many target tokens of right solutions as mistake tuning.

The learning rate is the same for all arms and was not tuned per arm. Time:

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
