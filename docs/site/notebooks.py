"""Notebooks as pages of the site; run as a script (`make notebooks`), their outputs are made again."""

import base64
import json
import pathlib
import re
import sys
import tempfile
import time
from typing import Any

import links

FOLDER = links.DOCS / "notebooks"
BADGE = re.compile(r"\[!\[Open in Colab\]\(.*?\)\]\((.*?)\)\n\n")
IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"


def page(file: pathlib.Path) -> dict[str, str | bytes]:
    """The page of a notebook by its address, and its pictures and frames by theirs."""
    parts: list[str] = []
    beside: dict[str, str | bytes] = {}
    for number, cell in enumerate(json.loads(file.read_text())["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(_fenced(text, "python"))
        for place, output in enumerate(cell["outputs"]):
            data, name = output.get("data", {}), f"{file.stem}_{number}_{place}"
            if "image/png" in data:
                beside[f"notebooks/{name}.png"] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![Plot of the cell above]({name}.png)")
            elif "text/html" in data:
                beside[f"notebooks/{name}.html"] = "".join(data["text/html"])
                parts.append(f'<iframe class="output" title="Page of the cell above" src="{name}.html"></iframe>')
            else:
                parts.append(_fenced("".join(output.get("text", data.get("text/plain", ""))), "text"))
    title, _, rest = "\n\n".join(parts).partition("\n")
    colab = BADGE.search(rest)
    door = '<a class="md-button" href="{}">{}</a>'
    doors = [door.format(colab[1], "Open in Colab")] if colab else []
    doors.append(door.format(file.name, "Download"))
    return {f"notebooks/{file.stem}.md": f"{title}\n\n{' '.join(doors)}\n{BADGE.sub('', rest)}", **beside}


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"


def colab(file: pathlib.Path) -> str:
    """Where Colab opens a notebook: from the project's address on GitHub, or by an upload while there is none."""
    owner = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)(?:\.git)?/?", links.repository())
    if not owner:
        return "https://colab.research.google.com/#upload=true"
    return f"https://colab.research.google.com/github/{owner[1]}/blob/main/docs/notebooks/{file.name}"


def addressed(notebook: Any, file: pathlib.Path) -> Any:
    """The notebook with the project's address in its badge and its first cell of code."""
    cells = [cell | {"source": "".join(cell["source"])} for cell in notebook["cells"]]
    title, _, rest = cells[0]["source"].partition("\n\n")
    cells[0]["source"] = f"{title}\n\n[![Open in Colab]({IMAGE})]({colab(file)})\n\n{BADGE.sub('', rest)}"
    install = next(cell for cell in cells if cell["cell_type"] == "code")
    address = f'REPOSITORY = os.environ.get("MTJAX_REPOSITORY", "{links.repository()}")'
    install["source"] = re.sub(r"^REPOSITORY = .*$", address, install["source"], flags=re.MULTILINE)
    return notebook | {"cells": [cell | {"source": cell["source"].splitlines(keepends=True)} for cell in cells]}


def executed(notebook: Any) -> Any:
    """The notebook with the outputs of a run from top to bottom, in a new folder; texts for the log are left out."""
    import nbclient
    import nbformat

    made = nbformat.reads(json.dumps(notebook), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(made, timeout=3600, resources={"metadata": {"path": folder}}).execute()
    for cell in made.cells:
        cell.metadata.pop("execution", None)
    made.metadata = notebook["metadata"]  # without versions of this machine
    return with_few_outputs(json.loads(nbformat.writes(made)))


def with_few_outputs(notebook: Any) -> Any:
    """The notebook without texts for the log, with the lines of a cell as one output, and pages once."""
    for cell in notebook["cells"]:
        kept: list[Any] = []
        for output in cell.get("outputs", []):
            if "text/html" in (data := output.get("data", {})):  # the same once more as text
                data["text/plain"] = [f"<page of {len(''.join(data['text/html'])):,} characters>"]
            if output.get("name") == "stdout" and kept and kept[-1].get("name") == "stdout":
                kept[-1]["text"] = [*kept[-1]["text"], *output["text"]]
            elif output.get("name") != "stderr":
                kept.append(output)
        if cell["cell_type"] == "code":
            cell["outputs"] = kept
    return notebook


def main() -> None:
    """Execute the notebooks that are named, or all, and write them with their outputs."""
    for file in [pathlib.Path(word) for word in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        began = time.monotonic()
        notebook = executed(addressed(json.loads(file.read_text()), file))
        file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        print(f"{file.name}  {file.stat().st_size:,} bytes  {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
