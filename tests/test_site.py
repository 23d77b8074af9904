"""The documentation site: built strictly, it has every page and every public name, and every link leads somewhere."""

import html
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

import pytest

from mtjax.objectives import OBJECTIVES
from tests.browser import dom, look, needs_browser
from tests.test_public_names import DOORS, NAMES

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"


def module(name):
    """A module of docs/site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "site"))
        return importlib.import_module(name)


formulas, links, reference = map(module, ("formulas", "links", "reference"))


def build(root, output):
    words = [sys.executable, "-m", "mkdocs", "build", "-f", root / "docs/site/mkdocs.yml", "-d", output]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does: a warning fails it. Some eleven CPU seconds."""
    output = tmp_path_factory.mktemp("site")
    done = build(ROOT, output)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return output


@pytest.fixture(scope="module")
def pages(site):
    """The text of each page by its place in the site."""
    return {file.relative_to(site).as_posix(): file.read_text() for file in site.rglob("*.html")}


@pytest.fixture(scope="module")
def anchors(pages):
    """The places of each page that a link may lead to."""
    return {name: set(re.findall(r' (?:id|name)="([^"]+)"', text)) for name, text in pages.items()}


def test_every_public_name_is_on_a_page_of_the_reference(anchors):
    there = set().union(*(places for name, places in anchors.items() if name.startswith("api/")))
    assert len(reference.public_names()) > 2000
    assert sorted(reference.public_names() - there) == []
    assert {f"mtjax.{door}" for door in DOORS} <= there
    for name, wanted in NAMES.items():
        for one in wanted:
            found = getattr(importlib.import_module(name), one)
            own = getattr(found, "__module__", "").startswith("mtjax.") and hasattr(found, "__qualname__")
            places = {f"{found.__module__}.{found.__qualname__}"} if own else {f"{name}.{one}", f"{name}.base.{one}"}
            assert places & there, f"{name}.{one}"


def test_every_method_is_documented_with_its_formula(pages, site):
    for name, objective in OBJECTIVES.items():
        text = pages[f"api/{objective.__module__}.html"]
        assert f'id="{objective.__module__}.{objective.__qualname__}"' in text
        assert "<math" in text, f"no formula is drawn on the page of {name}"
    found = (site / "search" / "search_index.json").read_text()
    assert all(f'"objectives.html#{name}"' in found for name in OBJECTIVES)


def test_every_link_leads_to_a_page_and_place_of_the_site(site, anchors, pages):
    lost = []
    for name, text in pages.items():
        text = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        for link in re.findall(r' (?:href|src)="([^"]*)"', text):
            address = urllib.parse.urlsplit(html.unescape(link))
            if address.scheme or name == "404.html":
                continue
            file = (site / name).parent / urllib.parse.unquote(address.path) if address.path else site / name
            there = os.path.relpath(file, site)
            if not file.exists():
                lost.append((name, link))
            elif address.fragment and there in anchors and address.fragment != "__tabbed":
                place = urllib.parse.unquote(address.fragment)
                lost += [(name, link)] if place not in anchors[there] and place != "__skip" else []
    assert lost == []


def test_the_site_needs_no_network(site, pages):
    """Nothing is loaded from elsewhere: no script, style, font or picture."""
    for name, text in pages.items():
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"(\w+:)?//[^\"]*\"", text)
        assert not loaded, (name, loaded)
    for file in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", file.read_text()), file


def test_every_page_is_in_the_list_of_pages():
    """docs/index.md lists every page; the navigation of the site is made from it."""
    listed = [address for pages in links.listed().values() for address in pages]
    assert len(listed) == len(set(listed)), "a page is listed twice"
    assert [address for address in listed if not (DOCS / address).exists()] == []
    folders = tuple(address for address in listed if address.endswith("/"))
    pages = [file.relative_to(DOCS).as_posix() for kind in ("md", "ipynb") for file in DOCS.rglob(f"*.{kind}")]
    assert sorted(page for page in pages if not page.startswith(folders) and page not in listed) == ["index.md"]


@pytest.mark.slow
def test_a_broken_reference_fails_the_build(tmp_path):
    """One of each kind: a page, a heading, a public name in brackets, and one in a code span."""
    for name in ("docs", "mtjax"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "terms.md").open("a") as page:
        page.write("\n[a](gone.md) [b](data.md#gone) [c][mtjax.gone] `mtjax.types.Gone` [d](../mtjax/gone.py)\n")
    done = build(tmp_path, tmp_path / "site")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    for part in ("gone.md", "data.md#gone", "mtjax.gone", "`mtjax.types.Gone`", "Aborted"):
        assert part in said, said


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("p^q", "<msup><mi>p</mi><mrow><mi>q</mi></mrow></msup>"),
        ("-log p_t", '<mo stretchy="false">−</mo><mi>log</mi><mspace width="0.2em"/><msub><mi>p</mi><mi>t</mi></msub>'),
        ("2^-1", "<msup><mn>2</mn><mrow><mo>−</mo><mn>1</mn></mrow></msup>"),
        ("x_t <= 1", '<msub><mi>x</mi><mi>t</mi></msub><mo stretchy="false">≤</mo><mn>1</mn>'),
        ("sum_t l_t", '<munder><mo>∑</mo><mi>t</mi></munder><mspace width="0.2em"/><msub><mi>l</mi><mi>t</mi></msub>'),
        (
            "lambda0 + pi_ref",
            '<msub><mi>λ</mi><mn>0</mn></msub><mo stretchy="false">+</mo><msub><mi>π</mi><mi>ref</mi></msub>',
        ),
        ("sqrt(1 - r)", '<msqrt><mrow><mn>1</mn><mo stretchy="false">−</mo><mi>r</mi></mrow></msqrt>'),
        ("nll_weight * r'", '<mtext>nll_weight</mtext><mo stretchy="false">·</mo><msup><mi>r</mi><mo>′</mo></msup>'),
    ],
)
def test_plain_text_becomes_a_formula(text, drawn):
    assert formulas.is_formula(text) or text == "2^-1"
    made = formulas.mathml(text)
    assert made == f'<span class="formula"><math alttext="{html.escape(text)}"><mrow>{drawn}</mrow></math></span>'


def test_a_fraction_is_drawn_only_where_there_is_no_doubt():
    count = lambda text: formulas.mathml(text, display=True).count("<mfrac>")
    assert count("sum_t w_t l_t / sum_t w_t") == 1  # a sum by a sum
    assert count("(1 - p^q) / q") == 1
    assert count("1 - h(x) / h(1)") == 0  # h times (1)?
    assert count("sum_i g_i / n") == 0  # in the sum, or of it
    assert count("a / b / c") == count("a / b c") == 0
    assert formulas.mathml("a / b").count("<mfrac>") == 0  # in running text


@pytest.mark.parametrize(
    "text",
    ["n = 1", "[B, T, V]", "--steps=60", "data/tokens", "optim.rate", "f(x, y=1)", "max(rows // 2, 1)", "text + end",
     "key -> params", "a <- b", "time/step", "12 + 7 = 19", "(a - b", "x == 1", "x if y > 0 else z", "beta", "a_b"],
)  # fmt: skip
def test_code_stays_code(text):
    assert formulas.is_formula(text) == (text == "n = 1" or text == "a_b")


def test_names_in_code_spans_are_found_where_they_are_documented():
    dco = "mtjax.objectives.dco"
    assert links.named("dco_weight", f"{dco}.Dco") == f"{dco}.dco_weight"
    assert links.named("mtjax/objectives/dco.py", "") == links.named(dco, "") == dco
    assert links.named("Dco", f"{dco}.Dco") == links.named("steps", dco) == ""
    assert not links.is_dead("mtjax.types.Batch.tokens")
    assert not links.is_dead("mtjax.types.Params")
    assert links.is_dead("mtjax.objectives.dcoo.Dco")
    assert links.is_dead("mtjax.types.Gone")


def test_a_comment_behind_a_setting_documents_it(pages):
    assert module("docstrings").comment_in("width: int = 64  # Width D; even.  # noqa: E501") == "Width D; even."
    assert module("docstrings").comment_in('sign: str = "#"') == ""
    assert module("docstrings").comment_in(")  # End of a call.") == "End of a call."
    shown = module("docstrings").with_blocks("What.\n\n>>> f(1)\n2\n\nMore.")
    assert shown == "What.\n\n```pycon\n>>> f(1)\n2\n```\n\nMore."
    assert "Width of the residual stream, D." in pages["api/mtjax.model.decoder.html"]


LOOKED_AT = ["index", "tour", "objectives", "sharding", "notebooks/learn_from_mistakes", "decisions/index", "api/index"]
LOOKED_AT += ["api/mtjax.objectives.dpo", "api/mtjax.optim"]


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_fits_and_can_be_read(name, width, dark, site):
    found = look(site / f"{name}.html", width, dark)
    assert (found["width"], found["dark"]) == (width, dark)
    assert found["texts"] > 20
    assert found["scroll"] <= width
    assert found["over"] == []
    assert found["contrast"] >= 4.5, found["worst"]
    assert found["silent"] == 0


@needs_browser
def test_the_search_works_in_files_that_no_server_serves(site):
    found = dom(f"file://{site}/index.html?q=coverage", "--virtual-time-budget=15000")
    assert int(re.search(r"(\d+) matching documents", found)[1]) > 10
