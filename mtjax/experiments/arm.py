"""One arm, trained and measured, as a record."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from mtjax.data.problem import Problem
from mtjax.experiments.kept import Record
from mtjax.experiments.lab import Lab
from mtjax.experiments.training import Method, Trained, train
from mtjax.types import Params


class Arm(NamedTuple):
    """One method with one seed, from the start on some problems; learning rate and updates are those of the setup,
    unless given."""

    lab: Lab
    start: Params
    method: Method
    problems: Sequence[Problem]
    seed: int
    rate: float | None = None
    steps: int | None = None

    def record(self, problems: Sequence[Problem], samples: int, *, looks: int = 1, full: bool = True) -> Record:
        """Train; count what is right of `samples` solutions of each problem at `looks` steps, the last included.

        With `full`, everything is measured at the end, behind each of the method's prefixes.
        """
        lab, task, own = self.lab, self.method.task, self.method.polarities
        steps = lab.c.arm_steps if self.steps is None else self.steps
        begun, looking = time.perf_counter(), 0.0

        def look(params: Params) -> list[int]:
            nonlocal looking
            since = time.perf_counter()
            right = lab.rights(params, problems, task, samples, own[0]).sum(axis=1).tolist()
            looking += time.perf_counter() - since
            return right

        done = train(
            *(lab, self.start, self.method, self.problems),
            seed=self.seed,
            rate=self.rate,
            steps=steps,
            at=look_steps(steps, looks)[:-1],
            look=look,
        )
        trained = time.perf_counter() - begun - looking
        since = time.perf_counter()
        behind = [lab.measure(done.params, problems, task, samples, one) for one in own] if full else []
        measuring = time.perf_counter() - since
        end = behind[0].right.sum(axis=1).tolist() if behind else look(done.params)
        return Record(
            curve=done.looks | {steps: end},
            samples=samples,
            measured=behind[0] if behind else None,
            behind_wrong=behind[1] if behind[1:] else None,
            losses=done.losses,
            cost=cost_of(done),
            seconds={"train": trained, "measure": looking + measuring},
        )


def look_steps(steps: int, looks: int) -> list[int]:
    """The steps after which to look, evenly spread, the last included.

    >>> look_steps(10, 4)
    [2, 5, 7, 10]
    """
    return sorted({steps * look // looks for look in range(1, looks + 1)} - {0})


def cost_of(done: Trained) -> dict[str, int | float]:
    """What training an arm cost, as counted."""
    return {
        "updates": len(done.losses),
        "positions": done.positions,
        "reference_positions": done.reference_positions,
        "target_tokens": done.target_tokens,
        "right_tokens": done.right_tokens,
        "examples": done.examples,
    }
