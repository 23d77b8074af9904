"""A report as a Markdown page, to be kept beside other documents."""

from mtjax.reporting.report import Report, Table, show


def markdown_of(report: Report, pictures: str) -> str:
    """The same title, lead, texts and tables; pictures are linked as `pictures/name.png`.

    >>> from mtjax.reporting.report import section
    >>> print(markdown_of(Report("Title", [section("One", "Text.", Table(("a", "b"), ((1, 0.5),)))], "Lead."), "p"))
    # Title
    <BLANKLINE>
    Lead.
    <BLANKLINE>
    ## One
    <BLANKLINE>
    Text.
    <BLANKLINE>
    | a | b |
    | --- | --- |
    | 1 | 0.500 |
    <BLANKLINE>
    """
    parts = [f"# {report.title}", report.lead]
    for part in report.sections:
        # The lead is the first section's text as well.
        parts += [f"## {part.heading}", part.text if part.text != report.lead else ""]
        parts += [_table(table) for table in part.tables]
        parts += [f"![{figure.caption or figure.name}]({pictures}/{figure.name}.png)" for figure in part.figures]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _table(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *([show(cell) for cell in row] for row in table.rows)]
    body = "\n".join("| " + " | ".join(cell.strip() for cell in line) + " |" for line in lines)
    return f"{table.caption}\n\n{body}" if table.caption else body
