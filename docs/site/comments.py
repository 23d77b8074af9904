"""Comments behind settings and constants as their documentation, as `--help` takes them."""

import ast
import io
import tokenize
from typing import Any

import griffe


class TrailingComments(griffe.Extension):
    """Gives an attribute without a docstring the comment at the end of its line."""

    def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **_: Any) -> None:
        """Called by griffe for every attribute that it finds in a source file."""
        if attr.docstring is None and isinstance(node, ast.AST) and (text := comment_in(_line(attr, node))):
            attr.docstring = griffe.Docstring(text, lineno=node.lineno, parent=attr)


def _line(attr: griffe.Attribute, node: Any) -> str:
    return attr.lines_collection[attr.filepath][node.end_lineno - 1]


def comment_in(line: str) -> str:
    """The comment of a line of code without marks for linters; "" where it has none.

    >>> comment_in('SIGN = "#"  # A sign.  # noqa: E501')
    'A sign.'
    """
    found = []
    try:
        found = [
            token.string
            for token in tokenize.generate_tokens(io.StringIO(line).readline)
            if token.type == tokenize.COMMENT
        ]
    except (tokenize.TokenError, IndentationError):
        found = [f"# {line.rpartition('  # ')[2]}"] if "  # " in line else []
    parts = (part.strip() for text in found for part in text.split("#"))
    return " ".join(part for part in parts if part and not part.startswith(("noqa", "type: ignore", "fmt: ")))
