"""A batch in the terminal: each text above rows of marks, one mark under each token."""

import io
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from mtjax.inspection.explanation import ExampleView, Explanation, TextView
from mtjax.inspection.token_texts import visible
from mtjax.reporting.report import format_table

SIDE_BY_SIDE = 100
"""Least width of a terminal in which chosen and rejected stand beside each other."""

HEAT = {5.0: 203, 3.0: 209, 1.5: 215, 0.5: 229}
"""Background colour of a target from each loss in nats on; targets of a smaller loss have none."""

LEGEND = (
    ". context, not trained",
    "0..9 loss of a target in whole nats, rounded down, 9 for more",
    "- weight that no loss reaches",
    "^ what differs, from the first difference at !",
    "· space  ↵ line break  … part of a character",
)


def to_text(found: Explanation, *, width: int = 80, colour: bool = False, tokens: bool = False) -> str:
    """The explanation as lines for a terminal of `width` columns.

    `colour` shades targets by their loss with ANSI codes, in addition to the marks; `tokens` adds a table with all
    numbers of every token.
    """
    name = max(len(fact) for fact, _ in (*found.facts, ("metrics", "")))
    lines = [Text(found.title, "bold")]
    lines += [Text(f"{fact:<{name}}  {text}") for fact, text in found.facts]
    lines += _listed("metrics", name, [f"{key} {value:.5g}" for key, value in found.numbers.items()], width)
    lines += _listed("key", name, LEGEND, width)
    for example in found.examples:
        lines += [Text(), *_example(example, width)]
        lines += [Text(f"\n{format_table(text.table())}") for text in example.texts if tokens]
    if found.left_out:
        lines += [Text(f"\n... and {found.left_out} more; --examples=0 shows all")]
    page = Text("\n").join(lines)
    if not colour:
        return f"{page.plain}\n"
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="256", no_color=False).print(page, soft_wrap=True)
    return file.getvalue()


def _listed(name: str, indent: int, items: Sequence[str], width: int) -> list[Text]:
    """Items after a name, two spaces apart, on as many lines as they need; no item is broken."""
    lines, line = [], f"{name:<{indent}}"
    for item in items:
        if len(line) > indent and len(line) + 2 + len(item) > width:
            lines.append(Text(line))
            line = " " * indent
        line += f"  {item}"
    return [*lines, Text(line)]


def _example(example: ExampleView, width: int) -> list[Text]:
    title = ", ".join([f"row {example.row}, segment {example.segment}: {example.name}", *example.notes])
    lines = [Text(title, "bold")]
    indent = max(len(f"  {text.label}".rstrip()) for text in example.texts)
    for text in example.texts:
        lines += _listed(f"  {text.label}".rstrip(), indent, text.summary(), width)
    if example.first_differences:
        sides = ["nothing" if side is None else "'{}' at token {}".format(*side) for side in example.first_differences]
        lines.append(Text(f"  first difference: {' against '.join(sides)}"))
    if len(example.texts) == 2 and width >= SIDE_BY_SIDE:
        half = (width - 3) // 2 - 2
        left, right = (_block(text, half) for text in example.texts)
        for number in range(max(len(left), len(right))):
            first, second = (block[number] if number < len(block) else Text() for block in (left, right))
            lines.append(Text.assemble("  ", first, " " * (half - first.cell_len), " | ", second))
    else:
        for text in example.texts:
            lines += [Text(f"  {text.label}:")] if len(example.texts) == 2 else []
            lines += [Text.assemble("  ", line) for line in _block(text, width - 2)]
    for line in lines:
        line.rstrip()
    return lines


def _block(text: TextView, width: int) -> list[Text]:
    """Lines of tokens, each followed by its rows of marks: loss, weight, difference."""
    odd = sorted({token.weight for token in text.tokens} - {0.0, 1.0})
    letters = {weight: chr(ord("a") + min(number, 25)) for number, weight in enumerate(odd)}
    lines: list[tuple[Text, list[str]]] = [(Text(), ["", "", ""])]
    for place, token in enumerate(text.tokens):
        heat = [f"black on color({number})" for least, number in HEAT.items() if -token.logprob >= least]
        style = "".join(heat[:1]) if token.target else "dim"
        more = "^" if token.differs else " "
        marks = [token.mark, letters.get(token.weight, " "), "!" if place == text.first_difference else more]
        for part in (part for piece in visible(token.text).split("\n") for part in chop_cells(piece, width)):
            size = cell_len(part)
            if lines[-1][0].cell_len + size > width:
                lines.append((Text(), ["", "", ""]))
            line, rows = lines[-1]
            line.append(part, f"{style} bold underline" if token.differs else style)
            if size:  # the marks stand under the first column of the token
                filled = (marks[0].ljust(size), marks[1].ljust(size), marks[2].ljust(size, more))
                rows[:] = [row + new for row, new in zip(rows, filled, strict=True)]
                marks = [" ", " ", more]
            if part.endswith("↵"):
                lines.append((Text(), ["", "", ""]))
    out = []
    for line, rows in lines:
        out += [*([line] if line else []), *(Text(row.rstrip(), "dim") for row in rows if row.strip())]
    legend = ", ".join(f"{letter} weight {weight:g}" for weight, letter in letters.items())
    return [*out, *([Text(legend)] if legend else [])]
