"""Optimizers and schedules."""

from mtjax.optim.optimizer import OptimConfig, make_optimizer, make_schedule

__all__ = ["OptimConfig", "make_optimizer", "make_schedule"]
