"""Reports: text, Markdown and one self-contained HTML page; data that is never read as markup; plots."""

import importlib.resources
import pathlib
import re
import struct
import tomllib
from html.parser import HTMLParser

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.evaluation.coverage import coverage_table
from mtjax.reporting.intervals import Interval
from mtjax.reporting.markdown import code_block, escape, markdown_of
from mtjax.reporting.page import to_html
from mtjax.reporting.plots import Arm, Curve, Gap, arms_plot, coverage_plot, curves_plot, gap_plot, panels_plot
from mtjax.reporting.report import Figure, Report, Section, Table, format_table, section, show, to_text, write_report

ROOT = pathlib.Path(__file__).parents[2]
HALF = Interval(0.5, 0.4, 0.6, 0.95)
TABLE = Table(("arm", "pass@1", "tokens"), (("start <1>", HALF, 12_000), ("`nll`", 0.25, None)), "Means & intervals.")
PNG = b"\x89PNG\r\n\x1a\n"


class Tags(HTMLParser):
    """Checks that tags close in order, and collects what a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "img", "source"}:
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "srcset", "href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_page_is_well_formed_and_asks_for_nothing(tmp_path):
    figure = Figure("arms", PNG + b"light", PNG + b"dark", 'A "plot" of **arms**.')
    sections = [
        section("First", "One `code`.\n\nTwo\nlines **bold**.\n\n- a\n- b <i>", TABLE, figure),
        section("2"),
        section("3"),
    ]
    path = write_report(Report("Title & <tag>", sections, lead="The result."), tmp_path / "new" / "folder")
    page = path.read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert all(link.startswith(("data:image/png;base64,", "#section-")) for link in tags.fetched), tags.fetched
    assert not re.search(r"url\(|@import|<script|http", page)
    assert "Title &amp; &lt;tag&gt;" in page
    assert "start &lt;1&gt;" in page
    assert re.search(r'<td data-label="[^"]+" style="text-align:right">0.500 \[0.400, 0.600\]</td>', page)
    assert ">`nll`</td>" in page  # a cell is data
    assert "<p>Two\nlines <strong>bold</strong>.</p>" in page
    assert "<li>a</li>\n<li>b &lt;i&gt;</li>" in page
    assert 'alt="A &#34;plot&#34; of arms."' in page
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert files == {"report.html": page.encode(), "arms.png": PNG + b"light", "arms-dark.png": PNG + b"dark"}


def test_tables_as_text():
    assert format_table(TABLE).splitlines() == [
        "Means & intervals.",
        "arm                      pass@1  tokens",
        "---------  --------------------  ------",
        "start <1>  0.500 [0.400, 0.600]  12,000",
        "`nll`                     0.250       –",
    ]
    assert [show(cell) for cell in (1234.5, -1, "x", None)] == ["1,234.500", "-1", "x", "–"]
    with pytest.raises(InputError, match="1 cells for 2 columns"):
        format_table(Table(("a", "b"), (("x",),)))

    assert format_table(Table(("t", "n"), (("漢", 1), ("ab", 2)))).splitlines()[2:] == ["漢  1", "ab  2"]


HOSTILE = [
    "<script>alert(1)</script>",
    "**bold** *it* __under__ _u_ ~~gone~~ `code`",
    "[link](javascript:alert(1)) ![x](http://a/b.png) <http://a.b>",
    "[x]: http://a.b",
    "a | b \\| c \\",
    "&lt;b&gt; &amp; &#60;",
    "$x$ and $5",
    "# heading",
    "- item",
    "> quote",
    "1. one",
    "---",
    "===",
    "pass_at_k, 3 * 4 < 5 > 2",
    "</td></table><img src=x onerror=alert(1)>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_data_is_never_read_as_markup(text):
    """Neither in a cell, nor in a sentence or a block that was escaped, whatever the model wrote."""
    report = Report(
        "t", [Section("", escape(text)), section("s", code_block(text), Table(("name", text), ((text, 1),)))]
    )
    tags = Tags()
    page = to_html(report)
    tags.feed(page)
    body = page.split("</header>")[1]
    assert not re.search(r"<(script|strong|em|del|a|img|h1|ul|ol|blockquote|hr)\b", body)
    expected = " ".join(text.split())
    assert [" ".join(found.split()) for found in tags.texts].count(expected) == 4, tags.texts
    assert text in to_text(report)


def test_code_blocks_hold_any_fence_and_cells_any_line_break():
    page = to_html(Report("t", [section("s", code_block("a\n```\n<b>\n"), Table(("a",), (("x\n\n| y",),)))]))
    assert "<pre><code>a\n```\n&lt;b&gt;\n\n</code></pre>" in page
    assert '<td data-label="a">x↵↵| y</td>' in page


def test_templates_are_installed_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-data"]["mtjax.reporting"] == ["templates/*"]
    names = {file.name for file in (importlib.resources.files("mtjax.reporting") / "templates").iterdir()}
    assert {"page.html", "page.css", "report.html", "batch.html", "batch.css"} <= names


def test_markdown_page():
    figure = Figure("arms", PNG, None, "A plot.")
    report = Report("T", [section("One", "The result."), section("Two", "", TABLE, figure)], lead="The result.")
    assert markdown_of(report, "pictures/demo").splitlines() == [
        *("# T", "", "The result.", "", "## One", "", "## Two", "", "Means & intervals.", ""),
        "| arm       |               pass@1 | tokens |",
        "|-----------|---------------------:|-------:|",
        "| start <1> | 0.500 [0.400, 0.600] | 12,000 |",
        "| \\`nll\\`   |                0.250 |      – |",
        *("", "![A plot.](pictures/demo/arms.png)"),
    ]
    assert to_html(report).count("The result.") == 1


def test_text_of_a_report_is_wrapped():
    report = Report(
        "Title",
        [section("One", "**word** " * 30 + "\n\n- item\n- item\n\n" + code_block("x  y\nz"), TABLE)],
        lead="Lead.",
    )
    lines = to_text(report, width=40).splitlines()
    assert lines[:5] == ["Title", "=====", "", "Lead.", ""]
    assert max(map(len, lines[:-6])) <= 40
    assert "**" not in "".join(lines)
    assert [line.strip() for line in lines if "x  y" in line or line.strip() == "z"] == ["x  y", "z"]
    assert [line.strip() for line in lines].count("• item") == 2
    assert lines[-len(format_table(TABLE).splitlines()) :] == format_table(TABLE).splitlines()


def test_figures_may_not_share_a_name(tmp_path):
    twice = [section("a", figure=Figure("same", PNG)), section("b", figure=Figure("same", PNG))]
    with pytest.raises(InputError, match="share the name same"):
        write_report(Report("t", twice), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_written_report_is_replaced_whole_and_equal_input_gives_equal_bytes(tmp_path):
    arms = [Arm("start", {"pass@1": HALF}), Arm("tuned", {"pass@1": HALF}, {"pass@1": (0.45, 0.55)})]
    make = lambda: Report("t", [section("s", "", TABLE, arms_plot("arms", arms, ["pass@1"], caption="Arms."))])
    first = write_report(make(), tmp_path).read_bytes()
    assert write_report(make(), tmp_path).read_bytes() == first
    assert sorted(file.name for file in tmp_path.iterdir()) == ["arms-dark.png", "arms.png", "report.html"]


def test_every_plot_is_a_picture_for_light_and_dark_pages():
    rows = coverage_table([["1", "2"]] * 3, np.array([[True, False]] * 3), (1, 2))
    passes = {row.k: row.pass_at_k for row in rows}
    figures = [
        coverage_plot("coverage", {"start": passes, "tuned": passes}),
        curves_plot("loss", {"a": Curve([0, 1], [2.0, 1.0])}, x_label="step", y_label="nats", first=3),
        gap_plot("gap", [Gap("tuned", HALF, Interval(0.3, 0.2, 0.4, 0.95))]),
    ]
    for figure in figures:
        assert figure.light.startswith(PNG)
        assert figure.dark.startswith(PNG)
        assert figure.light != figure.dark
        assert b"Software" not in figure.light


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: arms_plot("x", [], ["pass@1"]), "needs arms"),
        (lambda: arms_plot("x", [Arm("a", {"pass@1": HALF})], ["maj@8"]), "'a' has no maj@8"),
        (lambda: curves_plot("x", {"a": Curve([0], [1.0, 2.0])}, x_label="", y_label=""), "1 x and 2 y"),
        (lambda: curves_plot("x", {}, x_label="", y_label=""), "at least one"),
        (lambda: gap_plot("x", []), "at least one"),
    ],
)
def test_plots_refuse(draw, said):
    with pytest.raises(InputError, match=said):
        draw()


def test_a_picture_for_phones_has_its_panels_below_each_other():
    width_and_height = lambda png: struct.unpack(">II", png[16:24])
    curves = {"a": Curve([0, 1], [0.0, 1.0]), "b": Curve([0, 1], [1.0, 0.0])}
    figure = panels_plot("x", {"one": curves, "two": curves, "three": curves}, x_label="x", y_label="y")
    wide, narrow = map(width_and_height, (figure.light, figure.narrow))
    assert wide[0] == 9 * 150
    assert narrow[0] == 630
    assert narrow[1] > 2 * wide[1]
    page = to_html(Report("t", [section("s", "", TABLE, figure)]))
    sources = re.findall(r'<source media="([^"]+)"', page)
    assert sources == [
        "(max-width: 40rem) and (prefers-color-scheme: dark)", "(max-width: 40rem)", "(prefers-color-scheme: dark)"
    ]  # fmt: skip
    assert re.findall(r'<td data-label="([^"]+)"', page)[: len(TABLE.columns)] == list(TABLE.columns)


def test_the_ninth_curve_is_not_drawn_like_the_first():
    """There are eight colours; after them lines are dashed."""
    curves = {"a": Curve([0, 1], [0.0, 1.0])}
    drawn = [panels_plot("x", {"one": curves}, x_label="x", y_label="y", first=n).light for n in (0, 0, 8)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_rows_of_a_group_share_a_colour():
    rows = lambda *colors: [Arm(f"row {n}", {"pass@1": HALF}, color=color) for n, color in enumerate(colors)]
    own, given, same = (arms_plot("x", rows(*colors), ["pass@1"]).light for colors in ((None, None), (0, 1), (0, 0)))
    assert own == given != same
    height = lambda count: struct.unpack(">I", arms_plot("x", rows(*[0] * count), ["pass@1"]).light[20:24])[0]
    assert height(40) < 1.5 * height(20)  # many rows stand closer
