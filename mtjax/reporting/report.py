"""A report: sections of text, tables and figures, built once and rendered for a terminal, as Markdown and as HTML.

`format_table` and `to_text` render for a terminal, `mtjax.reporting.markdown.markdown_of` as Markdown and
`write_report` as an HTML page, which is the same Markdown inside a template.
"""

import io
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console

from mtjax.errors import InputError
from mtjax.reporting.intervals import Interval

Cell = str | int | float | Interval | None
"""A value in a table. Strings are data and are never read as markup; see `show` for the others."""


class Table(NamedTuple):
    """Rows of cells under column names; columns without strings are aligned to the right."""

    columns: Sequence[str]  # names of the columns, shown as they are
    rows: Sequence[Sequence[Cell]]  # each as long as `columns`
    caption: str = ""  # a sentence that says what the numbers are, in Markdown; shown above the table


class Figure(NamedTuple):
    """A picture for light pages and, optionally, a second one for dark pages."""

    name: str  # stem of the files: `name.png` and `name-dark.png`
    light: bytes  # a PNG
    dark: bytes | None = None  # a PNG; None shows the light picture on dark pages too
    caption: str = ""  # what the picture shows, in Markdown; also its alternative text
    narrow: bytes | None = None  # a PNG for narrow pages; None shows the others on them too
    narrow_dark: bytes | None = None  # a PNG for narrow dark pages


class Section(NamedTuple):
    """A part of a report: heading, text, tables and figures, in this order. Heading and text may be empty.

    `text` is Markdown. Pass text that is not yours, such as a model's answer, through `markdown.escape` or
    `markdown.code_block` first. HTML tags in it are shown, not interpreted.
    """

    heading: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


class Report(NamedTuple):
    """A title, sections, and a lead: one paragraph with the result. Title and lead may be empty."""

    title: str
    sections: Sequence[Section]
    lead: str = ""


def section(heading: str, text: str = "", table: Table | None = None, figure: Figure | None = None) -> Section:
    """A section with at most one table and one figure."""
    return Section(heading, text, (table,) if table else (), (figure,) if figure else ())


def write_report(report: Report, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Write `report.html` and its PNGs into `folder`, which is created if needed; returns the path of the page.

    The page embeds its style and pictures, loads nothing from the network, and follows the reader's light or dark
    setting. Equal reports give equal bytes. Each file is written to a temporary file that is then renamed. Raises
    InputError for a row of the wrong length and for two figures with the same name.
    """
    from mtjax.reporting.page import to_html  # imports Jinja and markdown-it, which commands without a page do without

    folder, files = pathlib.Path(folder), {}
    for figure in (figure for part in report.sections for figure in part.figures):
        if f"{figure.name}.png" in files:
            raise InputError(f"figures share the name {figure.name}: expected one name per figure; rename one")
        files[f"{figure.name}.png"] = figure.light
        if figure.dark is not None:
            files[f"{figure.name}-dark.png"] = figure.dark
    files["report.html"] = to_html(report).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        part = folder / f".{name}.{os.getpid()}.part"
        part.write_bytes(data)
        part.replace(folder / name)
    return folder / "report.html"


def to_text(report: Report, width: int = 100) -> str:
    """The report as plain text for a terminal, with paragraphs wrapped to `width` columns and figures as captions."""
    from rich.markdown import Markdown

    def laid_out(markdown: str, rule: str = "") -> str:
        file = io.StringIO()
        console = Console(file=file, width=width, force_terminal=False, color_system=None)
        console.print(Markdown(markdown, hyperlinks=False))
        text = "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip("\n")
        return f"{text}\n{rule * min(cell_len(text), width)}" if rule and text else text

    blocks = [laid_out(report.title, "="), laid_out(report.lead)]
    for part in body_sections(report):
        blocks += [laid_out(part.heading, "-"), laid_out(part.text), *map(format_table, part.tables)]
        blocks += [laid_out(f"{figure.name}.png: {figure.caption}") for figure in part.figures]
    return "\n\n".join(filter(None, blocks)) + "\n"


def body_sections(report: Report) -> list[Section]:
    """The sections as every rendering shows them: a text that repeats the lead is left out."""
    return [part._replace(text="") if part.text == report.lead else part for part in report.sections]


def format_table(table: Table) -> str:
    """The table as aligned plain text for a terminal, caption first; no newline at the end.

    >>> print(format_table(Table(("arm", "pass@1"), (("start", 0.25), ("right only", 0.5)))))
    arm         pass@1
    ----------  ------
    start        0.250
    right only   0.500
    """
    head, *rows = aligned(table, str)
    lines = [head, ["-" * cell_len(text) for text in head], *rows]
    return "\n".join([*filter(None, [table.caption]), *("  ".join(line).rstrip() for line in lines)])


def aligned(table: Table, text_of: Callable[[str], str]) -> list[list[str]]:
    """Header and rows as text that went through `text_of`, padded to the width of their columns.

    Raises InputError for a row of the wrong length.
    """
    for row in table.rows:
        if len(row) != len(table.columns):
            raise InputError(f"row {list(row)} has {len(row)} cells for {len(table.columns)} columns {table.columns}")
    lines = [[text_of(text) for text in line] for line in (table.columns, *(map(show, row) for row in table.rows))]
    widths = [max(map(cell_len, texts)) for texts in zip(*lines, strict=True)]
    to_the_right = numeric_columns(table)
    for line in lines:
        for place, right in enumerate(to_the_right):
            pad = " " * (widths[place] - cell_len(line[place]))
            line[place] = pad + line[place] if right else line[place] + pad
    return lines


def numeric_columns(table: Table) -> list[bool]:
    """Which columns hold no strings; they are aligned to the right."""
    places = range(len(table.columns))
    return [bool(table.rows) and not any(isinstance(row[place], str) for row in table.rows) for place in places]


def show(cell: Cell) -> str:
    """A cell as text: 0.25 -> `0.250`, 12000 -> `12,000`, an interval -> `0.312 [0.280, 0.345]`, None -> `–`."""
    if cell is None:
        return "–"
    if isinstance(cell, Interval | str):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.3f}"
