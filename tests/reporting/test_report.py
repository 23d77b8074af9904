"""The report: one self-contained page, the same bytes every time; tables as text; plots that are pictures."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.evaluation.coverage import coverage_table
from mtjax.reporting.intervals import Interval
from mtjax.reporting.plots import Arm, Curve, Gap, arms_plot, coverage_plot, curves_plot, gap_plot
from mtjax.reporting.report import Figure, Report, Table, format_table, section, show, write_report

HALF = Interval(0.5, 0.4, 0.6, 0.95)
TABLE = Table(("arm", "pass@1", "tokens"), (("start <1>", HALF, 12_000), ("`nll`", 0.25, None)), "Means & intervals.")
PNG = b"\x89PNG\r\n\x1a\n"


class Tags(HTMLParser):
    """Checks that tags close in order, and collects what a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.seen = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in {"meta", "img", "source"}:
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "srcset", "href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


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
    assert "0.500 <small>[0.400, 0.600]</small>" in page
    assert "<p>Two lines <strong>bold</strong>.</p>" in page
    assert "<ul><li>a</li><li>b &lt;i&gt;</li></ul>" in page
    assert 'alt="A &quot;plot&quot; of arms."' in page
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
