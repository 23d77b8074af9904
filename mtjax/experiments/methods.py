"""The methods that the comparison compares, as a table, and the pairs that two of them are made of."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.mistakes import pair_of
from mtjax.data.tasks import CompletionTask
from mtjax.data.tasks.pair import PairTask
from mtjax.errors import InputError, suggest
from mtjax.experiments.config import Comparison
from mtjax.experiments.lab import Lab
from mtjax.experiments.start import MISTAKE, PLAIN
from mtjax.experiments.training import Method
from mtjax.mistakes.injection import Rules, Yields, inject
from mtjax.objectives.dco import Dco
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nll import Nll
from mtjax.objectives.rise import Rise
from mtjax.objectives.unlikelihood import Unlikelihood

RIGHT_ONLY = "right only"
"""The baseline that every other method is compared with."""


def with_right(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a right solution."""
    return [problem for problem in problems if problem.right]


def with_both(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a right and a wrong solution, of which pairs can be made."""
    return [problem for problem in problems if problem.right and problem.wrong]


def methods_of(c: Comparison) -> dict[str, Method]:
    """Every method by name, with the settings of `c`; InputError for a name in `c.methods` that there is none of."""
    both = CompletionTask(polarities="both")
    full = PairTask(full_per_problem=c.full_pairs, step_per_problem=0)
    paired = dataclasses.replace(full, step_per_problem=c.step_pairs)
    # The gate is on full pairs too, so that the two rows differ in the step pairs alone.
    rise = Rise(beta=c.beta, nll_weight=c.nll_weight, nll_on="all")
    without_steps = dataclasses.replace(rise, step_weight=0)
    known = {
        RIGHT_ONLY: Method(PLAIN, Nll(), with_right, says="Cross-entropy on its own right solutions."),
        "no prefix": Method(both, Nll(), list, says="Cross-entropy on right and wrong solutions alike."),
        "mistake tuning": Method(
            MISTAKE,
            MistakeTuning(1.0),
            list,
            (True, False),
            "The same behind a prefix that says which is which; decoded behind the correct one.",
        ),
        "DPO + NLL": Method(
            full,
            without_steps,
            with_both,
            says="Pairs of whole solutions, right over wrong, and cross-entropy on the right one while the policy "
            "likes it less than the reference does (RISE's gate; an ungated term would be DPO + NLL proper).",
        ),
        "RISE": Method(
            paired,
            rise,
            with_both,
            says="The same, and pairs of single steps: a right step over one with an error injected by rule.",
        ),
        "DCO": Method(
            PLAIN, Dco(n=c.dco_n), with_right, says=f"As right only, with the loss of coverage for {c.dco_n} samples."
        ),
        "unlikelihood": Method(
            both,
            Unlikelihood(c.unlikelihood_weight),
            list,
            says=f"Cross-entropy on right solutions, and -log(1 - p) on the tokens of wrong ones at weight "
            f"{c.unlikelihood_weight:g}.",
        ),
    }
    for name in (*c.methods, RIGHT_ONLY):
        if name not in known:
            raise InputError(f"there is no method '{name}'; {suggest(name, known)}")
    return {name: method for name, method in known.items() if name in c.methods}


class Injected(NamedTuple):
    """Mined problems with step pairs, and what making those took.

    Attributes:
        problems: as given, those with a right and a wrong solution with step pairs besides.
        pairs: step pairs.
        made: edits tried; none is by a model.
        unreadable: proved wrong but left out, since the tokenizer cannot write them (a division).
        kinds: step pairs by type of error.
    """

    problems: tuple[Problem, ...]
    pairs: int
    made: int
    unreadable: int
    kinds: dict[str, int]


def with_step_pairs(lab: Lab, problems: Sequence[Problem], per_problem: int, seed: int) -> Injected:
    """Give each problem up to `per_problem` step pairs: one of its own right steps against an edit proved wrong.

    The edits are those of `mtjax.mistakes.injection` with the seed; only problems that have both a right and a wrong
    solution get any, as in RISE.
    """
    yields: Yields = {}
    found: dict[str, list[Pair]] = {}
    unreadable = 0
    for mistake in inject(with_both(problems), Rules(seed=seed, per_problem=per_problem), yields):
        pair = pair_of(mistake)
        if pair is not None and lab.can_be_read(pair.rejected):
            found.setdefault(mistake.problem_id, []).append(pair)
        else:
            unreadable += 1
    out = tuple(dataclasses.replace(p, pairs=(*p.pairs, *found.get(p.id, ()))) for p in problems)
    kinds = Counter(pair.error_type for pairs in found.values() for pair in pairs)
    made = sum(counts["made"] for counts in yields.values())
    return Injected(out, kinds.total(), made, unreadable, dict(sorted(kinds.items())))
