"""Pictures that the recipes need besides those of `mtjax.evaluation.plots`: curves in panels, and reliability."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtjax.comparison.calibration import Bin
from mtjax.errors import InputError
from mtjax.evaluation import plots
from mtjax.evaluation.plots import MARKERS, Curve, Theme
from mtjax.evaluation.report import Figure


def panels_plot(
    name: str,
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    x_label: str,
    y_label: str,
    caption: str = "",
    first: int = 0,
    diagonal: bool = False,
) -> Figure:
    """A panel for each entry, side by side with a common y axis; in each the same arms as lines with their bands.

    `first` is the arm that the first curve has its colour from; `diagonal` draws the line y = x. Raises InputError for
    no panels, or panels of different arms.
    """
    arms = list(next(iter(panels.values()), {}))
    if not arms or any(list(curves) != arms for curves in panels.values()):
        raise InputError(f"panels hold {[list(curves) for curves in panels.values()]}: expected the same arms in each")

    def draw(figure: Any, theme: Theme) -> None:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, (title, curves) in zip(axes, panels.items(), strict=True):
            if diagonal:
                panel.plot([0, 1], [0, 1], color=theme.soft, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            for number, curve in enumerate(curves.values(), start=first):
                color, marker = theme.arms[number % len(theme.arms)], MARKERS[number % len(MARKERS)]
                if curve.low is not None and curve.high is not None:
                    panel.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.16, linewidth=0)
                panel.plot(curve.x, curve.y, color=color, marker=marker, markersize=5, linewidth=1.7)
            panel.set_title(title)
            panel.set_xlabel(x_label)
        axes[0].set_ylabel(y_label)
        lines = axes[0].get_lines()[int(diagonal) :]
        figure.legend(lines, arms, loc="outside upper left", ncols=4, frameon=False)

    return plots._figure(name, caption, draw, height=4.4)


def reliability_plot(name: str, arms: Mapping[str, Sequence[Bin]], *, caption: str = "", first: int = 0) -> Figure:
    """Accuracy over confidence of each arm's bins; on the dashed line a model is as right as it is sure."""
    curves = {arm: Curve([b.confidence for b in bins], [b.accuracy for b in bins]) for arm, bins in arms.items()}
    return panels_plot(
        name,
        {"": curves},
        x_label="confidence: probability of the whole greedy solution",
        y_label="share right",
        caption=caption,
        first=first,
        diagonal=True,
    )
