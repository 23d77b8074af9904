"""Regularizers, one file each: losses that are added to any objective with a weight."""

from typing import Annotated, Any

from mtjax.objectives.regularizers.base import REGULARIZERS, Regularizer
from mtjax.registry import import_modules

import_modules(__name__)

AnyRegularizer = Annotated[Any, REGULARIZERS]
"""The type of a setting that holds a regularizer."""

__all__ = ["REGULARIZERS", "AnyRegularizer", "Regularizer"]
