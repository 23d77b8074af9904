"""When do mistakes help? A factorial of methods, data, starts and decodings, registered before it was run.

Command:  python -m mtjax.recipe configs/map.py
Machine:  2 CPU cores; start it twice, as two processes on one folder. Nothing is downloaded. A killed process resumes.
          docs/when_mistakes_help.md has the number of runs and the time that they are expected to take.
Expect:   runs/map/cells.jsonl with a line for each run, and runs/map/report.html with the effects of every slice.
          `--slices decoding` runs a part, `--cells NAME --seeds 0 --output=runs/again` one cell again.
"""

import dataclasses

from mtjax.data.sources import Mixture
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import CompletionTask, PairTask
from mtjax.experiments.config import Map
from mtjax.experiments.experiment import MISTAKE, PLAIN, Method, with_both, with_right
from mtjax.experiments.grid import BASELINE, Cell, Grid, MapMethod, Slice, StartModel
from mtjax.objectives.dco import Dco
from mtjax.objectives.glow import Glow
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nft import Nft
from mtjax.objectives.nll import Nll
from mtjax.objectives.rise import Rise
from mtjax.objectives.unlikelihood import Unlikelihood
from mtjax.objectives.w_reinforce import nsr, psr
from mtjax.optim import OptimConfig

PLANTED = Arithmetic(count=20_000, split="train", slip_probability=0.5, habit_share=0.8, sums_first=True)
EXACT = dataclasses.replace(PLANTED, slip_probability=0.0, habit_share=0.0)

recipe = Map(
    start_source=PLANTED,
    check_source=Arithmetic(count=96, seed=2, split="validation", sums_first=True),
    test_source=Arithmetic(count=160, seed=3, split="test", sums_first=True),
    arm_optim=OptimConfig(warmup_steps=20, schedule="constant", b2=0.98),
    max_segments=4,
    batch_size=32,
    start_batch_size=64,
    start_steps=2500,
    check_every=25,
    arm_steps=120,
    samples=8,
    ks=(1, 8),
    output="runs/map",
)


@dataclasses.dataclass(frozen=True)
class NoPrefix(MistakeTuning):
    """The loss of mistake tuning on texts without its prefixes; at weight 1 it is cross-entropy on right and wrong."""

    task = "any"


def both(cell: Cell, **settings: bool) -> CompletionTask:
    """Right and wrong solutions with nothing to tell them apart, at the share of the cell."""
    return CompletionTask(polarities="both", wrong_per_right=cell.share, **settings)


def pairs(steps: int) -> PairTask:
    """Pairs of whole solutions, and of steps."""
    return PairTask(full_per_problem=4, step_per_problem=steps)


def rise(step_weight: float) -> Rise:
    """RISE with its gate on whole solutions too, as in `compare.py`."""
    return Rise(beta=0.4, nll_weight=0.2, nll_on="all", step_weight=step_weight)


def mistake(cell: Cell) -> Method:
    """Mistake tuning at the levels of a cell."""
    task = dataclasses.replace(MISTAKE, loss_on=cell.loss_on, wrong_per_right=cell.share)
    return Method(task, MistakeTuning(cell.weight), polarities=(True, False))


METHODS = {
    BASELINE: MapMethod(lambda cell: Method(PLAIN, Nll(), with_right), says="Cross-entropy on own right solutions."),
    "no prefix": MapMethod(
        lambda cell: Method(both(cell), NoPrefix(cell.weight)), ("share", "weight", "mistakes"), "no prefix",
        says="Cross-entropy on right and wrong solutions, wrong ones at a weight, with nothing to tell them apart.",
    ),
    "mistake tuning": MapMethod(
        mistake, ("share", "weight", "loss_on", "mistakes"), "mistake tuning",
        says="The same behind a prefix that says which is which; decoded behind the right one.",
    ),
    "GLOW": MapMethod(
        lambda cell: Method(both(cell), Glow()), ("share", "mistakes"), "no prefix",
        says="Cross-entropy on right and wrong solutions alike; those that improve least weigh more.",
    ),
    "PSR": MapMethod(
        lambda cell: Method(both(cell), psr()), says="Clipped policy gradient that raises right solutions.",
    ),
    "NSR": MapMethod(
        lambda cell: Method(both(cell), nsr()), ("share", "mistakes"),
        says="Clipped policy gradient that lowers wrong solutions, and nothing else.",
    ),
    "NFT": MapMethod(
        lambda cell: Method(both(cell, success_rate=True), Nft(wrong_weight=cell.weight)),
        ("share", "weight", "mistakes"), "no prefix",
        says="Likelihood of right solutions, and of wrong ones through the wrong policy that they imply.",
    ),
    "DPO + NLL": MapMethod(
        lambda cell: Method(pairs(0), rise(0), with_both), ("mistakes",), "DPO + NLL",
        says="Pairs of whole solutions with gated cross-entropy of the right one.",
    ),
    "RISE": MapMethod(
        lambda cell: Method(pairs(4), rise(1), with_both), ("mistakes",), "RISE", step_pairs=4,
        says="The same, and pairs of single steps with an error injected by rule.",
    ),
    "DCO": MapMethod(
        lambda cell: Method(PLAIN, Dco(n=8), with_right), says="As right only, with the loss of coverage at 8 samples.",
    ),
    "unlikelihood": MapMethod(
        lambda cell: Method(both(cell), Unlikelihood(0.001)), ("share", "mistakes"), "no prefix",
        says="Cross-entropy on right solutions, and -log(1 - p) on the tokens of wrong ones at weight 0.001.",
    ),
}  # fmt: skip

STARTS = {
    "planted": StartModel(
        PLANTED, (0.4, 0.7), "four in five of its solutions drop carries and borrows: a recognisable kind of mistake"
    ),
    "diffuse": StartModel(EXACT, (0.25, 0.7), "exact solutions, stopped early: errors of many kinds"),
    "broad": StartModel(
        Mixture((
            PLANTED,
            dataclasses.replace(EXACT, min_operands=2, max_operands=2, high=30, sums_first=None),
            dataclasses.replace(EXACT, min_operands=2, max_operands=3, high=9, operators=("*", "+"), sums_first=None),
            dataclasses.replace(EXACT, operators=("-",), low=1, high=40, sums_first=None),
        )),
        (0.4, 0.7),
        "a mixture of the planted task, single sums and differences, small products, and chains of differences",
    ),
}  # fmt: skip

SHARES, WEIGHTS = (0.25, 1.0, 2.0), (0.05, 0.2, 1.0)
ALL = tuple(METHODS)
WITH_WRONG = tuple(name for name, method in METHODS.items() if "mistakes" in method.factors)

SLICES = {
    "domain": Slice(
        "In and out of domain: which method gains where, and against the start?", ALL, measures=("tests", "line")
    ),
    "share x weight": Slice(
        "How many wrong solutions, and at which weight?",
        (BASELINE, "no prefix", "mistake tuning", "NFT"),
        {"share": SHARES, "weight": WEIGHTS, "loss_on": ("rationale", "all")},
    ),
    "share": Slice(
        "How many wrong solutions, for methods without a weight?", ("GLOW", "NSR", "unlikelihood"), {"share": SHARES}
    ),
    "scarcity": Slice(
        "How does it depend on the number of training problems and of solutions for each?",
        ALL, {"problems": (100, 400, 1600), "solutions": ("all", "one")},
    ),
    "kind of mistake": Slice(
        "Recognisable, diffuse or injected mistakes; own ones or those of a weaker model?",
        (BASELINE, *WITH_WRONG), {"start": ("planted", "diffuse"), "mistakes": ("own", "injected", "weaker")},
    ),
    "start": Slice("From a start on the task, or one of a broad mixture?", ALL, {"start": ("planted", "broad")}),
    "right tokens": Slice(
        "What does right-only training reach on as many right tokens as a method saw?",
        (BASELINE,), {"matched": ("no prefix", "mistake tuning"), "share": SHARES},
    ),
    "right tokens of pairs": Slice(
        "The same for methods of pairs.", (BASELINE,), {"matched": ("DPO + NLL", "RISE")},
    ),
    "decoding": Slice(
        "Behind the right prefix, without one, or by the contrast of both?",
        ("mistake tuning",), {"share": SHARES, "weight": WEIGHTS}, ("tests", "decodings"),
    ),
    "averaging": Slice(
        "Does a model between start and end give back coverage?", ALL, {"problems": (100,)}, ("tests", "line")
    ),
}  # fmt: skip


def experiment(c: Map) -> Grid:
    """The registered grid."""
    return Grid(title="When do mistakes help?", methods=METHODS, starts=STARTS, slices=SLICES)
