"""Curves as text, for a terminal."""

import math
from collections.abc import Mapping, Sequence

from mtjax.reporting.plots import Curve

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def terminal_plot(title: str, curves: Mapping[str, Curve], *, width: int = 80, height: int = 12) -> str:
    """Curves over a common scale, each as a letter, with the ends of both axes and a line that names the letters.

    A column shows the mean of the points in it. Where curves meet, the later one is seen. Values that are not finite
    are left out.

    Args:
        width: characters of a line.
        height: lines of the picture.
    """
    points = {name: _finite(curve.x, curve.y) for name, curve in curves.items()}
    drawn = [point for own in points.values() for point in own]
    if not drawn:
        return f"{title}: nothing to draw"
    left, right = min(x for x, _ in drawn), max(x for x, _ in drawn)
    low, high = min(y for _, y in drawn), max(y for _, y in drawn)
    margin = max(len(f"{low:.4g}"), len(f"{high:.4g}")) + 2
    columns = max(width - margin, 10)
    rows = [[" "] * columns for _ in range(height)]
    for number, own in enumerate(points.values()):
        found: dict[int, list[float]] = {}
        for x, y in own:
            found.setdefault(round((x - left) / (right - left or 1) * (columns - 1)), []).append(y)
        for column, values in found.items():
            share = (sum(values) / len(values) - low) / (high - low or 1)
            rows[height - 1 - round(share * (height - 1))][column] = LETTERS[number % len(LETTERS)]
    labels = [f"{high:.4g}", *[""] * (height - 2), f"{low:.4g}"]
    body = [f"{label:>{margin - 2}} |{''.join(row).rstrip()}" for label, row in zip(labels, rows, strict=True)]
    ends = f"{'':{margin - 1}}{left:g}{right:>{columns - len(f'{left:g}')}g}"
    names = [f"{LETTERS[number % len(LETTERS)]} {name}" for number, name in enumerate(points)]
    return "\n".join([title, *body, ends, *names])


def _finite(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    return [point for point in zip(x, y, strict=True) if all(map(math.isfinite, point))]
