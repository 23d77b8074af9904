"""What an arm trains on, counted from its batches, and the steps after which it is measured."""

from typing import Any

import numpy as np

from mtjax.config import Config
from mtjax.data.batches import make_batches
from mtjax.data.tokenizer import Tokenizer
from mtjax.types import Batch


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
