"""Words of the field are explained where they first stand on a page: there, or by a link to docs/terms.md."""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parent.parent / "docs"
PAGES = [page for page in (*DOCS.glob("*.md"), *DOCS.glob("recipes/*.md")) if not page.stem.endswith("report")]
GENERATED = ("objectives.md", "index.md", "state.md", "terms.md")  # lists, which link to the pages that explain


@pytest.mark.parametrize("word", ["pass@k", "maj@k", "forward position"])
def test_a_word_is_explained_where_it_first_stands(word):
    for page in PAGES:
        text = re.sub(r"^```.*?^```|`[^`\n]*`|^#[^\n]*$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        if word in text and page.name not in GENERATED:
            first = text[: text.index(word)].rfind("[")
            assert re.match(r"\[[^\]]*\]\((\.\./)?terms\.md\)", text[first:]), f"{page.name}: {word}"
    terms = (DOCS / "terms.md").read_text()
    assert f"| {word} |" in terms
