"""The page docs/papers.md from the table docs/papers.toml: `python docs/site/papers.py` writes it.

tests/papers/test_table.py checks the table: every paper has a test file of its own, commands and links exist, and the
page is what this module makes.
"""

import pathlib
import tomllib
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
TABLE, PAGE = ROOT / "docs" / "papers.toml", ROOT / "docs" / "papers.md"
NOT_YET = "not yet"
STATES = ("works", "partly", "example", "page", NOT_YET)
OPENING = """# Papers

mtjax is built from 58 papers on learning from mistakes. Made by `python docs/site/papers.py` from `docs/papers.toml`.

A paper works when a command, a config or a documented function reaches what it proposed, and a test checks it:
`python -m pytest tests/papers` has one test file for each number. `RUN`, `MODEL` and file names in capitals or of your
own stand for yours; the other commands run as they stand, from the folder of the repository.

## Which recipe when

What you have, what you want, and where to begin. Numbers are those of the papers below.

| you have | you want | use | command | papers |
| --- | --- | --- | --- | --- |
"""


def read() -> dict[str, list[dict[str, Any]]]:
    """The table: its papers and situations."""
    return tomllib.loads(TABLE.read_text())


def test_files(number: int) -> list[str]:
    """The files with the checks of a paper, by its number; relative to the repository."""
    found = (ROOT / "tests" / "papers").glob(f"test_paper_{number:02}_*.py")
    return sorted(file.relative_to(ROOT).as_posix() for file in found)


def heading(paper: dict[str, Any]) -> str:
    """The heading of a paper."""
    return f"{paper['number']}. {paper['title']}"


def section(paper: dict[str, Any]) -> str:
    """A paper with its state, what there is, the command, the check, and what differs."""
    lines = [f"### {heading(paper)}", "", f"arXiv {paper['arxiv']} · {paper['state']}", "", paper["has"], ""]
    if paper["state"] != NOT_YET:
        checks = ", ".join(f"`{file}`" for file in test_files(paper["number"]))
        lines += ["```", paper["command"], "```", "", f"Check: {checks}", ""]
    return "\n".join([*lines, f"What differs: {paper['differs']}", ""])


def page() -> str:
    """The complete page."""
    table = read()
    rows = [
        f"| {one['have']} | {one['want']} | {one['use']} | `{one['command']}` | {', '.join(map(str, one['papers']))} |"
        for one in table["situation"]
    ]
    papers = sorted(table["paper"], key=lambda paper: paper["number"])
    counts = ", ".join(f"{sum(one['state'] == state for one in papers)} {state}" for state in STATES)
    head = OPENING + "\n".join(rows) + f"\n\n## The papers\n\nOf {len(papers)}: {counts}.\n\n"
    return head + "\n".join(map(section, papers))


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
