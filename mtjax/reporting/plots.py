"""Plots of a report: arms with intervals, curves, coverage over k, and the gap between two prefixes.

Each function draws its picture twice, for light and dark pages, and returns a `report.Figure`. The colours of Okabe and
Ito are distinct with any colour vision, and arms also differ by marker. Equal input gives equal bytes.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.errors import InputError
from mtjax.reporting.intervals import Interval
from mtjax.reporting.report import Figure

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


class Theme(NamedTuple):
    """Colours of one kind of page: background, text, lines, and one colour per arm."""

    page: str
    ink: str
    soft: str
    line: str
    arms: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#1c2126", "#5c6670", "#e3e0da",
    ("#5c6670", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B87F00", "#3A9BD1", "#1c2126"),
)  # fmt: skip
DARK = Theme(
    "#1b1f23", "#e6e4df", "#a0a8b0", "#343a40",
    ("#a0a8b0", "#56B4E9", "#FF8A3D", "#2CC79A", "#E39BC4", "#F0C04A", "#8FD0F5", "#e6e4df"),
)  # fmt: skip


class Arm(NamedTuple):
    """One arm of a comparison: its name, an interval for each metric, and each training seed's own means."""

    label: str
    intervals: Mapping[str, Interval]
    seeds: Mapping[str, Sequence[float]] = {}


class Curve(NamedTuple):
    """A line: `y` over `x`, with a band from `low` to `high` where given."""

    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


class Gap(NamedTuple):
    """Accuracy of one arm after the right and after the wrong prefix."""

    label: str
    right: Interval
    wrong: Interval


def arms_plot(
    name: str, arms: Sequence[Arm], metrics: Sequence[str], *, caption: str = "", axis: str = "share of problems"
) -> Figure:
    """A panel for each metric, with a row for each arm: mean, interval, and a small ring for each seed.

    The mean of the first arm, the baseline, is a dashed line in each panel. Raises InputError for no
    arms, no metrics, or an arm without one of them.
    """
    if not arms or not metrics:
        raise InputError(f"arms_plot needs arms and metrics; got {len(arms)} and {len(metrics)}")
    for arm in arms:
        absent = [metric for metric in metrics if metric not in arm.intervals]
        if absent:
            raise InputError(f"arm '{arm.label}' has no {', '.join(absent)}; it has {', '.join(arm.intervals)}")

    def draw(figure: Any, theme: Theme) -> None:
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for panel, metric in zip(panels, metrics, strict=True):
            panel.axvline(
                arms[0].intervals[metric].mean, color=theme.soft, linewidth=1, linestyle=(0, (4, 3)), zorder=1
            )
            for row, arm in enumerate(arms):
                _interval(panel, arm.intervals[metric], row, row, theme)
                seeds = np.asarray(arm.seeds.get(metric, ()), float)
                panel.plot(
                    seeds, np.full(seeds.shape, row + 0.28), linestyle="", marker="o", markersize=4.5,
                    markerfacecolor="none", markeredgecolor=theme.arms[row % len(theme.arms)],
                )  # fmt: skip
            panel.set_title(metric)
            panel.set_xlabel(axis)
            panel.margins(x=0.18)
            panel.locator_params(axis="x", nbins=4)
        panels[0].set_yticks(range(len(arms)), [arm.label for arm in arms])
        panels[0].set_ylim(len(arms) - 0.4, -0.6)

    return _figure(name, caption, draw, height=1.25 + 0.5 * len(arms))


def curves_plot(
    name: str,
    curves: Mapping[str, Curve],
    *,
    x_label: str,
    y_label: str,
    caption: str = "",
    log2_x: bool = False,
    markers: bool = False,
    first: int = 0,
) -> Figure:
    """Lines over a common axis, with bands; for training curves and anything over k.

    `log2_x` doubles from tick to tick; `markers` marks the points; `first` is the number of the arm whose colour the
    first curve gets, so that an arm keeps its colour in a plot without the others. Raises InputError for no curves or
    for x and y of different lengths.
    """
    if not curves:
        raise InputError("curves_plot needs at least one curve")
    for label, curve in curves.items():
        if len(curve.x) != len(curve.y):
            raise InputError(f"curve '{label}' has {len(curve.x)} x and {len(curve.y)} y: give one y for each x")

    def draw(figure: Any, theme: Theme) -> None:
        axes = figure.subplots()
        _lines(axes, curves, theme, first, markersize=6 * markers, linewidth=1.8)
        if log2_x:
            ticks = sorted({x for curve in curves.values() for x in curve.x})
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(curves) > 1:
            figure.legend(loc="outside upper left", ncols=3, frameon=False)

    return _figure(name, caption, draw, height=4.2)


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

    `first` is the number of the arm whose colour the first curve gets; `diagonal` draws the line y = x. Raises
    InputError for no panels, or panels of different arms.
    """
    arms = list(next(iter(panels.values()), {}))
    if not arms or any(list(curves) != arms for curves in panels.values()):
        raise InputError(f"panels hold {[list(curves) for curves in panels.values()]}: expected the same arms in each")

    def draw(figure: Any, theme: Theme) -> None:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, (title, curves) in zip(axes, panels.items(), strict=True):
            if diagonal:
                panel.plot([0, 1], [0, 1], color=theme.soft, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            _lines(panel, curves, theme, first, markersize=5, linewidth=1.7)
            panel.set_title(title)
            panel.set_xlabel(x_label)
        axes[0].set_ylabel(y_label)
        lines = axes[0].get_lines()[int(diagonal) :]
        figure.legend(lines, arms, loc="outside upper left", ncols=4, frameon=False)

    return _figure(name, caption, draw, height=4.4)


def reliability_plot(name: str, arms: Mapping[str, Curve], *, caption: str = "", first: int = 0) -> Figure:
    """Accuracy over confidence in the bins of each arm; the dashed line is perfect calibration."""
    return panels_plot(
        name,
        {"": arms},
        x_label="confidence: probability of the whole greedy solution",
        y_label="share right",
        caption=caption,
        first=first,
        diagonal=True,
    )


def interval_curve(points: Mapping[int, Interval]) -> Curve:
    """The means over `x`, with the intervals as band."""
    column = lambda name: [getattr(interval, name) for interval in points.values()]
    return Curve(list(points), column("mean"), column("low"), column("high"))


def coverage_plot(name: str, arms: Mapping[str, Mapping[int, Interval]], *, caption: str = "") -> Figure:
    """pass@k over k, one line per arm with its bootstrap band; k doubles from tick to tick.

    `arms` gives the interval of pass@k for each k, by the name of the arm.
    """
    curves = {label: interval_curve(points) for label, points in arms.items()}
    return curves_plot(
        name, curves, x_label="samples per problem, k", y_label="pass@k", caption=caption, log2_x=True, markers=True
    )


def gap_plot(name: str, gaps: Sequence[Gap], *, caption: str = "", axis: str = "pass@1") -> Figure:
    """Accuracy of each arm after the right prefix (filled) and the wrong one (hollow), joined by a line: the gap.

    Raises InputError for no arms.
    """
    if not gaps:
        raise InputError("gap_plot needs at least one arm")

    def draw(figure: Any, theme: Theme) -> None:
        from matplotlib.lines import Line2D

        axes = figure.subplots()
        for row, gap in enumerate(gaps):
            axes.plot([gap.wrong.mean, gap.right.mean], [row, row], color=theme.soft, alpha=0.3, linewidth=6, zorder=1)
            _interval(axes, gap.right, row - 0.09, 1, theme, marker="o")
            _interval(axes, gap.wrong, row + 0.09, 2, theme, marker="s", hollow=True)
            middle = (gap.right.mean + gap.wrong.mean) / 2
            axes.annotate(
                f"{gap.right.mean - gap.wrong.mean:+.3f}", (middle, row), (0, 11), textcoords="offset points",
                ha="center", fontsize=9, color=theme.soft,
            )  # fmt: skip
        axes.set_yticks(range(len(gaps)), [gap.label for gap in gaps])
        axes.set_ylim(len(gaps) - 0.5, -0.6)
        axes.margins(x=0.12)
        axes.set_xlabel(axis)
        key = [
            Line2D([], [], color=theme.arms[1], marker="o", label="right prefix"),
            Line2D([], [], color=theme.arms[2], marker="s", markerfacecolor=theme.page, label="wrong prefix"),
        ]
        figure.legend(handles=key, loc="outside upper left", ncols=2, frameon=False)

    return _figure(name, caption, draw, height=1.5 + 0.55 * len(gaps))


def _lines(axes: Any, curves: Mapping[str, Curve], theme: Theme, first: int, *, markersize: int, **style: Any) -> None:
    """The curves with their bands, in the colours and markers of the arms from `first` on."""
    for number, (label, curve) in enumerate(curves.items(), start=first):
        color = theme.arms[number % len(theme.arms)]
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.16, linewidth=0)
        marker = MARKERS[number % len(MARKERS)] if markersize else None
        axes.plot(curve.x, curve.y, color=color, label=label, marker=marker, markersize=markersize, **style)


def _interval(
    axes: Any, interval: Interval, y: float | int, arm: int, theme: Theme, *, marker: str = "", hollow: bool = False
) -> None:
    """A horizontal line from low to high, and a marker at the mean."""
    color = theme.arms[arm % len(theme.arms)]
    marker = marker or MARKERS[arm % len(MARKERS)]
    axes.plot([interval.low, interval.high], [y, y], color=color, linewidth=2.2, solid_capstyle="round", zorder=2)
    face = theme.page if hollow else color
    axes.plot([interval.mean], [y], marker=marker, markersize=8, color=color, markerfacecolor=face, zorder=3)


def _figure(name: str, caption: str, draw: Callable[[Any, Theme], None], *, height: float) -> Figure:
    return Figure(name, _png(draw, LIGHT, height), _png(draw, DARK, height), caption)


def _png(draw: Callable[[Any, Theme], None], theme: Theme, height: float) -> bytes:
    """Draw on a new figure, 9 inches wide; the file has no date and no version."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    style: Any = {
        "figure.facecolor": theme.page, "axes.facecolor": theme.page, "savefig.facecolor": theme.page,
        "font.family": "DejaVu Sans", "font.size": 10.5, "text.color": theme.ink,
        "axes.labelcolor": theme.ink, "axes.titlecolor": theme.ink, "axes.titlesize": 11.5, "axes.titleweight": "bold",
        "axes.edgecolor": theme.soft, "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
        "axes.grid": True, "axes.axisbelow": True, "grid.color": theme.line, "grid.linewidth": 0.8,
        "xtick.color": theme.soft, "xtick.labelcolor": theme.ink, "ytick.color": theme.soft,
        "ytick.labelcolor": theme.ink, "ytick.left": False, "axes.xmargin": 0.03, "axes.ymargin": 0.08,
    }  # fmt: skip
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's matplotlibrc must not change the bytes
        matplotlib.rcParams.update(style)
        figure = Canvas(figsize=(9, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, theme)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
