"""Metrics of checked answers: one file for each."""

from mtjax.evaluation.metrics.base import METRICS, Evaluation, Metric, MetricSettings
from mtjax.registry import import_modules

import_modules(__name__)

__all__ = ["METRICS", "Evaluation", "Metric", "MetricSettings"]
