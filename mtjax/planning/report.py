"""The report of a plan: what was asked, what came out, as one tuple that goes to JSON and to Markdown."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mtjax.errors import ExitCode
from mtjax.planning.bounds import Bound
from mtjax.planning.collectives import Row
from mtjax.planning.lint import EXPECTED, MEANING, Finding
from mtjax.planning.memory import Memory


@dataclasses.dataclass(frozen=True)
class Report:
    """One planned program.

    What a compiler without the hardware cannot know (real step time, achieved bandwidth, kernels picked by
    measurement) is not here.
    """

    config: str
    """The config file and its overrides."""
    phase: str
    """train, prefill or decode."""
    topology: str
    """As the user said it."""
    hardware: str
    """The devices, in words, and where their figures are from."""
    level: str
    """fast or full."""
    versions: str
    """Of jax and the compiler."""
    mesh: dict[str, int]
    """Size of each axis."""
    wiring: dict[str, str]
    """For each axis larger than 1: the sides of the torus, or the part of the node, that it runs along."""
    model: str
    """Its shape, in words."""
    parameters: int
    """How many."""
    batch: str
    """What one call works on, in words."""
    tokens: int
    """Positions that one call computes."""
    memory: Memory
    """On one device."""
    flops: int
    """Of all devices, one call; counted."""
    useful_flops: float
    """The same without recomputation."""
    collectives: tuple[Row, ...]
    """The table; empty where the program did not fit."""
    bound: Bound | None
    """The roofline; None where the program did not fit."""
    compiler_seconds: float | None
    """The compiler's own bound; only at level full, and where there is a clock."""
    findings: tuple[Finding, ...]
    """Lint."""
    advice: str = ""
    """Where it does not fit: the nearest change that does."""
    seconds: float = 0.0
    """CPU time the plan took."""

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


CANNOT = (
    "Bounds are not predictions: nominal figures, perfect overlap, nothing lost. Not known without the hardware: real "
    "step time, achieved bandwidth, kernels picked by measurement."
)


def to_page(report: Report) -> str:
    """The whole report."""
    return (
        "\n\n".join([_head(report), _memory(report), _work(report), _collectives(report), _lint(report), CANNOT]) + "\n"
    )


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


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


def _head(report: Report) -> str:
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
    return f"# {report.phase} on {report.topology}\n\n" + _rows(("what", "is"), rows)


def _memory(report: Report) -> str:
    memory = report.memory
    verdict = "fits" if memory.fits else "**does not fit**"
    parts = [(name, size_of(size), f"{size:,}") for name, size in memory.parts.items() if size]
    total = sum(memory.parts.values())
    parts.append(("in all", size_of(total), f"{total:,}"))
    what = "peak" if report.level == "full" else "peak (a low estimate at this level)"
    said = (
        f"## Memory of a device\n\n{what} {size_of(memory.peak)} of {size_of(memory.limit)} "
        f"({memory.peak / memory.limit:.0%}): {verdict}"
    )
    said += "\n\n" + _rows(("passed in", "size", "bytes, exact"), parts)
    if memory.largest:
        said += "\n\n" + _rows(("largest buffers", "size"), [(name, size_of(size)) for size, name in memory.largest])
    return said + (f"\n\nNearest change that fits: {report.advice}" if report.advice else "")


def _work(report: Report) -> str:
    tax = report.flops / report.useful_flops
    rows = [
        ("FLOPs counted", f"{report.flops:.4g}"),
        ("FLOPs without recomputation", f"{report.useful_flops:.4g}"),
        ("recomputation tax", f"{tax:.3f}"),
    ]
    said = "## Work of a call, all devices\n\n" + _rows(("what", "amount"), rows)
    if report.bound is None:
        return said
    bound = report.bound
    terms = sorted(bound.terms.items(), key=lambda entry: -entry[1])
    said += "\n\n## Bounds\n\n" + _rows(
        ("bound", "step time at least", "MFU at most"),
        [("roofline", _time(bound.seconds), f"{bound.mfu:.1%}")]
        + (
            []
            if report.compiler_seconds is None
            else [
                (
                    "compiler's cycles, collectives and kernels free",
                    _time(report.compiler_seconds),
                    f"{bound.mfu * bound.seconds / report.compiler_seconds:.1%}",
                )
            ]
        ),
    )
    said += f"\n\nThe roofline is set by: {bound.limited_by}.\n\n"
    return said + _rows(("busy at least", "time"), [(name, _time(seconds)) for name, seconds in terms])


def _time(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def _collectives(report: Report) -> str:
    if not report.collectives:
        return "## Collectives\n\nnone" if report.memory.fits else "## Collectives\n\nnot known: it did not compile"
    rows = [
        (
            row.operation,
            row.axes,
            str(row.members),
            "between" if row.across else "within",
            f"{row.number:,}",
            size_of(row.bytes),
        )
        for row in report.collectives
    ]
    head = ("collective", "mesh axis", "devices", "slices or nodes", "count", "bytes")
    return "## Collectives of a device and call\n\n" + _rows(head, rows)


def _lint(report: Report) -> str:
    if not report.findings:
        return "## Lint\n\nclean" if report.memory.fits else "## Lint\n\nnot known: it did not compile"
    lines = [
        f"- **{one.rule}** ({one.number}{', ' + size_of(one.bytes) if one.bytes else ''}): {one.where}. "
        f"{MEANING[one.rule][0].upper()}{MEANING[one.rule][1:]}."
        for one in report.findings
    ]
    return "## Lint\n\n" + ("" if report.counted else "clean, with what is expected:\n\n") + "\n".join(lines)


def search_page(reports: Sequence[Report]) -> str:
    """Ranked choices, one line each."""
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
    return _rows(head, rows) + f"\n\n{CANNOT}\n"
