"""Regularizers, one file each: losses that are added to any objective with a weight."""

from mtjax.objectives.regularizers.base import REGULARIZERS, Regularizer, with_regularizers
from mtjax.registry import import_modules

import_modules(__name__)

AnyRegularizer = REGULARIZERS.setting()
"""The type of a setting that holds a regularizer."""

__all__ = ["REGULARIZERS", "AnyRegularizer", "Regularizer", "with_regularizers"]
