"""Ways to make one model of several, one file each."""

from mtjax.model.merging.base import LOSS, MERGES, Given, Measure, Merge, Merged, Point, barriers, mean_of, mixed
from mtjax.registry import import_modules

import_modules(__name__)

__all__ = ["LOSS", "MERGES", "Given", "Measure", "Merge", "Merged", "Point", "barriers", "mean_of", "mixed"]
