"""Trackers: where else the metrics of a run go, one file for each."""

from mtjax.registry import import_modules
from mtjax.training.trackers.base import TRACKERS, Sink, Tracked, Tracker

import_modules(__name__)

AnyTracker = TRACKERS.setting(optional=True)
"""The type of a setting that holds a tracker or None; on the command line `tracker:wandb`."""

__all__ = ["TRACKERS", "AnyTracker", "Sink", "Tracked", "Tracker"]
