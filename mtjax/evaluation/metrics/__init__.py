"""Metrics of an evaluation: one file for each."""

from mtjax.evaluation.metrics.base import (
    DRAWN,
    METRICS,
    SHARED,
    Choice,
    Evaluation,
    Likelihood,
    Metric,
    MetricSettings,
    Need,
)
from mtjax.registry import import_modules

import_modules(__name__)

__all__ = ["DRAWN", "METRICS", "SHARED", "Choice", "Evaluation", "Likelihood", "Metric", "MetricSettings", "Need"]
