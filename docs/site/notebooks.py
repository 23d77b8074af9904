"""Notebooks as pages: their text, code and committed outputs."""

import base64
import json
import pathlib
import re


def page(file: pathlib.Path) -> dict[str, str | bytes]:
    """The page of a notebook by its address, and its pictures by theirs."""
    parts, pictures = [], {}
    for number, cell in enumerate(json.loads(file.read_text())["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(_fenced(text, "python"))
        for place, output in enumerate(cell["outputs"]):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{file.stem}_{number}_{place}.png"
                pictures[f"notebooks/{name}"] = base64.b64decode("".join(data["image/png"]))
                alt = re.sub(r"[\[\]\n]", " ", "".join(data["text/plain"]))
                parts.append(f"![{alt}]({name})")
            elif "text/html" in data:
                parts.append(f'<div class="output" markdown="0">{"".join(data["text/html"])}</div>')
            else:
                parts.append(_fenced("".join(output.get("text", data.get("text/plain", ""))), "text"))
    note = f"[This notebook as a file]({file.name}){{ .md-button }}"
    title, _, rest = "\n\n".join(parts).partition("\n")
    return {f"notebooks/{file.stem}.md": f"{title}\n\n{note}\n{rest}", **pictures}


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"
