"""Objectives: what to minimise. One file each, arithmetic only; `base.py` and `sequences.py` have what they share.

Losses that are added to any objective are in `regularizers/`.
"""

from mtjax.objectives.base import OBJECTIVES
from mtjax.objectives.regularizers import REGULARIZERS, with_regularizers
from mtjax.registry import import_modules

import_modules(__name__)

__all__ = ["OBJECTIVES", "REGULARIZERS", "with_regularizers"]
