r"""Matrices of LaTeX, such as `\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}`; one with one row or column is a tuple."""

import re
from typing import NamedTuple

from mtjax.data.answers.groups import Same, Tuple, same_elements

_MATRIX = re.compile(
    r"(?:[A-Za-z] ?= ?)?\\begin\{(?P<kind>[pb]?matrix|array)\}(?:\{[lcr|]+\})?(?P<cells>.*)\\end\{(?P=kind)\}"
)

_BRACKETS = re.compile(r"\[ ?\[[^\[\]]+\](?: ?, ?\[[^\[\]]+\])+ ?\]")  # [[1, 2], [3, 4]]


class Matrix(NamedTuple):
    """Elements in rows of equal length."""

    rows: tuple[tuple[str, ...], ...]


def read_matrix(text: str) -> Matrix | None:
    """The matrix with at least two rows and two columns that a text is; else None."""
    rows = _rows(text)
    return Matrix(rows) if rows and min(len(rows), len(rows[0])) > 1 else None


def read_vector(text: str) -> Tuple | None:
    """The row or the column that a text is, as a tuple; else None."""
    rows = _rows(text)
    if not rows or min(len(rows), len(rows[0])) > 1 or len(rows) == len(rows[0]):
        return None
    return Tuple(rows[0] if len(rows) == 1 else tuple(row[0] for row in rows))


def _rows(text: str) -> tuple[tuple[str, ...], ...] | None:
    if _BRACKETS.fullmatch(text):
        return _equal([row.split(",") for row in re.findall(r"\[([^\[\]]*)\]", text[1:-1])])
    found = _MATRIX.fullmatch(text)
    if found is None or "\\begin" in found["cells"]:
        return None
    rows = re.split(r"\\\\(?:\[[^\]]*\])?", found["cells"].strip().removesuffix("\\\\"))
    return _equal([row.split("&") for row in rows])


def _equal(cells: list[list[str]]) -> tuple[tuple[str, ...], ...] | None:
    """The cells as rows, if these are equally long and none is empty."""
    rows = tuple(tuple(cell.strip() for cell in row) for row in cells)
    return rows if len({len(row) for row in rows}) == 1 and all(all(row) for row in rows) else None


def same_matrix(a: Matrix, b: Matrix, same: Same) -> bool | None:
    """Whether two matrices are equal, element by element; those of other shapes differ."""
    if (len(a.rows), len(a.rows[0])) != (len(b.rows), len(b.rows[0])):
        return False
    return same_elements([cell for row in a.rows for cell in row], [cell for row in b.rows for cell in row], same)
