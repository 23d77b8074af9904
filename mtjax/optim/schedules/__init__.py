"""Learning-rate schedules: one file for each, except for the three standard ones."""

from mtjax.optim.schedules.base import SCHEDULES, Schedule
from mtjax.optim.schedules.standard import Constant, Cosine, Linear
from mtjax.registry import import_modules

import_modules(__name__)

AnySchedule = SCHEDULES.setting()
"""The type of a setting that holds a schedule; on the command line `optim.schedule:linear`."""

__all__ = ["SCHEDULES", "AnySchedule", "Constant", "Cosine", "Linear", "Schedule"]
