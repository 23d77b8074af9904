"""HTML pages: Jinja templates in `templates/`, and Markdown rendered by markdown-it."""

import base64
import functools
import re
from collections.abc import Sequence
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from mtjax.reporting.markdown import table_of
from mtjax.reporting.report import Report, body_sections


def to_html(report: Report) -> str:
    """The report as the text of one HTML file; equal reports give equal pages."""
    return render("report.html", report=report, sections=body_sections(report))


def render(template: str, **values: Any) -> str:
    """A template of `mtjax/reporting/templates`, filled; values are escaped unless a filter renders them."""
    return _templates().get_template(template).render(values)


def _labelled(html: str, columns: Sequence[str]) -> str:
    """A table in HTML whose cells hold the names of their columns, which narrow pages show beside them."""

    def row(found: re.Match[str]) -> str:
        names = iter(columns)
        return re.sub("<td", lambda _: f'<td data-label="{escape(next(names).strip())}"', found[0])

    return re.sub(r"<tr>.*?</tr>", row, html, flags=re.DOTALL)


@functools.cache
def _templates() -> jinja2.Environment:
    """The templates, with filters for Markdown blocks and lines, tables, pictures and plain text."""
    # `html: False` shows tags in the Markdown instead of passing them on.
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("mtjax.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "markdown": lambda text: Markup(parser.render(text)),
        "inline": lambda text: Markup(parser.renderInline(text)),
        "table": lambda table: Markup(_labelled(parser.render(table_of(table)), table.columns)),
        "data": lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
        "plain": lambda text: "".join(part.content for part in parser.parseInline(text)[0].children or ()),
    }
    return found
