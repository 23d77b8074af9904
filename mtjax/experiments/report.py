"""The report of an experiment: tables on the terminal, one page with plots, and its numbers in `results.json`."""

import json
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mtjax.evaluation.metrics.calibration import calibration_error, reliability
from mtjax.evaluation.transitions import RIGHT, transitions
from mtjax.experiments.about import made_by, one_mistake, terms
from mtjax.experiments.experiment import START
from mtjax.experiments.findings import Arms, Findings, coverage_verdict, prefix_text
from mtjax.experiments.results import Measured
from mtjax.io.files import write_text
from mtjax.registry import plain_settings
from mtjax.reporting import plots
from mtjax.reporting.intervals import difference_interval, mean_interval
from mtjax.reporting.markdown import markdown_of
from mtjax.reporting.report import Cell, Report, Section, Table, format_table, section, write_report

Found = tuple[Section, dict[str, Any]]
"""A section of the page, and its numbers for `results.json`."""

ON_TERMINAL = ("arms", "curves", "small", "cost")
"""Sections whose tables are printed, in this order; then the verdict."""

OVER_STEPS: dict[str, Any] = {"x_label": "step", "y_label": "share of problems", "first": 1}

CAPTION = "Mean over seeds and problems, with 95 % bootstrap intervals over problems."


def write(f: Findings, command: str = "") -> pathlib.Path:
    """Print the main tables; write the page, its pictures, `report.md` and `results.json`; return the page's path.

    The page says that `command` made it, where that is given.
    """
    found = {name: SECTIONS[name](f) for name in f.e.sections}
    printed = [found[name][0] for name in ON_TERMINAL if name in found]
    print("", *(format_table(table) for part in printed for table in part.tables), f.verdict, sep="\n\n")
    mistake = one_mistake(f.outcome.mined.problems) if f.outcome.mined else None
    sections = [part for part, _ in found.values()]
    sections = [sections[0], terms(), *([mistake] if mistake else []), *sections[1:]]
    sections += [made_by(command)] if command else []
    folder, report = pathlib.Path(f.c.output), Report(f.e.title, sections, f.verdict)
    page = write_report(report, folder)
    write_text(folder / "report.md", markdown_of(report, f.e.pictures))
    begins, arms = f.outcome.begins, f.outcome.arms
    numbers: dict[str, Any] = {
        "settings": plain_settings(f.c),
        "methods": {name: method.objective_name for name, method in f.e.methods.items()},
        "start_steps": [begin.steps for begin in begins] if f.e.own_starts else begins[0].steps,
        "verdict": f.verdict,
        "cost": {name: records[0].cost for name, records in arms.trained.items()},
        "seconds": f.outcome.seconds,
    }
    for _, own in found.values():
        numbers |= own
    write_text(folder / "results.json", json.dumps(numbers, indent=1))
    return page


def _arms(f: Findings) -> Found:
    arms, k, rates = f.outcome.arms, f.k, f.outcome.rates
    first, last = f.gains(1), f.gains(k)
    rows: list[list[Cell]] = []
    ends, seeds = {}, {}
    for name, by_k in f.coverage.items():
        solved = {"pass@1": arms.passes(name, 1), f"pass@{k}": arms.passes(name, k), f"maj@{k}": arms.votes(name, k)}
        seeds[name] = {metric: values.mean(axis=1).tolist() for metric, values in solved.items()}
        one, (most, vote) = arms.at(name, 1), by_k[k]
        ends[name] = {"pass@1": one, f"pass@{k}": most, f"maj@{k}": vote}
        greedy = float(np.mean([record.end.greedy for record in arms[name]]))
        rate = f"{rates[name]:g}" if name in rates else None
        rows.append([name, rate, one, first.get(name), most, last.get(name), vote, greedy])
    less = f"less {f.e.baseline}"
    columns = ("arm", "learning rate", "pass@1", less, f"pass@{k}", f"{less} ", f"maj@{k}", "greedy")
    each = [[name, *seeds[name]["pass@1"]] for name in arms.trained]
    shown = [place for place in range(len(columns)) if any(row[place] is not None for row in rows)]
    tables = (
        Table([columns[place] for place in shown], [[row[place] for place in shown] for row in rows], CAPTION),
        Table(["arm", *(f"pass@1, seed {seed}" for seed in f.c.seeds)], each, "What each seed solves."),
    )
    pictured = [plots.Arm(name, ends[name], seeds[name]) for name in arms]
    picture = plots.arms_plot("arms", pictured, list(ends[START]), caption="Each arm; rings are seeds.")
    return Section("Results", f.verdict, tables, (picture,)), {
        "arms": {name: {k: list(both) for k, both in by_k.items()} for name, by_k in f.coverage.items()},
        "seeds": seeds,
        "rates": rates,
        "less_right_only": {k: f.gains(k) for k in f.c.ks},
    }


def _curves(arms: Arms, ks: Sequence[int], heading: str, text: str = "") -> Found:
    """pass@k of cross-entropy and DCO over training, on a small training set."""
    names, steps = list(arms.trained), arms.steps
    changes = {name: {k: arms.gain(name, START, k) for k in ks} for name in names}
    difference = {k: arms.gain(names[1], names[0], k) for k in ks}
    rows: list[list[Cell]] = [[name, *(arms.at(name, k) for k in ks)] for name in arms]
    rows += [[f"{name}, less start", *changes[name].values()] for name in names]
    rows += [[f"DCO less {names[0]}", *difference.values()]]
    caption = f"After {steps[-1]} steps, {len(arms[START])} seed(s). {CAPTION} Differences are paired."
    at = {name: {step: {k: arms.at(name, k, step) for k in ks} for step in steps} for name in names}
    panels = {}
    for k in ks:
        points = {name: [by_k[k] for by_k in own.values()] for name, own in at.items()}
        columns = {name: zip(*own, strict=True) for name, own in points.items()}
        panels[f"pass@{k}"] = {name: plots.Curve(steps, *list(parts)[:3]) for name, parts in columns.items()}
    about = "pass@k over training, with bootstrap bands over problems."
    picture = plots.panels_plot("coverage_over_training", panels, **OVER_STEPS, caption=about)
    verdict = coverage_verdict(arms, max(ks))
    table = Table(["arm", *(f"pass@{k}" for k in ks)], rows, caption)
    return section(heading, f"{text}\n\n{verdict}".strip(), table, picture), {
        "curves": at,
        "change": changes,
        "dco_less_cross_entropy": difference,
        "verdict": verdict,
        "seeds": {name: {k: arms.passes(name, k).mean(axis=1).tolist() for k in ks} for name in names},
        "starts": {k: arms.passes(START, k).mean(axis=1).tolist() for k in ks},
    }


def _small(f: Findings) -> Found:
    assert f.e.small is not None
    assert f.outcome.small is not None
    part, numbers = _curves(f.outcome.small, f.e.small[1].ks, "Coverage on a small training set", f.text("small"))
    return part, {"overfit": numbers}


def _claims(f: Findings) -> Found:
    claims = [claim._asdict() | {"shown": claim.shown} for claim in f.claims]
    table = Table(("claim", "difference", "measured", "shown"), [list(claim.values()) for claim in claims])
    return section("Which claims hold", f.text("claims"), table), {"claims": claims}


def _coverage(f: Findings) -> Found:
    points = {name: {k: both[0] for k, both in by_k.items()} for name, by_k in f.coverage.items()}
    picture = plots.coverage_plot("coverage", points, caption="pass@k over k, with bands.")
    return section("Coverage", figure=picture), {}


def _over_training(f: Findings) -> Found:
    arms, ks = f.outcome.arms, f.c.ks
    means = {
        name: {k: {step: float(arms.passes(name, k, step).mean()) for step in arms.steps} for k in ks}
        for name in arms.trained
    }
    shown = {
        f"pass@{k}": {name: plots.Curve(arms.steps, list(by_k[k].values())) for name, by_k in means.items()}
        for k in sorted({1, ks[len(ks) // 2], f.k})
    }
    picture = plots.panels_plot("over_training", shown, **OVER_STEPS)
    text = "Means over seeds and problems; step 0 is the start."
    return section("Over training", text, figure=picture), {"over_training": means}


def _losses(f: Findings) -> Found:
    losses = {name: records[0].losses for name, records in f.outcome.arms.trained.items()}
    curves = {name: plots.Curve(range(1, 1 + len(own)), own) for name, own in losses.items()}
    picture = plots.curves_plot("loss", curves, x_label="step", y_label="loss, nats per target token", first=1)
    text = "First seed. The curves are not comparable in height: the arms predict different text."
    return section("Training", text, figure=picture), {}


def _prefix(f: Findings) -> Found:
    if f.behind is None:
        return Section("The prefix", "Mistake tuning was not among the methods."), {"prefix_gap": None}
    name, *ends, gap = f.behind
    caption = "Filled: correct prefix; hollow: incorrect prefix."
    picture = plots.gap_plot("prefix", [plots.Gap(name, *ends)], caption=caption)
    text = f"The same weights decode after the correct and after the incorrect prefix. {prefix_text(name, gap)}"
    numbers = {"prefix_gap": gap, "mistake_tuning_less_right_only": f.gains(1).get(name)}
    return section("The prefix", text, figure=picture), numbers


def _calibration(f: Findings) -> Found:
    rows: list[list[Any]] = []
    numbers, curves = {}, {}
    for name, records in f.outcome.arms.items():
        sure, right = (np.stack([getattr(run.end, key) for run in records]) for key in ("confidence", "greedy_right"))
        bins = reliability(sure.ravel(), right.ravel())
        own = {
            "confidence": mean_interval(sure),
            "accuracy": mean_interval(right),
            "confidence_less_accuracy": difference_interval(sure, right),
            "calibration_error": calibration_error(bins),
        }
        rows.append([name, *own.values()])
        numbers[name] = own | {"bins": bins}
        curves[name] = plots.Curve([b.confidence for b in bins], [b.accuracy for b in bins])
    table = Table(("arm", *(key.replace("_", " ") for key in own)), rows)
    caption = "Share right over confidence, by bins of confidence."
    picture = plots.reliability_plot("calibration", curves, caption=caption)
    return section("Is it as right as it is sure?", f.text("calibration"), table, picture), {"calibration": numbers}


def _errors(f: Findings) -> Found:
    runs = {name: [record.end for record in records] for name, records in f.outcome.arms.items()}
    tables, numbers = errors_of(runs, [problem.id for problem in f.c.test_source.problems().items])
    return Section("Which errors went away, which appeared", f.text("errors"), tables), {"errors": numbers}


def errors_of(runs: Mapping[str, Sequence[Measured]], ids: Sequence[str]) -> tuple[tuple[Table, Table], dict[str, Any]]:
    """Which kinds of error went away and which appeared: tables, and numbers by arm.

    Sampled solutions show the change of each kind's share from the start, the first arm; greedy ones, of which there is
    one before and one per seed after, what became what.
    """
    sampled, greedy = (
        {
            name: transitions(labels(ids, runs[START], greedy=kind), labels(ids, own, greedy=kind))
            for name, own in runs.items()
            if name != START
        }
        for kind in (False, True)
    )
    count = Counter[str]()
    for found in sampled.values():
        count.update(dict(zip(found.kinds, (found.before + found.after).sum(axis=0), strict=True)))
    kinds = sorted(count, key=lambda kind: (kind != RIGHT, -count[kind], kind))
    share = lambda found, values, kind: float(values[found.kinds.index(kind)]) if kind in found.kinds else 0.0
    first = next(iter(sampled.values()))
    changes: list[list[Cell]] = [[START, *(share(first, first.before.mean(axis=0), kind) for kind in kinds)]]
    changes += [[name, *(x.change(kind) if kind in x.kinds else 0.0 for kind in kinds)] for name, x in sampled.items()]
    moved = lambda x, kind: f"-{share(x, x.went, kind):.3f} +{share(x, x.appeared, kind):.3f}"
    moves = [[name, *(moved(x, kind) for kind in kinds)] for name, x in greedy.items()]
    captions = (
        "Sampled solutions: share with this first error at the start, and its change from there in each arm, with "
        "95 % bootstrap intervals over problems.",
        "Greedy solutions: share that was of this kind and is no more (-), and that became so (+).",
    )
    tables = (Table(("arm", *kinds), changes, captions[0]), Table(("arm", *kinds), moves, captions[1]))
    table_of = lambda name: {"kinds": greedy[name].kinds, "table": greedy[name].table.tolist()}
    change_of = lambda found: {kind: found.change(kind) for kind in found.kinds}
    return tables, {name: {"change": change_of(x), "greedy": table_of(name)} for name, x in sampled.items()}


def labels(ids: Sequence[str], runs: Sequence[Measured], *, greedy: bool = False) -> dict[str, list[str]]:
    """The labels of all runs' solutions of each problem, by its name."""
    own = lambda run, n: [run.greedy_kinds[n]] if greedy else run.kinds[n]
    return {name: [kind for run in runs for kind in own(run, n)] for n, name in enumerate(ids)}


def _cost(f: Findings) -> Found:
    counted = ("updates", "examples", "positions", "reference_positions", "target_tokens", "right_tokens")
    mined, injected = f.outcome.mined, f.outcome.injected
    sampled = mined.tokens if mined else 0
    rows: list[list[Cell]] = []
    for name, records in f.outcome.arms.trained.items():
        mean = {key: int(np.mean([record.cost[key] for record in records])) for key in counted}
        passes = 3 * mean["positions"] + mean["reference_positions"] + sampled
        rows.append([name, *mean.values(), passes, float(np.mean([record.seconds["train"] for record in records]))])
    columns = ("arm", "updates", "examples", "positions", "of the reference", "targets", "of right texts")
    table = Table((*columns, "forward passes", "seconds"), rows, "Means over the seeds.")
    numbers: dict[str, Any] = {}
    if mined:
        numbers["sampling"] = {"solutions": mined.drawn, "tokens": mined.tokens}
        numbers["mined"] = {"right": mined.right, "wrong": mined.wrong}
    if injected:
        numbers["injection"] = {key: value for key, value in vars(injected).items() if key != "problems"}
    return section("What it cost", f.text("cost"), table), numbers


def _rates(f: Findings) -> Found:
    t, rates = f.e.tuning, f.outcome.rates
    assert t is not None
    passes = {
        name: [float(grid[rate].passes(t.k).mean()) for rate in t.rates] for name, grid in f.outcome.tuning.items()
    }
    rows: list[list[Cell]] = [[name, *own, f"{rates[name]:g}"] for name, own in passes.items()]
    names = [f"{rate:g}" for rate in t.rates]
    table = Table(("method", *names, "taken"), rows)
    numbers = {name: dict(zip(names, own, strict=True)) for name, own in passes.items()}
    return section("Learning rates", f.text("rates"), table), {"tuning": numbers}


SECTIONS: dict[str, Callable[[Findings], Found]] = {
    "arms": _arms,  # what each arm and seed solves, compared with the baseline
    "calibration": _calibration,  # confidence against correctness
    "claims": _claims,  # differences that test a claim
    "cost": _cost,  # positions, targets and seconds
    "coverage": _coverage,  # pass@k over k
    "curves": lambda f: _curves(f.outcome.arms, f.c.ks, "Results"),  # cross-entropy and DCO over training
    "errors": _errors,  # which kinds of error went away and which appeared
    "losses": _losses,  # of the first seed
    "over training": _over_training,  # pass@k at each measurement
    "prefix": _prefix,  # whether the same weights answer differently after each prefix
    "protocol": lambda f: (section("Protocol", f.text("protocol")), {}),
    "rates": _rates,  # what each learning rate gave
    "small": _small,  # the small training set of the demo
}
"""The sections that a report may have, by the name that an experiment calls them."""
