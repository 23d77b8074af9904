"""An audit: checks run over data, their flags compared with planted truth, a report, and a repaired copy."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.io.files import write_text
from mtjax.mistakes.checks import CHECKS, Check, Flag, Found, Subject
from mtjax.reporting.intervals import mean_interval
from mtjax.reporting.markdown import escape, markdown_of
from mtjax.reporting.report import Report, Section, Table, write_report
from mtjax.runs.audit_data import Copied

GIVEN_BY = {
    "against": "--against",
    "score": "--model",
    "judgements": "--judge_models or --judgements",
    "dates": "--dates",
}
"""The option that gives what a check needs."""
FILES = ("flags.jsonl", "report.md", "report.html", "clean.jsonl", "control.jsonl")
"""The files of an audit, besides one for each check that measures records."""


class Score(NamedTuple):
    """How the flags of a check compare with planted truth."""

    hits: tuple[bool, ...]  # of each flag, whether it is planted
    planted: int  # what is planted for this check: problems, or texts
    found: int  # how many of these have a flag


class Outcome(NamedTuple):
    """What an audit found, by the names of the checks."""

    found: dict[str, Found]
    scores: dict[str, Score]  # empty without planted truth

    @property
    def flags(self) -> list[Flag]:
        """The flags of all checks."""
        return [flag for found in self.found.values() for flag in found.flags]


def score_of(name: str, flags: Sequence[Flag], truth: Mapping[int, frozenset[str]]) -> Score:
    """Compare flags with planted truth: "*" is for every check, a name for that check, a text for what flags texts."""
    meant = lambda flag: {"*", name, *([flag.part] if flag.part else [])}
    hits = tuple(bool(truth.get(flag.number, frozenset()) & meant(flag)) for flag in flags)
    of_texts = CHECKS[name].of_texts or any(flag.part for flag in flags)
    flagged, parts = {flag.number for flag in flags}, {(flag.number, flag.part) for flag in flags}
    planted = found = 0
    for number, names in truth.items():
        texts = sorted(names - {"*"} - CHECKS.keys()) if of_texts else []
        if names & {"*", name}:
            planted, found = planted + 1, found + (number in flagged)
        elif texts:
            planted, found = planted + len(texts), found + sum((number, text) in parts for text in texts)
    return Score(hits, planted, found)


def run_checks(checks: Mapping[str, Check], subject: Subject, log: Callable[[str], None] = print) -> Outcome:
    """Run checks one after the other; one that lacks what it needs is skipped with the reason."""
    found: dict[str, Found] = {}
    scores: dict[str, Score] = {}
    for name, check in checks.items():
        missing = [need for need in check.needs if getattr(subject, need) is None]
        if missing:
            found[name] = Found(skipped=f"it needs {' and '.join(GIVEN_BY[need] for need in missing)}")
        else:
            log(f"checking {name} ...")
            found[name] = check(subject)
        if subject.truth is not None and not found[name].skipped:
            scores[name] = score_of(name, found[name].flags, subject.truth)
    return Outcome(found, scores)


def make_report(title: str, about: Sequence[str], outcome: Outcome, copies: Mapping[str, Copied]) -> Report:
    """The report of an audit: what was read, a summary, and a section for each check with examples of its flags."""
    rows: list[list[Any]] = []
    heads = ["check", "flags", "problems", "to repair"]
    scored = bool(outcome.scores)
    for name, found in outcome.found.items():
        if found.skipped:
            rows.append([name, None, None, None, *([None] * 4 if scored else [])])
            continue
        repairs = sum(bool(flag.fix) for flag in found.flags)
        row: list[Any] = [name, len(found.flags), len({flag.number for flag in found.flags}), repairs]
        if scored:
            score = outcome.scores[name]
            precision = mean_interval(list(map(float, score.hits))) if score.hits else None
            recall = score.found / score.planted if score.planted else None
            row += [score.planted, sum(score.hits), precision, recall]
        rows.append(row)
    heads += ["planted", "of these flagged rightly", "precision", "recall"] if scored else []
    caption = "Flags of each check" + (", compared with planted truth (95% bootstrap interval)." if scored else ".")
    sections = [
        Section("Data", "\n".join(f"- {line}" for line in about)),
        Section("Summary", "", (Table(heads, rows, caption),)),
    ]
    for name, found in outcome.found.items():
        if found.skipped:
            sections.append(Section(name, f"Skipped: {found.skipped}."))
            continue
        text = "\n".join(f"- {fact}" for fact in found.facts)
        sections.append(Section(name, text, (*found.tables, *examples_of(found.flags))))
    if copies:
        columns = ("copy", "problems", "dropped", "changed", "written as")
        lines: list[list[Any]] = [
            [escape(file), one.problems, one.dropped, one.changed, one.form] for file, one in copies.items()
        ]
        sections.append(Section("Repaired copies", "", (Table(columns, lines),)))
    return Report(title, sections)


def examples_of(flags: Sequence[Flag], most: int = 8) -> tuple[Table, ...]:
    """A table of the surest flags; empty without flags."""
    surest = sorted(flags, key=lambda flag: (-(flag.score if flag.score is not None else 0.0), flag.number))[:most]
    rows: list[list[Any]] = [[flag.id, flag.part or "all", flag.reason, flag.fix or "none"] for flag in surest]
    caption = f"The surest of {len(flags):,} flags; all are in `flags.jsonl`."
    return (Table(("problem", "part", "reason", "repair"), rows, caption),) if rows else ()


def write_audit(folder: pathlib.Path, report: Report, outcome: Outcome, where: Mapping[int, str]) -> None:
    """Write flags, measured records and the report, as Markdown and as a page; equal outcomes give equal bytes."""
    lines = []
    for name, found in outcome.found.items():
        for flag in found.flags:
            record = {"check": name, **flag._asdict(), "where": where.get(flag.number, "")}
            if record["score"] is not None:
                record["score"] = round(float(record["score"]), 6)
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        if found.records:
            texts = (json.dumps(_rounded(record), ensure_ascii=False) + "\n" for record in found.records)
            write_text(folder / f"{name}.jsonl", "".join(texts))
    write_text(folder / "flags.jsonl", "".join(lines))
    write_text(folder / "report.md", markdown_of(report))
    write_report(report, folder)


def _rounded(value: Any) -> Any:
    """JSON of measured numbers: six decimals, and null where there is none."""
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def settings_of(checks: Mapping[str, Check]) -> dict[str, Any]:
    """The settings of checks, for the manifest."""
    return {name: dataclasses.asdict(check) for name, check in checks.items()}  # type: ignore[call-overload]
