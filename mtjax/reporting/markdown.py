"""A report as Markdown, and the escaping that keeps data from being read as markup."""

import re

from mtjax.reporting.report import Report, Table, aligned, body_sections, numeric_columns

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
    line = re.sub(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", "↵", text).strip()
    return SPECIAL.sub(lambda found: f"\\{found[0]}", line)


def code_block(text: str) -> str:
    """A fenced block that shows `text` literally, whatever backticks it holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def markdown_of(report: Report, pictures: str = "") -> str:
    """The report as a Markdown page; pictures are linked as `pictures/name.png`."""
    blocks = [f"# {report.title}" if report.title else "", report.lead]
    for part in body_sections(report):
        blocks += [f"## {part.heading}" if part.heading else "", part.text]
        blocks += [block for table in part.tables for block in (table.caption, table_of(table))]
        blocks += [f"![{f.caption or f.name}]({'/'.join(filter(None, (pictures, f.name)))}.png)" for f in part.figures]
    return "\n\n".join(block.strip() for block in blocks if block.strip()) + "\n"


def table_of(table: Table) -> str:
    """The rows as a Markdown table whose source is aligned too; without the caption.

    >>> print(table_of(Table(("a", "b"), (("x", 0.5),))))
    | a |     b |
    |---|------:|
    | x | 0.500 |
    """
    head, *rows = ([f" {cell} " for cell in line] for line in aligned(table, escape))
    rule = ["-" * (len(text) - 1) + "-:"[right] for text, right in zip(head, numeric_columns(table), strict=True)]
    return "\n".join(f"|{'|'.join(line)}|" for line in (head, rule, *rows))
