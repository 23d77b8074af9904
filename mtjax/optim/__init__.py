"""Optimizers and schedules, with one registry each."""

from mtjax.optim.optimizer import OptimConfig, describe_schedule, learning_rate_at, make_optimizer, make_schedule
from mtjax.optim.optimizers import OPTIMIZERS
from mtjax.optim.schedules import SCHEDULES

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "OptimConfig",
    "describe_schedule",
    "learning_rate_at",
    "make_optimizer",
    "make_schedule",
]
