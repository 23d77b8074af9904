"""Averages of the parameters over a run, one file each."""

from mtjax.optim.averages.base import AVERAGES, Average, AverageState, averaged, averages
from mtjax.registry import import_modules

import_modules(__name__)

AnyAverage = AVERAGES.setting(optional=True)
"""The type of a setting that holds an average or None; on the command line `optim.average:ema`."""

__all__ = ["AVERAGES", "AnyAverage", "Average", "AverageState", "averaged", "averages"]
