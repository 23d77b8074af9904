"""Pages in a browser at 1,400 and 390 pixels, light and dark: they fit, can be read, and pictures have a text.

Needs Chromium (`apt-get install chromium`); the pages come from the templates that every command uses.
"""

import pathlib

import pytest

from mtjax import explain
from mtjax.reporting.intervals import Interval
from mtjax.reporting.markdown import code_block
from mtjax.reporting.plots import Curve, panels_plot
from mtjax.reporting.report import Report, Table, section, write_report
from tests.browser import NEEDS_BROWSER, look

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    wide = Interval(0.5, 0.4, 0.6, 0.95)
    columns = ("arm", "learning rate", "pass@1", "less right only", "pass@8", "less right only ", "maj@8", "greedy")
    rows = [[f"an arm with a long name {n}", "0.001", wide, wide, wide, wide, wide, 0.5] for n in range(4)]
    curves = {f"arm {n}": Curve([0, 1, 2], [n, 1.0, 2.0]) for n in range(5)}
    picture = panels_plot("x", {"one": curves, "two": curves}, x_label="x", y_label="y", caption="Two panels.")
    code = code_block("python -m mtjax.train configs/tiny.py objective:nll --optim.learning_rate=1e-3 " * 2)
    parts = [
        section("First", f"Text with `code`.\n\n{code}", Table(columns, rows, "A caption."), picture),
        section("2"),
    ]
    return write_report(Report("A title", [*parts, section("3")], "The lead."), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """The page of `mtjax.explain`: tokens in the colour of their loss; marks of white space are faint on purpose."""
    folder = tmp_path_factory.mktemp("explained")
    config = pathlib.Path(__file__).parents[2] / "configs" / "tiny.py"
    words = [str(config), "--examples=2", f"--html={folder / 'page.html'}", f"--run_dir={folder / 'none'}"]
    assert explain.main(words) == 0
    return folder / "page.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_a_page_of_explain_fits_and_can_be_read(explained, width, dark):
    found = look(explained, width, dark)
    assert (found["width"], found["dark"], found["scroll"]) == (width, dark, width)
    assert not found["over"]
    assert found["contrast"] >= 4.5, found["worst"]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_a_report_fits_and_can_be_read(page, width, dark):
    found = look(page, width, dark)
    assert found["width"] == width
    assert found["dark"] == dark
    assert found["scroll"] == width
    assert not found["over"]
    assert found["contrast"] >= 4.5, found["worst"]
    assert found["silent"] == 0
    assert found["picture"] == (630 if width == 390 else 1350)
