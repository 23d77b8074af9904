"""The training runs of an experiment as configs, and what they cost."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tokenizer import Tokenizer
from mtjax.experiments.config import Setup
from mtjax.experiments.experiment import PLAIN, Method
from mtjax.objectives.nll import Nll
from mtjax.training.fitting import AUTO
from mtjax.types import Batch

CHUNK = 1024  # positions whose logits exist at a time: 33 symbols take little room


def start_config(c: Setup, seed: int) -> Config:
    """The training run of the start model; every arm is a change of it."""
    new = c.init_from is None
    return Config(
        model=c.model,
        init_from=c.init_from,
        # A degenerate solution of the model may begin with a symbol that merges with the end of the prompt.
        data=DataConfig(
            source=c.start_source, task=PLAIN, tokenizer="arithmetic" if new else None, boundary="allow",
            sequence_length=c.sequence_length, max_segments=c.max_segments,
        ),
        objective=Nll(),
        optim=dataclasses.replace(c.optim, schedule_steps=c.optim.schedule_steps or c.start_steps),
        checkpoint=CheckpointConfig(every=c.start_steps, keep=1),
        steps=c.start_steps,
        batch_size=c.start_batch_size or c.batch_size,
        seed=seed,
        run_dir=f"{c.output}/train/start-{seed}",
        tensorboard=False,
        self_check=False,
        chunk=CHUNK if new else AUTO,
    )  # fmt: skip


def arm_config(
    c: Setup, place: str, method: Method, problems: Sequence[Problem], seed: int, rate: float | None, steps: int
) -> Config:
    """The training run of an arm: the start's config with the arm's method, data, learning rate and length.

    A pair has two rows, so a batch holds half as many pairs. `rate` None takes that of `arm_optim`.
    """
    base = start_config(c, seed)
    optim = c.arm_optim if rate is None else dataclasses.replace(c.arm_optim, learning_rate=rate)
    source = InMemory(tuple(method.problems(problems)))
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, source=source, task=method.task),
        objective=method.objective,
        optim=dataclasses.replace(optim, schedule_steps=optim.schedule_steps or steps),
        checkpoint=CheckpointConfig(every=steps, keep=1),
        steps=steps,
        batch_size=c.batch_size // method.task.sides,
        run_dir=f"{c.output}/train/{place}",
    )


def cost_of(config: Config, tokenizer: Tokenizer, right_tokens: float | None = None) -> dict[str, int | float]:
    """Updates, forward positions, target tokens and examples of a training run.

    Batches depend on the config alone, so nothing is trained here. With `right_tokens`, the count ends at the first
    step that has seen this many target tokens of right texts.
    """
    batches = make_batches(config.data, tokenizer, batch_size=config.batch_size, seed=config.seed)
    updates, positions, examples, targets, right = 0, 0, 0, 0.0, 0.0
    while updates < config.steps and (right_tokens is None or right < right_tokens):
        batch = batches.batch_at(updates)
        counted = count_targets(batch)
        updates, positions = updates + 1, positions + batch.tokens.size
        targets, right = targets + counted[0], right + counted[1]
        examples += int((batch.extras["segment_id"] >= 0).sum()) // config.data.task.sides
    objective: Any = config.objective
    return {
        "updates": updates,
        "positions": positions,
        "reference_positions": positions if objective.needs_reference else 0,
        "target_tokens": targets,
        "right_tokens": right,
        "examples": examples,
    }


def count_targets(batch: Batch) -> tuple[float, float]:
    """Summed weights of all targets, and of those of right texts (`segment_polarity` 1; in pairs the chosen row)."""
    polarity = np.take_along_axis(batch.extras["segment_polarity"], np.maximum(batch.segments - 1, 0), -1)
    weights = batch.weights * (batch.segments > 0)
    return float(weights.sum()), float((weights * polarity).sum())


def look_steps(steps: int, looks: int) -> list[int]:
    """The steps after which to measure, evenly spaced, the last one included.

    >>> look_steps(10, 4)
    [2, 5, 7, 10]
    """
    return sorted({steps * look // looks for look in range(1, looks + 1)} - {0})
