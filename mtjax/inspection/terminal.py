"""A batch in the terminal: every text over a line of marks, one under each token."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mtjax.inspection.explanation import Explanation, Shown, Text, Token, columns_of, visible
from mtjax.reporting.report import Cell as TableCell
from mtjax.reporting.report import Table, format_table

SIDE_BY_SIDE = 100
"""Columns of a terminal from which on chosen and rejected stand beside each other."""

HEAT = ((5.0, "30;48;5;203"), (3.0, "30;48;5;209"), (1.5, "30;48;5;215"), (0.5, "30;48;5;229"))
"""Background of a target by the least loss it is for, in nats; below, it has none."""

LEGEND = (
    ". context, not trained    0..9 loss of a target in whole nats, rounded down, 9 for more    - weight that no loss "
    "reaches    ^ what differs, from the first difference at !    · space  ↵ line break  … part of a character"
)


Paint = Callable[[str, str], str]
"""`(text, ANSI style) -> text` that a terminal shows so."""


class Cell(NamedTuple):
    """What stands in one place: a visible text, the marks under its first column, and how it looks."""

    text: str
    mark: str
    weight: str
    differs: str
    style: str


def to_text(found: Explanation, *, width: int = 80, colour: bool = False, tokens: bool = False) -> str:
    """The explanation as lines for a terminal of `width` columns.

    Args:
        colour: shade targets by their loss with ANSI codes; the marks are there in any case.
        tokens: add a table with all numbers of every token.
    """
    paint: Paint = _paint if colour else lambda text, style: text
    name = max(len(fact) for fact, _ in (*found.facts, ("metrics", "")))
    lines = [paint(found.title, "1")]
    lines += [f"{fact:<{name}}  {said}" for fact, said in found.facts]
    lines += _wrapped("metrics", name, [f"{key} {value:.5g}" for key, value in found.numbers.items()], width)
    lines += _wrapped("key", name, LEGEND.split("    "), width)
    for example in found.examples:
        lines += ["", *_example(example, width, paint, tokens)]
    if found.left_out:
        lines += ["", f"... and {found.left_out} more; --examples=0 shows all"]
    return "\n".join(lines) + "\n"


def _paint(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style and text else text


def _wrapped(name: str, indent: int, words: Sequence[str], width: int) -> list[str]:
    """Words behind a name, two spaces apart, in as many lines as they need; none is broken."""
    lines, line = [], f"{name:<{indent}}"
    for word in words:
        if len(line) > indent and len(line) + 2 + len(word) > width:
            lines.append(line)
            line = " " * indent
        line += f"  {word}"
    return [*lines, line]


def _example(example: Shown, width: int, paint: Paint, tokens: bool) -> list[str]:
    notes = "".join(f", {note}" for note in example.notes)
    lines = [paint(f"row {example.row}, segment {example.segment}: {example.name}{notes}", "1")]
    indent = max(len(f"  {text.label}".rstrip()) for text in example.texts)
    for text in example.texts:
        lines += _wrapped(f"  {text.label}".rstrip(), indent, describe(text), width)
    pair = example.texts if len(example.texts) == 2 else None
    if pair and any(text.first_difference is not None for text in pair):
        lines.append(f"  first difference: {' against '.join(map(_first_difference, pair))}")
    half = (width - 3) // 2
    if pair and width >= SIDE_BY_SIDE:
        blocks = [_block(text, half - 2, paint) for text in pair]
        blank = (" " * (half - 2), "")
        for number in range(max(map(len, blocks))):
            (plain, left), (_, right) = (block[number] if number < len(block) else blank for block in blocks)
            lines.append(f"  {left}{' ' * (half - 2 - columns_of(plain))} | {right}".rstrip())
    else:
        for text in example.texts:
            lines += [f"  {text.label}:"] if pair else []
            lines += [f"  {styled}".rstrip() for _, styled in _block(text, width - 2, paint)]
    if tokens:
        for text in example.texts:
            lines += ["", format_table(token_table(text))]
    return lines


def describe(text: Text) -> list[str]:
    """The sums of a text in words."""
    sums = text.sums()
    said = [f"{sums['targets']} of {sums['tokens']} tokens are targets", f"weight {sums['weight']:.4g}"]
    if sums["nats_per_target"] is not None:
        said += [f"loss {sums['nats']:.2f} nats, {sums['nats_per_target']:.3f} a target"]
        said += [f"entropy {sums['entropy']:.3f}"]
    if "log_ratio" in sums:
        said += [f"reference {sums['reference_nats']:.2f} nats, log-ratio {sums['log_ratio']:+.3f}"]
    return said


def _first_difference(text: Text) -> str:
    at = text.first_difference
    if at is None:
        return "nothing"
    return f"'{visible(text.tokens[at].text)}' at token {at}".replace("\n", "")


def token_table(text: Text) -> Table:
    """All numbers of every token of a text."""
    known = any(token.reference is not None for token in text.tokens)
    columns = ("t", "id", "token", "weight", "loss", "entropy", *(("reference",) if known else ()), "differs")
    rows: list[tuple[TableCell, ...]] = []
    for place, token in enumerate(text.tokens):
        mark = "!" if place == text.first_difference else "^" if token.differs else ""
        own = [0.0 - token.logprob, token.entropy, *([0.0 - (token.reference or 0.0)] if known else [])]
        shown = visible(token.text).replace("\n", "")
        rows.append((str(place), str(token.id), shown, f"{token.weight:g}", *own, mark))
    return Table(columns, rows, f"{text.label or 'text'}: loss, entropy and reference in nats")


def mark_of(token: Token) -> str:
    """One character that says what a token does in the loss: see `LEGEND`; `?` is a loss that is no number."""
    if token.target:
        return str(min(max(int(-token.logprob), 0), 9)) if math.isfinite(token.logprob) else "?"
    return "-" if token.weight else "."


def _cells(text: Text) -> list[Cell]:
    letters = _letters(text)
    cells = []
    for place, token in enumerate(text.tokens):
        style = next((code for least, code in HEAT if token.target and -token.logprob >= least), "")
        style = style if token.target else "2"
        style += ";1;4" if token.differs else ""
        differs = "!" if place == text.first_difference else "^" if token.differs else " "
        cells.append(Cell(visible(token.text), mark_of(token), letters.get(token.weight, " "), differs, style))
    return cells


def _letters(text: Text) -> Mapping[float, str]:
    """A letter for each weight other than 0 and 1."""
    odd = sorted({token.weight for token in text.tokens if token.weight not in (0.0, 1.0)})
    return {weight: chr(ord("a") + min(number, 25)) for number, weight in enumerate(odd)}


def _block(text: Text, width: int, paint: Paint) -> list[tuple[str, str]]:
    """Lines of tokens, each over its marks; plain and painted."""
    lines: list[tuple[str, str]] = []
    plain = styled = ""
    under = ["", "", ""]

    def close() -> None:
        nonlocal plain, styled, under
        lines.extend([(plain, styled)] if plain else [])
        lines.extend((row.rstrip(), paint(row.rstrip(), "2")) for row in under if row.strip())
        plain = styled = ""
        under = ["", "", ""]

    for cell in _cells(text):
        marks = (cell.mark, cell.weight, cell.differs)
        for part in _lines_of(cell.text, width):
            size = columns_of(part)
            if columns_of(plain) + size > width:
                close()
            plain, styled = plain + part, styled + paint(part, cell.style)
            if size:
                more = "^" if cell.differs != " " else " "
                filled = (marks[0].ljust(size), marks[1].ljust(size), marks[2].ljust(size, more))
                under = [row + new for row, new in zip(under, filled, strict=True)]
                marks = (" ", " ", more)
            if part.endswith("↵"):
                close()
    close()
    legend = ", ".join(f"{letter} weight {weight:g}" for weight, letter in _letters(text).items())
    return [*lines, *([(legend, legend)] if legend else [])]


def _lines_of(text: str, width: int) -> list[str]:
    """The text cut behind its line breaks, and where it is wider than a line."""
    out = []
    for line in text.split("\n"):
        part = ""
        for char in line:
            if columns_of(part) + columns_of(char) > width:
                out.append(part)
                part = ""
            part += char
        out.append(part)
    return out if out[-1] or len(out) == 1 else out[:-1]
