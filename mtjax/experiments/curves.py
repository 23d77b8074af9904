"""Finished or running training runs side by side: curves, settings that differ, results with intervals."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax import config as settings
from mtjax.errors import InputError, suggest
from mtjax.reporting.intervals import Interval, seeds_interval
from mtjax.reporting.plots import Curve, curves_plot
from mtjax.reporting.report import Cell, Report, Section, Table
from mtjax.training.alarms import read_log

SHOWN = ("loss", "held_out_loss", "held_out/reward_accuracy", "coverage/pass@", "learning_rate", "grad_norm")
"""How the names of the metrics begin that are drawn by default, where a run has them."""

OF_THE_PLACE = ("run_dir", "export", "overwrite", "log_every", "tensorboard", "tracker", "checkpoint", "self_check")
"""How the names of settings begin that say where and how a run is kept, not what it does."""


class RunLog(NamedTuple):
    """What a run folder says of its training."""

    name: str  # short, and of no other run in the comparison
    folder: pathlib.Path
    settings: dict[str, str]  # every setting by its dotted name
    lines: list[dict[str, Any]]  # of metrics.jsonl
    evaluation: dict[str, Interval]  # numbers of `mtjax.evaluate`, where it has run

    def curve(self, metric: str, x: str = "step", smooth: int = 1) -> Curve | None:
        """A metric over another, each value the mean of the last `smooth` ones; None where the run has none."""
        found = [(line[x], line[metric]) for line in self.lines if x in line and metric in line]
        if not found:
            return None
        over, values = zip(*found, strict=True)
        means = [float(np.mean(values[max(n + 1 - smooth, 0) : n + 1])) for n in range(len(values))]
        return Curve(over, means)


def read_runs(folders: Sequence[str]) -> list[RunLog]:
    """The runs in these folders; InputError for one that is not a run, is given twice, or has no metrics yet."""
    places = [pathlib.Path(folder).expanduser() for folder in folders]
    for number, place in enumerate(places):
        if place.resolve() in [other.resolve() for other in places[:number]]:
            raise InputError(f"{place} is given twice; name each run once")
    runs = []
    for place, name in zip(places, short_names(places), strict=True):
        flat = settings.flatten(settings.read_run(place))
        lines = read_log(place)
        if not lines:
            raise InputError(f"{place} has no lines in metrics.jsonl yet; train it first")
        runs.append(RunLog(name, place, flat, lines, _evaluation(place / "evaluation" / "evaluation.json")))
    return runs


def short_names(places: Sequence[pathlib.Path]) -> list[str]:
    """The last part of each path, or as many of the last ones as it takes to tell them apart."""
    parts = [place.resolve().parts for place in places]
    for count in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def _evaluation(file: pathlib.Path) -> dict[str, Interval]:
    """The numbers of an evaluation, `metric (prompt)` where there are prefixes."""
    if not file.is_file():
        return {}
    prompts = json.loads(file.read_text(encoding="utf-8")).get("metrics", {})
    many = len(prompts) > 1
    return {
        f"{name} ({prompt})" if many else name: Interval(**values)
        for prompt, numbers in prompts.items()
        for name, values in numbers.items()
    }


def chosen(runs: Sequence[RunLog], names: Sequence[str]) -> list[str]:
    """The metrics to draw; InputError for one that no run has."""
    known = list(dict.fromkeys(name for run in runs for line in run.lines for name in line if name != "step"))
    for name in names:
        if name not in known:
            raise InputError(f"no run has the metric '{name}'; {suggest(name, known)}")
    return list(names) or [name for start in SHOWN for name in known if name == start or _begins(name, start)]


def _begins(name: str, start: str) -> bool:
    return start.endswith("@") and name.startswith(start) and not name.endswith("_error")


def differing(runs: Sequence[RunLog]) -> dict[str, list[str]]:
    """The settings that are not the same in all runs, with the value of each run; "" where it has no such setting."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name, "") for run in runs] for name in names}
    if values.get("optim.schedule_steps") == values.get("steps"):
        values.pop("optim.schedule_steps", None)  # settled by the run itself
    return {
        name: own for name, own in values.items() if len(set(own)) > 1 and name.partition(".")[0] not in OF_THE_PLACE
    }


def results(run: RunLog) -> dict[str, Cell]:
    """The numbers that a run ended with: the loss as the mean of its last tenth, others as last measured."""
    loss = [line["loss"] for line in run.lines if "loss" in line]
    found: dict[str, Cell] = {"last step": int(run.lines[-1]["step"])}
    if loss:
        found["loss"] = float(np.mean(loss[-max(len(loss) // 10, 1) :]))
    for name in chosen([run], ()):
        if name not in ("loss", "learning_rate", "grad_norm") and (curve := run.curve(name)):
            found[name] = float(curve.y[-1])
    return found | dict(run.evaluation)


def by_seed(runs: Sequence[RunLog]) -> dict[tuple[str, ...], list[RunLog]]:
    """The runs whose settings differ in the seed alone, by the values of the other settings that differ."""
    groups: dict[tuple[str, ...], list[RunLog]] = {}
    names = [name for name in differing(runs) if name != "seed"]
    for run in runs:
        groups.setdefault(tuple(run.settings.get(name, "") for name in names), []).append(run)
    return groups


def tables(runs: Sequence[RunLog], level: float = 0.95) -> list[Table]:
    """Each run with the settings that differ and its results; with several seeds also the means over these."""
    values = differing(runs)
    own = [results(run) for run in runs]
    metrics = list(dict.fromkeys(name for found in own for name in found))
    rows = [
        [run.name, *(value[n] for value in values.values()), *(own[n].get(name) for name in metrics)]
        for n, run in enumerate(runs)
    ]
    caption = "Settings that differ, and results. `loss` is the mean of the last tenth of the lines; brackets are the "
    caption += "bootstrap intervals of `mtjax.evaluate` over problems."
    found = [Table(["run", *values, *metrics], rows, caption)]
    groups = by_seed(runs)
    if max(map(len, groups.values())) > 1:
        names = [name for name in values if name != "seed"]
        numbers = {run.name: mine for run, mine in zip(runs, own, strict=True)}
        lines = []
        for key, group in groups.items():
            cells = [_over_seeds([numbers[run.name].get(name) for run in group], level) for name in metrics[1:]]
            lines.append([*key, str(len(group)), *cells])
        caption = f"Means over seeds, with the {level:.0%} interval of Student's t distribution."
        found.append(Table([*names, "seeds", *metrics[1:]], lines, caption))
    return found


def _over_seeds(cells: Sequence[Cell], level: float) -> Cell:
    values = [cell.mean if isinstance(cell, Interval) else cell for cell in cells]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if len(numbers) < 2:
        return numbers[0] if numbers else None
    return seeds_interval(numbers, level=level)


def report(runs: Sequence[RunLog], metrics: Sequence[str] = (), *, level: float = 0.95, **options: Any) -> Report:
    """The tables and a figure for each metric, with the options of `curves_of`."""
    sections = [Section("Runs", tables=tuple(tables(runs, level)))]
    for name, curves in curves_of(runs, metrics, **options).items():
        over, smooth = options.get("x", "step"), options.get("smooth", 1)
        caption = f"`{name}` over `{over}`" + (f", each value the mean of {smooth} lines" if smooth > 1 else "")
        if any(curve.low for curve in curves.values()):
            caption += ". Bands reach from the lowest to the highest seed"
        file = name.replace("/", "-").replace("@", "-at-")
        picture = curves_plot(file, curves, x_label=over, y_label=name, caption=f"{caption}.")
        sections.append(Section(name, figures=(picture,)))
    return Report(" and ".join(run.name for run in runs) if len(runs) < 4 else f"{len(runs)} runs", sections)


def curves_of(
    runs: Sequence[RunLog], metrics: Sequence[str] = (), *, x: str = "step", smooth: int = 1, each: bool = False
) -> dict[str, dict[str, Curve]]:
    """The curves of each metric: of each run, or of each group of `by_seed` where there are several seeds.

    A group is its mean, with a band from its lowest to its highest run, over the values of `x` that all of it have. A
    run without a metric that others have is an empty curve, so that each keeps its colour.

    Args:
        each: draw each run also where there are several seeds.

    Raises:
        InputError: no run has a metric, or `x`.
    """
    chosen(runs, [] if x == "step" else [x])
    groups, found = by_seed(runs), dict[str, dict[str, Curve]]()
    names = [setting for setting in differing(runs) if setting != "seed"]
    for name in chosen(runs, metrics):
        curves = {run.name: run.curve(name, x, smooth) or Curve((), ()) for run in runs}
        if max(map(len, groups.values())) > 1 and not each:
            curves = {
                ", ".join(map("{}={}".format, names, key)) or f"{len(own)} seeds": _mean(
                    [curves[run.name] for run in own]
                )
                for key, own in groups.items()
            }
        if any(curve.x for curve in curves.values()):
            found[name] = curves
    return found


def _mean(curves: Sequence[Curve]) -> Curve:
    by_x = [dict(zip(curve.x, curve.y, strict=True)) for curve in curves]
    common = [x for x in by_x[0] if all(x in own for own in by_x)]
    values = np.array([[own[x] for x in common] for own in by_x])
    if len(curves) == 1 or not common:
        return Curve(common, values[0].tolist() if common else [])
    return Curve(common, values.mean(0).tolist(), values.min(0).tolist(), values.max(0).tolist())
