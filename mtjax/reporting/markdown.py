"""A report as Markdown, and the escaping that keeps data from being read as markup."""

import re

from mtjax.reporting.report import Report, Section, Table, aligned, body_sections, numeric_columns, show

SPECIAL = re.compile(
    r"[\\`*|~$]"  # always markup somewhere: emphasis, code, table cells, strike-through, mathematics
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, unless inside a word as in pass_at_k
    r"|(?<=\])[(:]"  # the target of a link or image, or a link definition
    r"|<(?=[A-Za-z/!?])"  # a tag or an address
    r"|&(?=#?\w+;)"  # a character reference
    r"|^[-+](?=\s|$)|^>|^#(?=#{0,5}(?:\s|$))|^[-=](?=[-=\s]*$)"  # a list, a quotation, a heading, a rule
    r"|(?:(?<=^\d)|(?<=^\d\d)|(?<=^\d\d\d))[.)](?=\s|$)"  # a numbered list
)
"""Characters that Markdown interprets where they stand."""


def escape(text: str) -> str:
    r"""One line of Markdown that shows `text` literally, for a cell or within a sentence.

    For a model's answer, a file name. Line breaks are shown as `↵`; use `code_block` for text of several lines.

    >>> print(escape("<b>*no*</b>, pass_at_k, [a](b)"))
    \<b>\*no\*\</b>, pass_at_k, [a]\(b)
    """
    return SPECIAL.sub(
        lambda found: f"\\{found[0]}", re.sub(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", "↵", text).strip()
    )


def code_block(text: str) -> str:
    """A fenced block that shows `text` literally, whatever backticks it holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def markdown_of(report: Report, pictures: str = "") -> str:
    """The report as a Markdown page; pictures are linked as `pictures/name.png`.

    >>> from mtjax.reporting.report import section
    >>> print(markdown_of(Report("Title", [section("One", "Text.", Table(("a", "b"), (("x", 0.5),)))], "Lead."), "p"))
    # Title
    <BLANKLINE>
    Lead.
    <BLANKLINE>
    ## One
    <BLANKLINE>
    Text.
    <BLANKLINE>
    | a |     b |
    |---|------:|
    | x | 0.500 |
    <BLANKLINE>
    """
    parts = [f"# {report.title}" if report.title else "", report.lead]
    for part in body_sections(report):
        parts += [f"## {part.heading}" if part.heading else "", *section_blocks(part)]
        parts += [f"![{f.caption or f.name}]({'/'.join(filter(None, (pictures, f.name)))}.png)" for f in part.figures]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def section_blocks(part: Section) -> list[str]:
    """Text and tables of a section as Markdown."""
    return [part.text, *(block for table in part.tables for block in (table.caption, table_of(table)))]


def table_of(table: Table) -> str:
    """The rows as a Markdown table whose source is aligned too; without the caption."""
    cells = [list(table.columns), *([show(cell) for cell in row] for row in table.rows)]
    lines = aligned(table, [[escape(text) for text in line] for line in cells])
    rules = [
        "-" * (len(text) + 1) + ("-:"[right]) for text, right in zip(lines[0], numeric_columns(table), strict=True)
    ]
    return "\n".join([_row(lines[0]), f"|{'|'.join(rules)}|", *map(_row, lines[1:])])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
