"""The methods of the comparison, as a table."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mtjax.data.problem import Problem
from mtjax.data.tasks import CompletionTask, MistakeTask, Task
from mtjax.data.tasks.pair import PairTask
from mtjax.errors import InputError, suggest
from mtjax.experiments.config import Comparison
from mtjax.objectives.base import OBJECTIVES
from mtjax.objectives.dco import Dco
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nll import Nll
from mtjax.objectives.rise import Rise
from mtjax.objectives.unlikelihood import Unlikelihood
from mtjax.types import Objective

PLAIN = CompletionTask()
"""A question and one solution."""

MISTAKE = MistakeTask(decode_prefix="correct", loss_on="rationale")
"""A solution after the prefix that says whether it is right."""


class Method(NamedTuple):
    """One way to continue from the start model: what an arm changes in the start's config.

    Attributes:
        task: how problems become text.
        objective: what is minimised.
        problems: selects the problems to train on.
        polarities: the prefixes to decode after, the method's own first; None for a task without prefixes.
        says: a description for the report.
    """

    task: Task
    objective: Objective
    problems: Callable[[Sequence[Problem]], Sequence[Problem]]
    polarities: tuple[bool | None, ...] = (None,)
    says: str = ""

    @property
    def objective_name(self) -> str:
        """The objective with its settings, such as `rise(beta=0.4, ...)`."""
        settings = dataclasses.asdict(self.objective)  # type: ignore[call-overload]
        name = OBJECTIVES.name_of(self.objective)
        return f"{name}({', '.join(f'{key}={value}' for key, value in settings.items())})"


RIGHT_ONLY = "right only"
"""The baseline that every other method is compared with."""


def with_right(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a right solution."""
    return [problem for problem in problems if problem.right]


def with_both(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a right and a wrong solution, of which pairs can be made."""
    return [problem for problem in problems if problem.right and problem.wrong]


def methods_of(c: Comparison) -> dict[str, Method]:
    """Every method by name, with the settings of `c`; InputError for an unknown name in `c.methods`."""
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


def file_name(method: str) -> str:
    """A method's name as part of a file's."""
    return re.sub(r"\W+", "-", method.lower()).strip("-")
