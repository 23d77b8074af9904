"""Which function carries out which recipe."""

import pathlib
from collections.abc import Callable
from typing import Any

from mtjax.comparison import demo, demo_report
from mtjax.comparison.settings import Demo


def _demo(c: Demo) -> pathlib.Path:
    return demo_report.write(c, demo.run(c))


RECIPES: dict[type, Callable[[Any], pathlib.Path]] = {Demo: _demo}
"""Settings to what makes a report of them and returns its path."""
