"""Metrics of an evaluation: one file for each."""

from mtjax.evaluation.metrics.base import METRICS, SHARED, Evaluation, Likelihood, Metric, MetricSettings, Need
from mtjax.registry import import_modules

import_modules(__name__)

__all__ = ["METRICS", "SHARED", "Evaluation", "Likelihood", "Metric", "MetricSettings", "Need"]
