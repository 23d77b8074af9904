"""Pages in a browser at 1,400 and 390 pixels, light and dark: they fit, can be read, and pictures have a text.

Needs Chromium (`apt-get install chromium`); the pages come from the templates that every command uses.
"""

import json
import re
import shutil
import subprocess

import pytest

from mtjax.reporting.intervals import Interval
from mtjax.reporting.markdown import code_block
from mtjax.reporting.plots import Curve, panels_plot
from mtjax.reporting.report import Report, Table, section, write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine"),
]

LOOK = """<script>addEventListener("load", () => {
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => { x /= 255;
    return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4 });
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)|transparent/.test(c)) return c } return "rgb(255, 255, 255)" };
  const texts = [...document.querySelectorAll("p, td, th, li, a, h1, h2, code, figcaption")]
    .filter(e => e.innerText && e.innerText.trim() && e.getClientRects().length);
  const contrast = e => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) };
  const over = [...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  const found = { width: innerWidth, scroll: document.documentElement.scrollWidth,
    contrast: Math.min(...texts.map(contrast)), silent: [...document.images].filter(i => !i.alt).length,
    dark: matchMedia("(prefers-color-scheme: dark)").matches, picture: document.images[0].naturalWidth,
    over: over.filter(e => !e.closest("pre")).map(e => e.tagName) };
  parent.postMessage(JSON.stringify(found), "*") })</script>"""

FRAME = """<body><iframe src="{name}" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>addEventListener("message", e => document.body.innerText = "FOUND" + e.data + "END")</script></body>"""
"""A window has at least 500 pixels; a frame in it has any width."""


def look(page, width, dark):
    """What the browser finds in a page."""
    copy, frame = page.with_name("looked.html"), page.with_name("frame.html")
    copy.write_text(page.read_text().replace("</body>", f"{LOOK}</body>"))
    frame.write_text(FRAME.format(name=copy.name, width=width))
    words = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1500,1000",
        "--dump-dom",
    ]
    words += ["--virtual-time-budget=5000", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    done = subprocess.run([*words, f"file://{frame}"], capture_output=True, text=True, timeout=120)
    return json.loads(re.search(r"FOUND(\{.*?\})END", done.stdout, re.DOTALL)[1])


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


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_a_report_fits_and_can_be_read(page, width, dark):
    found = look(page, width, dark)
    assert found["width"] == width
    assert found["dark"] == dark
    assert found["scroll"] == width
    assert not found["over"]
    assert found["contrast"] >= 4.5
    assert found["silent"] == 0
    assert found["picture"] == (630 if width == 390 else 1350)
