"""The report of a plan: what was asked, what came out, as one dataclass that goes to JSON and to Markdown."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec

from mtjax.errors import ExitCode
from mtjax.planning.bounds import Bound
from mtjax.planning.collectives import Row
from mtjax.planning.lint import EXPECTED, MEANING, Finding
from mtjax.reporting.markdown import escape, markdown_of
from mtjax.reporting.report import Report as Page
from mtjax.reporting.report import Section, Table, section
from mtjax.reporting.sizes import size_of


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    parts: dict[str, int]  # exact bytes of the program's arguments, by name
    peak: int  # the compiler's peak; where it gave up, what it would have needed
    limit: int  # what the device has
    aliased: int  # of the parts, what the program reuses for its results
    largest: tuple[tuple[int, str], ...] = ()  # the largest buffers when it does not fit: (bytes, shapes)

    @property
    def fits(self) -> bool:
        """Whether the peak is within the limit."""
        return self.peak <= self.limit


@dataclasses.dataclass(frozen=True)
class Report:
    """One planned program.

    What a compiler without the hardware cannot know (real step time, achieved bandwidth, kernels picked by
    measurement) is not here.
    """

    config: str  # the config file and its overrides
    phase: str  # train, prefill or decode
    topology: str  # as the user wrote it
    hardware: str  # the devices, in words, and where their figures are from
    level: str  # fast or full
    versions: str  # of jax and the compiler
    mesh: dict[str, int]  # size of each axis
    wiring: dict[
        str, str
    ]  # for each axis larger than 1: the sides of the torus, or part of the node, that it runs along
    model: str  # its shape, in words
    parameters: int  # how many
    batch: str  # what one call works on, in words
    tokens: int  # positions that one call computes
    memory: Memory  # on one device
    flops: int  # of all devices, one call; counted
    useful_flops: float  # the same without recomputation
    collectives: tuple[Row, ...]  # the table; empty where the program did not fit
    bound: Bound | None  # the roofline; None where the program did not fit
    compiler_seconds: float | None  # the compiler's own bound; only at level full, and where there is a clock
    findings: tuple[Finding, ...]  # lint
    advice: str = ""  # where it does not fit: the nearest change that does
    seconds: float = 0.0  # CPU time of the plan

    def exit_code(self, lint_limit: int) -> ExitCode:
        """3 when it does not fit, 4 with more findings than the limit (expected ones not counted), else 0."""
        if not self.memory.fits:
            return ExitCode.DOES_NOT_FIT
        return ExitCode.LINT if len(self.counted) > lint_limit else ExitCode.DONE

    @property
    def counted(self) -> tuple[Finding, ...]:
        """The findings that should not be there."""
        return tuple(one for one in self.findings if one.rule not in EXPECTED)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return dataclasses.asdict(self)


def from_json(record: dict[str, Any]) -> Report:
    """The report that `to_json` wrote."""
    return msgspec.convert(record, Report)


NOT_COMPILED = "not known: it did not compile"
CANNOT = (
    "Bounds are not predictions: nominal figures, perfect overlap, nothing lost. Not known without the hardware: real "
    "step time, achieved bandwidth, kernels picked by measurement."
)


def _time(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def _table(heading: str, columns: str, rows: Sequence[Sequence[str]], text: str = "") -> Section:
    return section(heading, text, Table(columns.split(" | "), rows))


def to_page(report: Report) -> str:
    """The report as a Markdown page."""
    mesh = " x ".join(f"{name} {size}" for name, size in report.mesh.items() if size > 1) or "one device"
    wired = "; ".join(f"{axis} along {where}" for axis, where in report.wiring.items())
    head = [
        ("program", f"{report.phase}: {report.config}"),
        ("devices", report.hardware),
        ("mesh", mesh + (f" ({wired})" if wired else "")),
        ("model", f"{report.parameters:,} parameters, {report.model}"),
        ("batch", report.batch),
        ("compiled by", f"{report.versions}, level {report.level}, {report.seconds:.0f} CPU-seconds"),
    ]
    work = [
        ("FLOPs counted", f"{report.flops:.4g}"),
        ("FLOPs without recomputation", f"{report.useful_flops:.4g}"),
        ("recomputation tax", f"{report.flops / report.useful_flops:.3f}"),
    ]
    sections = [_table("", "what | is", head), *_memory(report)]
    sections += [_table("Work of a call, all devices", "what | amount", work), *_bounds(report)]
    sections += [_collectives(report), _lint(report), Section("", CANNOT)]
    return markdown_of(Page(f"{report.phase} on {escape(report.topology)}", sections))


def _memory(report: Report) -> list[Section]:
    memory = report.memory
    sizes = memory.parts | {"in all": sum(memory.parts.values())}
    parts = [(name, size_of(size), f"{size:,}") for name, size in sizes.items() if size]
    what = "peak" if report.level == "full" else "peak (a low estimate at this level)"
    share = f"{size_of(memory.peak)} of {size_of(memory.limit)} ({memory.peak / memory.limit:.0%})"
    text = f"{what} {share}: {'fits' if memory.fits else '**does not fit**'}"
    sections = [_table("Memory of a device", "passed in | size | bytes, exact", parts, text)]
    if memory.largest:
        sections.append(_table("", "largest buffers | size", [(name, size_of(size)) for size, name in memory.largest]))
    if report.advice:
        sections.append(Section("", f"Nearest change that fits: {escape(report.advice)}"))
    return sections


def _bounds(report: Report) -> list[Section]:
    bound = report.bound
    if bound is None:
        return []
    bounds = {"roofline": bound.seconds}
    if report.compiler_seconds is not None:
        bounds["compiler's cycles, collectives and kernels free"] = report.compiler_seconds
    times = [(name, _time(least), f"{bound.mfu * bound.seconds / least:.1%}") for name, least in bounds.items()]
    terms = [(name, _time(seconds)) for name, seconds in sorted(bound.terms.items(), key=lambda entry: -entry[1])]
    limit = f"The roofline is set by: {bound.limited_by}."
    return [
        _table("Bounds", "bound | step time at least | MFU at most", times),
        _table("", "busy at least | time", terms, limit),
    ]


def _collectives(report: Report) -> Section:
    if not report.collectives:
        return Section("Collectives", "none" if report.memory.fits else NOT_COMPILED)
    rows = []
    for row in report.collectives:
        numbers = ("between" if row.across else "within", f"{row.number:,}", size_of(row.bytes))
        rows.append((row.operation, row.axes, str(row.members), *numbers))
    head = "collective | mesh axis | devices | slices or nodes | count | bytes"
    return _table("Collectives of a device and call", head, rows)


def _lint(report: Report) -> Section:
    if not report.findings:
        return Section("Lint", "clean" if report.memory.fits else NOT_COMPILED)
    lines = [] if report.counted else ["clean, with what is expected:", ""]
    for one in report.findings:
        count, meaning = f"{one.number}{f', {size_of(one.bytes)}' if one.bytes else ''}", MEANING[one.rule]
        lines.append(f"- **{one.rule}** ({count}): {escape(one.where)}. {meaning[0].upper()}{meaning[1:]}.")
    return Section("Lint", "\n".join(lines))


def search_page(reports: Sequence[Report]) -> str:
    """Ranked choices as a Markdown page, one line each."""
    rows = []
    for report in reports:
        bound, peak = report.bound, size_of(report.memory.peak) if report.memory.fits else "does not fit"
        mfu, step = (f"{bound.mfu:.1%}", _time(bound.seconds)) if bound else ("?", "?")
        limit = bound.limited_by if bound else "memory"
        rows.append((mfu, step, peak, str(len(report.counted)), limit, report.config))
    head = "MFU at most | step at least | peak memory | lint | bound by | config"
    return markdown_of(Page("", [_table("", head, rows), Section("", CANNOT)]))
