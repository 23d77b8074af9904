"""Objectives: what to minimise. One file each, arithmetic only; `base.py` says what all of them share."""

from mtjax.objectives import mistake_tuning, nll
from mtjax.objectives.base import OBJECTIVES

__all__ = ["OBJECTIVES", "mistake_tuning", "nll"]
