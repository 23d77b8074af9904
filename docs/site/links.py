"""Links and navigation of the site: what docs/index.md lists, and links of the repository as links of the site."""

import html
import os
import pathlib
import posixpath
import re

import reference

ROOT = reference.ROOT
DOCS = ROOT / "docs"
PROJECT = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
"""Pages that are files of the repository's top level."""
PROJECT_NAV = [{"All pages": "all_pages.md"}, {"Contributing": "contributing.md"}, {"Changelog": "changelog.md"}]
LINK = re.compile(r"```.*?```|(?P<text>!?\[[^\[\]]*\])\((?P<address>[^)\s]+)\)", re.DOTALL)
NOT_NAMES = {"mtjax.jsonl"}


def repository() -> str:
    """The project's address on the web: MTJAX_REPOSITORY or `mtjax.REPOSITORY`; "" where neither is set."""
    found = re.search(r'^REPOSITORY = "(.*)"', (ROOT / "mtjax" / "__init__.py").read_text(), re.MULTILINE)
    return os.environ.get("MTJAX_REPOSITORY") or (found[1] if found else "")


def listed() -> dict[str, dict[str, str]]:
    """The sections of docs/index.md, each with the titles of its pages by their addresses."""
    text = (DOCS / "index.md").read_text()
    parts = re.split(r"^\*\*(.+?)\*\*.*$", text, flags=re.MULTILINE)[1:]
    return {
        name: {address: " ".join(title.split()) for title, address in re.findall(r"\[([^\]]+)\]\(([^)#:]+)\)", body)}
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def sections() -> list[dict]:
    """The navigation of what docs/index.md lists; a folder is a section with all of its pages."""
    made = []
    for name, pages in listed().items():
        entries: list[dict] = []
        for address, title in pages.items():
            if address.endswith("/"):
                entries.append({title: [f"{address}index.md", *in_folder(address)]})
            else:
                title = title_of(DOCS / address) if title[0].islower() else title
                entries.append({title: address.replace(".ipynb", ".md")})
        made.append({name: entries})
    return made


def in_folder(folder: str) -> list[str]:
    """The addresses of the pages in a folder of docs/."""
    return [file.relative_to(DOCS).as_posix() for file in sorted((DOCS / folder).glob("*.md"))]


def reference_nav() -> list:
    """The navigation of the reference: packages, and below the large ones their modules."""
    made: dict[str, list] = {"": ["api/index.md"]}
    for page in reference.pages():
        name = page.removeprefix("api/").removesuffix(".md").removesuffix("/index")
        package, _, module = name.rpartition(".")
        if package in made and not (ROOT / name.replace(".", "/")).is_dir():
            made[package].append({module: page})
        elif name != "index":
            made[name] = [page]
    return [*made.pop(""), *({name: entries if entries[1:] else entries[0]} for name, entries in made.items())]


def project_pages() -> dict[str, str]:
    """The pages that are files of the top level, and the list of all pages."""
    made = {page: (ROOT / file).read_text() for page, file in PROJECT.items()}
    return made | {"all_pages.md": (DOCS / "index.md").read_text()}


def folder_pages() -> dict[str, str]:
    """A page for each folder that docs/index.md lists, with the titles of what is in it."""
    made = {}
    for pages in listed().values():
        for folder, title in pages.items():
            if folder.endswith("/"):
                rows = [f"- [{title_of(DOCS / page)}]({posixpath.basename(page)})" for page in in_folder(folder)]
                made[f"{folder}index.md"] = f"# {title}\n\n" + "\n".join(rows)
    return made


def example_pages() -> dict[str, str]:
    """A page for each program in docs/examples and its folders."""
    pages = {file.relative_to(DOCS).with_suffix(".md"): file for file in sorted((DOCS / "examples").rglob("*.py"))}
    return {str(page): f"# {file.name}\n\n```python\n{file.read_text()}```\n" for page, file in pages.items()}


def title_of(page: pathlib.Path) -> str:
    """The first heading of a page."""
    found = re.search(r"^# (.*)$", page.read_text(), re.MULTILINE)
    return found[1] if found else page.stem


def on_site(markdown: str, page: str) -> str:
    """The text of a page with links that hold on the site, where they held in the repository."""
    source = PROJECT.get(page, "docs/index.md" if page == "all_pages.md" else f"docs/{page}")

    def replace(found: re.Match) -> str:
        text, address = found["text"], found["address"]
        if text is None or re.match(r"\w+:|#|mailto", address):
            return found[0]
        path, hash_, place = address.partition("#")
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        return f"{text}({_address(whole, page)}{hash_}{place})" if _address(whole, page) else text[1:-1]

    return LINK.sub(replace, markdown)


def _address(file: str, page: str) -> str:
    """Where a file of the repository is, seen from a page of the site; "" where it is not."""
    top = {file: page for page, file in PROJECT.items()} | {"docs/index.md": "all_pages.md"}
    module = file.removesuffix(".py").replace("/", ".")
    if file in top:
        there = top[file]
    elif file.startswith("docs/"):
        there = re.sub(r"\.(ipynb|py)$", ".md", file.removeprefix("docs/"))
        there += "/index.md" if (ROOT / file).is_dir() else ""
    elif module in reference.public_names():
        there = reference.page_of(module)
    else:
        return f"{repository()}/blob/main/{file}" if repository() else ""
    return posixpath.relpath(there, posixpath.dirname(page) or ".")


def unescape(text: str) -> str:
    """The text of a code span."""
    return " ".join(html.unescape(text).split())


def named(text: str, scope: str) -> str:
    """The public name or module that a code span means where `scope` is documented; "" where it means none."""
    if re.fullmatch(r"mtjax(/\w+)+\.py", text):
        text = text.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if not re.fullmatch(r"[A-Za-z_][\w.]*", text):
        return ""
    known, place = reference.public_names(), scope
    if text in known:
        return text if "." in text else ""
    while place:
        if f"{place}.{text}" in known and place != "mtjax":
            return f"{place}.{text}" if f"{place}.{text}" != scope else ""
        place = place.rpartition(".")[0]
    return ""


def is_dead(text: str) -> bool:
    """Whether a code span reads as a name of mtjax, and there is no such module, public name or attribute of one."""
    if not re.fullmatch(r"mtjax(\.\w+)+", text) or text in NOT_NAMES:
        return False
    of_modules = {module.name: module for module in reference.modules()}
    parts = text.split(".")
    longest = max(end for end in range(1, len(parts) + 1) if ".".join(parts[:end]) in of_modules)
    return longest < len(parts) and parts[longest] not in of_modules[".".join(parts[:longest])].bound
