"""The report of a plan: what was asked, what came out, as one tuple that goes to JSON and to Markdown."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mtjax.errors import ExitCode
from mtjax.planning.bounds import Bound
from mtjax.planning.collectives import Row
from mtjax.planning.lint import EXPECTED, MEANING, Finding
from mtjax.planning.memory import Memory
from mtjax.reporting.markdown import escape, markdown_of
from mtjax.reporting.report import Report as Page
from mtjax.reporting.report import Section, Table, section


@dataclasses.dataclass(frozen=True)
class Report:
    """One planned program.

    What a compiler without the hardware cannot know (real step time, achieved bandwidth, kernels picked by
    measurement) is not here.
    """

    config: str  # The config file and its overrides.
    phase: str  # train, prefill or decode.
    topology: str  # As the user said it.
    hardware: str  # The devices, in words, and where their figures are from.
    level: str  # fast or full.
    versions: str  # Of jax and the compiler.
    mesh: dict[str, int]  # Size of each axis.
    wiring: dict[str, str]
    """For each axis larger than 1: the sides of the torus, or the part of the node, that it runs along."""
    model: str  # Its shape, in words.
    parameters: int  # How many.
    batch: str  # What one call works on, in words.
    tokens: int  # Positions that one call computes.
    memory: Memory  # On one device.
    flops: int  # Of all devices, one call; counted.
    useful_flops: float  # The same without recomputation.
    collectives: tuple[Row, ...]  # The table; empty where the program did not fit.
    bound: Bound | None  # The roofline; None where the program did not fit.
    compiler_seconds: float | None  # The compiler's own bound; only at level full, and where there is a clock.
    findings: tuple[Finding, ...]  # Lint.
    advice: str = ""  # Where it does not fit: the nearest change that does.
    seconds: float = 0.0  # CPU time the plan took.

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
        """Plain dicts and lists; the named tuples inside become dicts."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def from_json(record: dict[str, Any]) -> Report:
    """The report that `to_json` wrote."""
    memory = Memory(**record["memory"] | {"largest": tuple(map(tuple, record["memory"]["largest"]))})
    return Report(
        **record
        | {
            "memory": memory,
            "collectives": tuple(Row(**row) for row in record["collectives"]),
            "bound": Bound(**record["bound"]) if record["bound"] else None,
            "findings": tuple(Finding(**finding) for finding in record["findings"]),
        }
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value


NOT_COMPILED = "not known: it did not compile"

CANNOT = (
    "Bounds are not predictions: nominal figures, perfect overlap, nothing lost. Not known without the hardware: real "
    "step time, achieved bandwidth, kernels picked by measurement."
)


def to_page(report: Report) -> str:
    """The report as a Markdown page."""
    sections = [*_memory(report), *_work(report), _collectives(report), _lint(report), Section("", CANNOT)]
    head = Section("", tables=(_head(report),))
    return markdown_of(Page(f"{report.phase} on {escape(report.topology)}", [head, *sections]))


def size_of(count: float | int) -> str:
    """Bytes for people.

    >>> size_of(1.5 * 2**30)
    '1.50 GiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.2f} {unit}"
        count /= 1024
    raise AssertionError


def _head(report: Report) -> Table:
    mesh = " x ".join(f"{name} {size}" for name, size in report.mesh.items() if size > 1) or "one device"
    wired = "; ".join(f"{axis} along {where}" for axis, where in report.wiring.items())
    rows = [
        ("program", f"{report.phase}: {report.config}"),
        ("devices", report.hardware),
        ("mesh", mesh + (f" ({wired})" if wired else "")),
        ("model", f"{report.parameters:,} parameters, {report.model}"),
        ("batch", report.batch),
        ("compiled by", f"{report.versions}, level {report.level}, {report.seconds:.0f} CPU-seconds"),
    ]
    return Table(("what", "is"), rows)


def _memory(report: Report) -> list[Section]:
    memory, total = report.memory, sum(report.memory.parts.values())
    parts = [(name, size_of(size), f"{size:,}") for name, size in (*memory.parts.items(), ("in all", total)) if size]
    largest = [(name, size_of(size)) for size, name in memory.largest]
    what = "peak" if report.level == "full" else "peak (a low estimate at this level)"
    text = (
        f"{what} {size_of(memory.peak)} of {size_of(memory.limit)} ({memory.peak / memory.limit:.0%}): "
        f"{'fits' if memory.fits else '**does not fit**'}"
    )
    tables = [Table(("passed in", "size", "bytes, exact"), parts)]
    tables += [Table(("largest buffers", "size"), largest)] if largest else []
    advice = [Section("", f"Nearest change that fits: {escape(report.advice)}")] if report.advice else []
    return [Section("Memory of a device", text, tuple(tables)), *advice]


def _work(report: Report) -> list[Section]:
    rows = [
        ("FLOPs counted", f"{report.flops:.4g}"),
        ("FLOPs without recomputation", f"{report.useful_flops:.4g}"),
        ("recomputation tax", f"{report.flops / report.useful_flops:.3f}"),
    ]
    work = section("Work of a call, all devices", table=Table(("what", "amount"), rows))
    bound = report.bound
    if bound is None:
        return [work]
    bounds = [("roofline", bound.seconds)]
    if report.compiler_seconds is not None:
        bounds.append(("compiler's cycles, collectives and kernels free", report.compiler_seconds))
    times = [(name, _time(seconds), f"{bound.mfu * bound.seconds / seconds:.1%}") for name, seconds in bounds]
    terms = [(name, _time(seconds)) for name, seconds in sorted(bound.terms.items(), key=lambda entry: -entry[1])]
    return [
        work,
        section("Bounds", table=Table(("bound", "step time at least", "MFU at most"), times)),
        section("", f"The roofline is set by: {bound.limited_by}.", Table(("busy at least", "time"), terms)),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def _collectives(report: Report) -> Section:
    if not report.collectives:
        return Section("Collectives", "none" if report.memory.fits else NOT_COMPILED)
    rows = [
        (row.operation, row.axes, str(row.members), "between" if row.across else "within", f"{row.number:,}",
         size_of(row.bytes))
        for row in report.collectives
    ]  # fmt: skip
    head = ("collective", "mesh axis", "devices", "slices or nodes", "count", "bytes")
    return section("Collectives of a device and call", table=Table(head, rows))


def _lint(report: Report) -> Section:
    if not report.findings:
        return Section("Lint", "clean" if report.memory.fits else NOT_COMPILED)
    lines = [
        f"- **{one.rule}** ({one.number}{', ' + size_of(one.bytes) if one.bytes else ''}): {escape(one.where)}. "
        f"{MEANING[one.rule][0].upper()}{MEANING[one.rule][1:]}."
        for one in report.findings
    ]
    return Section("Lint", ("" if report.counted else "clean, with what is expected:\n\n") + "\n".join(lines))


def search_page(reports: Sequence[Report]) -> str:
    """Ranked choices as a Markdown page, one line each."""
    rows = [
        (
            f"{report.bound.mfu:.1%}" if report.bound else "?",
            _time(report.bound.seconds) if report.bound else "?",
            size_of(report.memory.peak) if report.memory.fits else "does not fit",
            str(len(report.counted)),
            report.bound.limited_by if report.bound else "memory",
            report.config,
        )
        for report in reports
    ]
    head = ("MFU at most", "step at least", "peak memory", "lint", "bound by", "config")
    return markdown_of(Page("", [section("", table=Table(head, rows)), Section("", CANNOT)]))
