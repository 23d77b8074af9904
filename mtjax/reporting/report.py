"""A report: sections of text, tables and figures as one self-contained HTML page, and tables for the terminal."""

import base64
import html
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from mtjax.errors import InputError
from mtjax.reporting.intervals import Interval
from mtjax.reporting.style import STYLE

Cell = str | int | float | Interval | None
"""What a table holds; floats show three decimals, an `Interval` its mean and ends, None a dash."""


class Table(NamedTuple):
    """Rows of cells under column names; columns that hold numbers only are aligned to the right.

    Attributes:
        columns: the names, one a column.
        rows: one sequence of cells a row, as long as `columns`.
        caption: a sentence that says what the numbers are; shown above the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


class Figure(NamedTuple):
    """A picture, drawn for a light page and, where `dark` is given, for a dark one.

    Attributes:
        name: the stem of the files: `name.png`, `name-dark.png`.
        light: the bytes of a PNG.
        dark: the bytes of a PNG for dark pages; None to show the light one there.
        caption: what is to be seen, in words; also the text for those who cannot see it.
    """

    name: str
    light: bytes
    dark: bytes | None = None
    caption: str = ""


class Section(NamedTuple):
    """A part of a report: heading, text, then its tables, then its figures."""

    heading: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


class Report(NamedTuple):
    """A title, one paragraph that says the result, and the sections."""

    title: str
    sections: Sequence[Section]
    lead: str = ""


def section(heading: str, text: str = "", table: Table | None = None, figure: Figure | None = None) -> Section:
    """A section with at most one table and one figure.

    `text` is paragraphs parted by blank lines; lines that start with `- ` become a list; `code` and **bold** are
    marked as here; everything else, HTML too, is shown as it is written.
    """
    return Section(heading, text, (table,) if table else (), (figure,) if figure else ())


def write_report(report: Report, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Write `report.html` and its PNGs into `folder` (made where absent); returns the path of the page.

    The page holds its style and pictures in itself and asks for nothing from elsewhere; it follows the reader's light
    or dark setting. Equal reports give equal bytes. Each file is written beside its place and renamed, so a reader
    never finds half of one. Raises InputError for a row of the wrong length and two figures of one name.
    """
    folder = pathlib.Path(folder)
    figures = [figure for part in report.sections for figure in part.figures]
    names = [figure.name for figure in figures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"figures share the name {', '.join(twice)}: their files would overwrite each other; rename one"
        )
    page = _page(report).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        _write(folder / f"{figure.name}.png", figure.light)
        if figure.dark is not None:
            _write(folder / f"{figure.name}-dark.png", figure.dark)
    _write(folder / "report.html", page)
    return folder / "report.html"


def format_table(table: Table) -> str:
    """The table as aligned plain text for a terminal, caption first; no newline at the end.

    >>> print(format_table(Table(("arm", "pass@1"), (("start", 0.25), ("right only", 0.5)))))
    arm         pass@1
    ----------  ------
    start        0.250
    right only   0.500
    """
    columns = _columns(table)
    wide = [max(len(text) for text in column) for column in columns]
    right = [_numeric(table, i) for i in range(len(columns))]
    lines = [
        "  ".join(text.rjust(w) if r else text.ljust(w) for text, w, r in zip(row, wide, right, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
    rule = "  ".join("-" * width for width in wide)
    return "\n".join([*([table.caption] if table.caption else []), lines[0], rule, *lines[1:]])


def show(cell: Cell) -> str:
    """A cell as text: 0.25 -> `0.250`, 12000 -> `12,000`, an interval -> `0.312 [0.280, 0.345]`, None -> `–`."""
    if cell is None:
        return "–"
    if isinstance(cell, Interval | str):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.3f}"


def _columns(table: Table) -> list[list[str]]:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise InputError(f"row {list(row)} has {len(row)} cells for {len(table.columns)} columns {table.columns}")
    return [[name, *(show(row[i]) for row in table.rows)] for i, name in enumerate(table.columns)]


def _numeric(table: Table, column: int) -> bool:
    return bool(table.rows) and all(not isinstance(row[column], str) for row in table.rows)


def _write(path: pathlib.Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_bytes(data)
    beside.replace(path)


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


def _text(text: str) -> str:
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()) if text.strip() else []:
        lines = [line.strip() for line in block.splitlines()]
        if all(line.startswith("- ") for line in lines):
            blocks.append("<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>")
        else:
            blocks.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(blocks)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Interval):
        return f"{cell.mean:.3f} <small>[{cell.low:.3f}, {cell.high:.3f}]</small>"
    return _inline(show(cell))


def _table(table: Table) -> str:
    _columns(table)
    kinds = [' class="number"' if _numeric(table, i) else "" for i in range(len(table.columns))]
    head = "".join(f'<th scope="col"{kind}>{_inline(n)}</th>' for n, kind in zip(table.columns, kinds, strict=True))
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_inline(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="wide"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _figure(figure: Figure) -> str:
    data = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    dark = f'<source media="(prefers-color-scheme: dark)" srcset="{data(figure.dark)}">' if figure.dark else ""
    alt = html.escape(re.sub(r"[`*]", "", figure.caption or figure.name))
    picture = f'<picture>{dark}<img src="{data(figure.light)}" alt="{alt}"></picture>'
    return (
        f'<figure id="{html.escape(figure.name)}">{picture}<figcaption>{_inline(figure.caption)}</figcaption></figure>'
    )


def _page(report: Report) -> str:
    anchors = [f"section-{i}" for i in range(1, len(report.sections) + 1)]
    links = [f'<li><a href="#{a}">{_inline(s.heading)}</a></li>' for a, s in zip(anchors, report.sections, strict=True)]
    parts = [
        f'<section id="{anchor}">\n<h2>{_inline(part.heading)}</h2>\n'
        + "\n".join([_text(part.text), *map(_table, part.tables), *map(_figure, part.figures)])
        + "\n</section>"
        for anchor, part in zip(anchors, report.sections, strict=True)
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(report.title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{_inline(report.title)}</h1>
<div class="lead">{_text(report.lead)}</div>
{"<nav><ol>" + "".join(links) + "</ol></nav>" if len(links) > 2 else ""}
</header>
{chr(10).join(parts)}
</main>
</body>
</html>
"""
