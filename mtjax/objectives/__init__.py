"""Objectives: what to minimise. One file each, arithmetic only; `base.py` has what all of them share."""

from mtjax.objectives.base import OBJECTIVES
from mtjax.registry import import_modules

import_modules(__name__)

__all__ = ["OBJECTIVES"]
