"""Plots of a report: arms with intervals, curves, coverage over k, and the gap between two prefixes.

Each function draws its picture for light and dark pages, wide and narrow, and returns a `report.Figure`. The styles are
in `templates/`; arms differ by colour and by marker. Equal input gives equal bytes.
"""

import importlib.resources
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mtjax.errors import InputError
from mtjax.reporting.intervals import Interval
from mtjax.reporting.report import Figure

MARKERS = "osD^vPX*"  # as many as a style has colours
FEW = 20  # rows of a picture that stand wide apart

WIDTHS = (9.0, 4.2)
"""Inches of a picture for a screen, and of one for a phone."""


class Arm(NamedTuple):
    """One arm of a comparison."""

    label: str
    intervals: Mapping[str, Interval]  # by metric
    seeds: Mapping[str, Sequence[float]] = {}  # by metric, the mean of each training seed
    color: int | None = None  # number of its colour and marker, for rows that belong together; None: one of its own


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

    The mean of the first arm, the baseline, is a dashed line in each panel. Raises InputError for no arms, no metrics,
    or an arm without one of them.
    """
    if not arms or not metrics:
        raise InputError(f"arms_plot needs arms and metrics; got {len(arms)} and {len(metrics)}")
    for arm in arms:
        absent = [metric for metric in metrics if metric not in arm.intervals]
        if absent:
            raise InputError(f"arm '{arm.label}' has no {', '.join(absent)}; it has {', '.join(arm.intervals)}")

    def draw(figure: Any, panels: Any, soft: str) -> None:
        for panel, metric in zip(panels, metrics, strict=True):
            panel.axvline(arms[0].intervals[metric].mean, color=soft, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            for row, arm in enumerate(arms):
                color = row if arm.color is None else arm.color
                _interval(panel, arm.intervals[metric], row, color)
                seeds = arm.seeds.get(metric, ())
                rings = {"marker": "o", "linestyle": "", "markersize": 4.5, "fillstyle": "none"}
                panel.plot(seeds, [row + 0.28] * len(seeds), color=f"C{color}", **rings)
            panel.set(title=metric, xlabel=axis)
            panel.margins(x=0.18)
            panel.locator_params(axis="x", nbins=4)
        _rows(panels[0], arms)

    return _figure(name, caption, 1.25 + (0.5 if len(arms) <= FEW else 0.3) * len(arms), draw, len(metrics))


def panels_plot(
    name: str,
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    x_label: str,
    y_label: str,
    caption: str = "",
    first: int = 0,
    diagonal: bool = False,
    markers: bool = True,
    log2_x: bool = False,
) -> Figure:
    """A panel for each entry, side by side with a common y axis; in each the same arms as lines with their bands.

    `first` is the number of the arm whose colour the first curve gets, so that an arm keeps its colour in a plot
    without the others; `diagonal` draws the line y = x; `markers` marks the points; `log2_x` doubles from tick to tick.
    Raises InputError for no panels or curves, panels of different arms, or x and y of different lengths.
    """
    arms = [list(curves) for curves in panels.values()]
    if not arms or not arms[0] or any(names != arms[0] for names in arms):
        raise InputError(f"panels hold the curves {arms}: expected at least one curve, and the same arms in each panel")
    for label, curve in (entry for curves in panels.values() for entry in curves.items()):
        if len(curve.x) != len(curve.y):
            raise InputError(f"curve '{label}' has {len(curve.x)} x and {len(curve.y)} y: give one y for each x")

    def draw(figure: Any, axes: Any, soft: str) -> None:
        for panel, (title, curves) in zip(axes, panels.items(), strict=True):
            if diagonal:
                panel.plot([0, 1], [0, 1], color=soft, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            for number, (label, curve) in enumerate(curves.items(), start=first):
                color, marker = f"C{number}", MARKERS[number % len(MARKERS)] if markers else None
                again = number >= len(MARKERS)  # the colours begin anew: dashed, with hollow markers
                style: dict[str, Any] = {"marker": marker, "markersize": 5, "linewidth": 1.8}
                style |= {"linestyle": "--", "markerfacecolor": panel.get_facecolor()} if again else {}
                if curve.low is not None and curve.high is not None:
                    panel.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.16, linewidth=0)
                panel.plot(curve.x, curve.y, color=color, label=label, **style)
            if log2_x:
                ticks = sorted({x for curve in curves.values() for x in curve.x})
                panel.set_xscale("log", base=2)
                panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                panel.minorticks_off()
            panel.set(title=title, xlabel=x_label)
        axes[0].set_ylabel(y_label)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=_columns(figure))

    return _figure(name, caption, 4.3, draw, len(panels))


def curves_plot(name: str, curves: Mapping[str, Curve], *, markers: bool = False, **options: Any) -> Figure:
    """`panels_plot` with one panel; for training curves and anything over k."""
    return panels_plot(name, {"": curves}, markers=markers, **options)


def reliability_plot(name: str, arms: Mapping[str, Curve], *, caption: str = "", first: int = 0) -> Figure:
    """Accuracy over confidence in the bins of each arm; the dashed line is perfect calibration."""
    x_label = "confidence: probability of the complete greedy solution"
    return panels_plot(
        name, {"": arms}, x_label=x_label, y_label="share right", caption=caption, first=first, diagonal=True
    )


def coverage_plot(name: str, arms: Mapping[str, Mapping[int, Interval]], *, caption: str = "") -> Figure:
    """pass@k over k, one line per arm with its bootstrap band; k doubles from tick to tick.

    `arms` gives the interval of pass@k for each k, by the name of the arm.
    """
    curves = {}
    for label, points in arms.items():
        mean, low, high = ([getattr(one, end) for one in points.values()] for end in ("mean", "low", "high"))
        curves[label] = Curve(list(points), mean, low, high)
    labels = {"x_label": "samples per problem, k", "y_label": "pass@k"}
    return curves_plot(name, curves, caption=caption, log2_x=True, markers=True, **labels)


def gap_plot(name: str, gaps: Sequence[Gap], *, caption: str = "", axis: str = "pass@1") -> Figure:
    """Accuracy of each arm after the right prefix (filled) and the wrong one (hollow), joined by a line: the gap.

    Raises InputError for no arms.
    """
    if not gaps:
        raise InputError("gap_plot needs at least one arm")

    def draw(figure: Any, panels: Any, soft: str) -> None:
        (axes,) = panels
        for row, gap in enumerate(gaps):
            axes.plot([gap.wrong.mean, gap.right.mean], [row, row], color=soft, alpha=0.3, linewidth=6, zorder=1)
            right = _interval(axes, gap.right, row - 0.09, 1, marker="o")
            wrong = _interval(axes, gap.wrong, row + 0.09, 2, marker="s", markerfacecolor=axes.get_facecolor())
            text, middle = f"{gap.right.mean - gap.wrong.mean:+.3f}", (gap.right.mean + gap.wrong.mean) / 2
            place = {"textcoords": "offset points", "ha": "center"}
            axes.annotate(text, (middle, row), (0, 11), fontsize=9, color=soft, **place)
        _rows(axes, gaps)
        axes.margins(x=0.12)
        axes.set_xlabel(axis)
        figure.legend([right, wrong], ["right prefix", "wrong prefix"], loc="outside upper left", ncols=2)

    return _figure(name, caption, 1.5 + 0.55 * len(gaps), draw)


def _columns(figure: Any) -> int:
    """Columns of a legend that fit above a figure."""
    return 4 if figure.get_figwidth() > WIDTHS[-1] or len(WIDTHS) == 1 else 1


def _rows(axes: Any, rows: Sequence[Arm | Gap]) -> None:
    """Name the rows, from the top down."""
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _interval(axes: Any, interval: Interval, y: float | int, arm: int, marker: str = "", **style: Any) -> Any:
    """A horizontal line from low to high, and a marker at the mean, which is returned."""
    axes.plot([interval.low, interval.high], [y, y], color=f"C{arm}", linewidth=2.2, solid_capstyle="round", zorder=2)
    style |= {"marker": marker or MARKERS[arm % len(MARKERS)], "linestyle": "", "markersize": 8, "color": f"C{arm}"}
    return axes.plot([interval.mean], [y], zorder=3, **style)[0]


def _figure(name: str, caption: str, height: float, draw: Callable[..., None], panels: int = 1) -> Figure:
    """Call `draw(figure, axes of the panels, colour of lines that are no arm)` for both kinds of page, and for both
    widths: side by side for a screen, one below the other for a phone.

    The file has no date and no version, and the user's matplotlibrc is ignored.
    """
    from matplotlib import rcParams, style
    from matplotlib.figure import Figure as Canvas

    styles = importlib.resources.files("mtjax.reporting") / "templates"
    pictures = []
    for width, (rows, columns) in zip(WIDTHS, ((1, panels), (panels, 1)), strict=False):
        for page in ("light", "dark"):
            file = io.BytesIO()
            with style.context([str(styles / f"{part}.mplstyle") for part in ("plot", page)], after_reset=True):
                tall = height if rows == 1 else (height - 0.8) * rows + 0.8
                canvas = Canvas(figsize=(width, tall), dpi=150, layout="constrained")
                axes = canvas.subplots(rows, columns, sharey=True, squeeze=False).ravel()
                draw(canvas, axes, rcParams["axes.edgecolor"])
                canvas.savefig(file, format="png", metadata={"Software": None})
            pictures.append(file.getvalue())
    return Figure(name, pictures[0], pictures[1], caption, *pictures[2:])
