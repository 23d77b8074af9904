"""Data in a terminal and as an HTML page: facts, lengths, and the first examples with their targets marked."""

import io
import pathlib

from rich.console import Console
from rich.text import Text

from mtjax.inspection.data_view import DataView, ShownText
from mtjax.inspection.html import glyphs
from mtjax.inspection.token_texts import visible
from mtjax.reporting.page import render
from mtjax.reporting.report import format_table

STYLES = {True: "black on color(157)", False: "black on color(217)"}  # Of targets: positive weight, negative weight.
MARKS = ("[[", "]]")  # Around targets where there is no colour.


def to_text(view: DataView, *, width: int = 80, colour: bool = False) -> str:
    """The view as lines for a terminal; `colour` marks targets with ANSI codes instead of brackets."""
    indent = max(len(name) for name, _ in view.facts)
    lines = [Text(view.title, "bold"), *(Text(f"{name:<{indent}}  {text}") for name, text in view.facts)]
    lines += [Text(f"{'note':<{indent}}  {note}") for note in view.notes]
    lines += [Text(f"\n{format_table(view.lengths)}".rstrip())]
    if view.examples:
        key = "targets have a colour" if colour else f"targets stand in {' '.join(MARKS)}"
        lines += [Text(f"\nfirst examples: {key}; · space, ↵ line break", "dim")]
    for example in view.examples:
        place = "" if example.name.startswith(pathlib.PurePath(example.place).name) else example.place
        lines += [Text(f"\n{example.name}  {place}".rstrip(), "bold")]
        for text in example.texts:
            lines += [Text(f"{text.label}: {text.summary}".removeprefix(": "), "dim"), _marked(text, colour)]
    page = Text("\n").join(lines)
    if not colour:
        return "\n".join(line.rstrip() for line in page.plain.splitlines()) + "\n"
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="256", no_color=False, width=width)
    console.print(page, soft_wrap=True)
    return file.getvalue()


def _marked(text: ShownText, colour: bool) -> Text:
    """The tokens of a text, with targets marked."""
    out, inside = Text("  "), False
    for token in text.tokens:
        if not colour and token.target != inside:
            out.append(MARKS[inside])
            inside = token.target
        out.append(visible(token.text).replace("\n", "\n  "), STYLES[token.weight > 0] if token.target else "dim")
    if inside:
        out.append(MARKS[1])
    out.rstrip()
    return out


def to_page(view: DataView) -> str:
    """The view as the text of an HTML file, which loads nothing from the network."""
    return render("data.html", view=view, glyphs=glyphs)
