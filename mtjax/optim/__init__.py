"""Optimizers and schedules."""

from mtjax.optim.optimizer import OptimConfig, make_optimizer

__all__ = ["OptimConfig", "make_optimizer"]
