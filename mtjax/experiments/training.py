"""One arm: a method that goes on from the start model, its budget counted."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import Task
from mtjax.experiments.lab import Lab
from mtjax.objectives.base import OBJECTIVES
from mtjax.training.step import init_state
from mtjax.types import Batch, Objective, Params


class Method(NamedTuple):
    """One way to go on from the start.

    Attributes:
        task: how problems become text.
        objective: what is minimised.
        problems: which of the problems at hand, and what of them.
        polarities: the prefixes to decode behind, the method's own first; None where there is none.
        says: what it is, in a sentence of the report.
    """

    task: Task
    objective: Objective
    problems: Callable[[Sequence[Problem]], Sequence[Problem]]
    polarities: tuple[bool | None, ...] = (None,)
    says: str = ""

    @property
    def objective_name(self) -> str:
        """The objective with its settings, such as `rise(beta=0.4, ...)`."""
        name = next(name for name, cls in OBJECTIVES.items() if type(self.objective) is cls)
        settings = dataclasses.asdict(self.objective)  # type: ignore[call-overload]
        return f"{name}({', '.join(f'{key}={value}' for key, value in settings.items())})"


class Trained(NamedTuple):
    """What training one arm gave and cost.

    Attributes:
        params: at the end.
        losses: of each step, in the objective's own unit.
        positions: forward positions of the policy, padding included.
        reference_positions: forward positions of the reference besides.
        target_tokens: targets, of right and wrong texts.
        right_tokens: targets of right texts alone.
        examples: packed examples seen; a pair is one.
        looks: what `look` gave, by step.
    """

    params: Params
    losses: list[float]
    positions: int
    reference_positions: int
    target_tokens: float
    right_tokens: float
    examples: int
    looks: dict[int, Any]


def count_targets(batch: Batch) -> tuple[float, float]:
    """Summed weights of all targets, and of those of right texts (`segment_polarity` 1; in pairs the chosen row)."""
    polarity = np.take_along_axis(batch.extras["segment_polarity"], np.maximum(batch.segments - 1, 0), -1)
    weights = batch.weights * (batch.segments > 0)
    return float(weights.sum()), float((weights * polarity).sum())


def train(
    lab: Lab,
    start: Params,
    method: Method,
    problems: Sequence[Problem],
    *,
    seed: int,
    rate: float | None = None,
    steps: int | None = None,
    right_tokens: float | None = None,
    at: Sequence[int] = (),
    look: Callable[[Params], Any] | None = None,
) -> Trained:
    """Go on from the start by one method, with fresh moments; the start is the reference where one is needed.

    Args:
        seed: of the order of the data.
        rate: learning rate; None takes that of `arm_optim`.
        steps: updates; None takes `arm_steps`.
        right_tokens: stop at the first step that has seen so many targets of right texts.
        at: steps after which to `look` at the parameters.
    """
    steps = lab.c.arm_steps if steps is None else steps
    config = lab.c.arm_optim if rate is None else dataclasses.replace(lab.c.arm_optim, learning_rate=rate)
    batches = lab.data(InMemory(tuple(method.problems(problems))), method.task, seed)
    state = init_state(lab.model, lab.optimizer(config, steps), jax.random.key(0), params=start)
    step, reference = lab.step(method.objective, config, steps), start if method.objective.needs_reference else None
    losses, looks = [], {}
    positions, examples, targets, right = 0, 0, 0.0, 0.0
    for number in range(1, steps + 1):
        batch = batches.batch_at(number - 1)
        counted = count_targets(batch)
        positions, targets, right = positions + batch.tokens.size, targets + counted[0], right + counted[1]
        examples += int((batch.extras["segment_id"] >= 0).sum()) // method.task.sides
        state, metrics = step(state, batch, jax.random.key(0), reference)
        losses.append(metrics["loss"])
        if look is not None and number in at:
            looks[number] = look(state.params)
        if right_tokens is not None and right >= right_tokens:
            break
    twice = positions if method.objective.needs_reference else 0
    lost = [float(loss) for loss in losses]
    return Trained(state.params, lost, positions, twice, targets, right, examples, looks)
