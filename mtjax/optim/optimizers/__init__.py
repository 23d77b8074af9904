"""Optimizers, one file each."""

from mtjax.optim.optimizers.adamw import AdamW
from mtjax.optim.optimizers.base import OPTIMIZERS, Optimizer
from mtjax.registry import import_modules

import_modules(__name__)

AnyOptimizer = OPTIMIZERS.setting()
"""The type of a setting that holds an optimizer; on the command line `optim.optimizer:lion`."""

__all__ = ["OPTIMIZERS", "AdamW", "AnyOptimizer", "Optimizer"]
