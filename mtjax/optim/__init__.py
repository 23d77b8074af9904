"""Optimizers and schedules, with one registry each."""

from mtjax.optim.optimizer import OptimConfig, make_optimizer, make_schedule
from mtjax.optim.optimizers import OPTIMIZERS
from mtjax.optim.schedules import SCHEDULES

__all__ = ["OPTIMIZERS", "SCHEDULES", "OptimConfig", "make_optimizer", "make_schedule"]
