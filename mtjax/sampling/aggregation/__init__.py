"""Aggregation: how one answer is chosen among the answers of many samples, one file for each method."""

from mtjax.registry import import_modules
from mtjax.sampling.aggregation.base import AGGREGATIONS, Aggregation, best

import_modules(__name__)

__all__ = ["AGGREGATIONS", "Aggregation", "best"]
