"""What MkDocs does not do by itself for the site: navigation from docs/index.md, pages that are made, links, formulas.

MkDocs calls the functions named `on_...`; a warning fails the build (`strict`).
"""

import logging
import re

import formulas
import links
import notebooks
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.mtjax")
SPAN = re.compile(r'<pre.*?</pre>|id="(?P<anchor>mtjax\.[\w.]+)"|<code>(?P<code>[^<]+)</code>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation: home, the sections of docs/index.md in their order, and the reference."""
    logging.getLogger("mkdocs").setLevel(logging.WARNING)  # `-q` would hide warnings from `strict`
    made = [{"API": links.reference_nav()}, {"Project": links.PROJECT_NAV}]
    config.nav = [{"Home": "index.md"}, *links.sections(), *made]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the pictures of notebooks."""
    files.remove(files.get_file_from_path("index.md"))  # the list of pages; README.md is the home page
    made: dict[str, str | bytes] = {**links.project_pages(), **links.folder_pages(), **links.example_pages()}
    made |= reference.pages()
    for notebook in sorted((links.DOCS / "notebooks").glob("*.ipynb")):
        made |= notebooks.page(notebook)
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that hold in the repository become links that hold on the site."""
    return links.on_site(sections_of_table(markdown), page.file.src_uri)


def sections_of_table(markdown: str) -> str:
    """Rows of a table of methods as a section each, so that search and table of contents find every method."""

    def section(row: str) -> str:
        name, formula, needs, *rest = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        parts = [f"### {name}", f"Formula: {formula}", needs and f"Needs {needs}.", *rest[:1], f"Source: {rest[1]}"]
        return "\n\n".join(part.replace("\\|", "|") for part in parts if part and part != "Source: ") + "\n"

    table = re.compile(r"^\| name \| formula \| needs \|.*\n\|[- |]+\n((?:\|.*\n?)+)", re.MULTILINE)
    return table.sub(lambda found: "\n".join(map(section, found[1].splitlines())), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Code spans that are formulas become MathML, and those that are public names become links."""
    scope = ""

    def replace(found: re.Match) -> str:
        nonlocal scope
        if found["code"] is None:
            scope = found["anchor"] or scope
            return found[0]
        text = links.unescape(found["code"])
        if formulas.is_formula(text):
            before = found.string[: found.start()]
            return formulas.mathml(text, display=before.endswith(("Formula: ", "<td>", "<dd>", "<p>")))
        if name := links.named(text, scope):
            return f'<autoref identifier="{name}" optional>{found[0]}</autoref>'
        if links.is_dead(text) and page.file.src_uri != "changelog.md":  # history has names that moved
            log.warning("%s: `%s` is no module or public name of mtjax", page.file.src_uri, text)
        return found[0]

    return SPAN.sub(replace, html)
