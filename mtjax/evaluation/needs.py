"""What a chosen metric lacks, and how to get it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.errors import InputError
from mtjax.evaluation.graders import gold_answer
from mtjax.evaluation.graders.choice import right_option
from mtjax.evaluation.metrics import Need
from mtjax.sampling.config import SamplingConfig

SOLUTIONS = "solutions of the problems, and the task renders none: take a source whose problems have solutions"

MISSING: Mapping[Need, str] = {
    "scores": SOLUTIONS,
    "wrong_prefix": "answers after the wrong prefix, which the task does not have: set data.task:mistake",
    "choices": "problems with options and the right one, and {found}: take a source of choices, such as "
    "data.source:error_detection, or give records `options` and an `answer`",
    "prior": "the gold answer of every problem, and {found}: give the records an `answer`",
    "accepted": "the verdicts of a second, imperfect grader: set second_grader:NAME (`python -m mtjax.list grader`)",
    "stages": "results of earlier models on the same problems: evaluate each with --output=FOLDER, then give "
    "--stages=FOLDER FOLDER in the order in which tasks were learnt",
    "random_scores": SOLUTIONS,
}
"""What a metric needs that not every evaluation has, and the way to get it."""


def check_needs(
    chosen: Mapping[str, Any],
    problems: Sequence[Problem],
    task: Task,
    sampling: SamplingConfig,
    *,
    second_grader: Any = None,
    stages: Collection[str] = (),
    has_solutions: Callable[[], bool] = lambda: True,
) -> None:
    """InputError for the first metric chosen by name that cannot be computed: what it needs, and how to get it."""
    for name, metric in chosen.items():
        for need in metric.needs:
            found = ""
            if need == "choices":
                found = first_without(
                    problems, lambda one: bool(one.options) and right_option(one) is not None, "no such options"
                )
            elif need == "prior":
                found = first_without(problems, lambda one: bool(gold_answer(one)), "none")
            lacks = {
                "scores": lambda: not has_solutions(),
                "random_scores": lambda: not has_solutions(),
                "wrong_prefix": lambda: "wrong" not in task.prefixes,
                "accepted": lambda: second_grader is None,
                "stages": lambda: not stages,
            }.get(need, lambda found=found: bool(found))
            if lacks():
                raise InputError(f"metric '{name}' needs {MISSING[need].format(found=found)}")
        try:
            getattr(metric, "check", lambda problems: None)(problems)
        except InputError as error:
            raise InputError(f"metric '{name}': {error}") from error
        least = getattr(metric, "least_samples", 1)
        if sampling.samples < least:
            raise InputError(
                f"metric '{name}' needs {least} samples of each problem, and there is {sampling.samples}: set "
                f"--samples={max(least, 8)}"
            )
        if least > 1 and sampling.temperature == 0:
            raise InputError(
                f"metric '{name}' needs samples that differ, and temperature=0 draws the same one each time: set "
                "--temperature=1"
            )


def first_without(problems: Sequence[Problem], test: Callable[[Problem], bool], lacks: str) -> str:
    """`problem ID has LACKS` for the first problem that fails the test; "" if none does."""
    return next((f"problem {one.id} has {lacks}" for one in problems if not test(one)), "")
