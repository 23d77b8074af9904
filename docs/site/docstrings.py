"""What mtjax's docstrings have that griffe does not read: comments behind settings, and examples in running text."""

import ast
import io
import re
import tokenize
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^|(?<=\n\n))((?: *)>>> (?:.+\n?)+)")
"""A paragraph that begins with a prompt of Python."""


class Docstrings(griffe.Extension):
    """Comments of attributes become their docstrings, and examples become blocks of code."""

    def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **_: Any) -> None:
        """Called by griffe for every attribute that it finds in a source file."""
        if attr.docstring is None and isinstance(node, ast.AST):
            line = attr.lines_collection[attr.filepath][node.end_lineno - 1]
            if text := comment_in(line):
                attr.docstring = griffe.Docstring(text, lineno=node.lineno, parent=attr)

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every object."""
        if obj.docstring is not None:
            obj.docstring.value = with_blocks(obj.docstring.value)


def with_blocks(text: str) -> str:
    """A docstring whose examples are fenced."""
    return EXAMPLE.sub(lambda found: f"```pycon\n{found[1].rstrip()}\n```\n", text)


def comment_in(line: str) -> str:
    """The comment of a line of code without marks for linters; "" where it has none.

    >>> comment_in('SIGN = "#"  # A sign.  # noqa: E501')
    'A sign.'
    """
    found = []
    try:
        tokens = tokenize.generate_tokens(io.StringIO(line).readline)
        found = [token.string for token in tokens if token.type == tokenize.COMMENT]
    except (tokenize.TokenError, IndentationError):  # a line within brackets
        found = [f"# {line.rpartition('  # ')[2]}"] if "  # " in line else []
    parts = (part.strip() for text in found for part in text.split("#"))
    return " ".join(part for part in parts if part and not part.startswith(("noqa", "type: ignore", "fmt: ")))
