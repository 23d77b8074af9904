"""A report as Markdown that reads well on a terminal too."""

from collections.abc import Sequence

from mtjax.planning.lint import MEANING
from mtjax.planning.report import Report

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
