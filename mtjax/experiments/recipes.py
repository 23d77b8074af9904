"""Which function carries out which recipe."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from mtjax.experiments import compare, compare_report, coverage, coverage_report, demo, demo_report
from mtjax.experiments.config import Comparison, Coverage, Demo

SAY = functools.partial(print, flush=True)
"""Progress lines reach a log file as they are made."""

RECIPES: dict[type, Callable[[Any], pathlib.Path]] = {
    Comparison: lambda c: compare_report.write(c, compare.run(c, SAY)),
    Coverage: lambda c: coverage_report.write(c, coverage.run(c, SAY)),
    Demo: lambda c: demo_report.write(c, demo.run(c, SAY)),
}
"""Settings to what makes a report of them and returns its path."""
