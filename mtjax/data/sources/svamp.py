"""SVAMP: word problems of one and two steps."""

import ast
import dataclasses
import decimal
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar, Literal

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError
from mtjax.io.jsonl import existing_file, json_of, open_plain


@SOURCES.register("svamp")
@dataclasses.dataclass(frozen=True)
class Svamp(FileSource):
    """SVAMP (`SVAMP.json`, one JSON list): 1,000 one- and two-step word problems with an equation and an answer.

    Source: Patel et al., "Are NLP Models really able to Solve Simple Math Word Problems?", NAACL 2021
    (arXiv 2103.07191).
    """

    marks: ClassVar[tuple[str, ...]] = ("Body", "Question", "Answer")
    example: ClassVar[str] = (
        '[{"ID": "chal-1", "Body": "A pack costs 76 dollars.", "Question": "How much are 2?", "Answer": 152.0}]'
    )

    solutions: Literal["none", "equations"] = "none"
    """The right solution of a problem: none, or the computations of its equation, a line each (`equation_lines`)."""

    def records(self) -> Iterator[tuple[Any, str, str]]:
        file = existing_file(self.path)
        with open_plain(self.path) as opened:
            records = json_of(opened.read(), self.path)
        if not isinstance(records, list):
            raise InputError(f"{self.path}: got {type(records).__name__}; expected one JSON list of records")
        for number, record in enumerate(records):
            yield record, f"{self.path}: record {number}", f"{file.name}[{number}]"

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The question is body and question, joined by ", " where the body does not end a sentence."""
        body = field_of(record, "Body", str, where).strip()
        gap = " " if body.endswith((".", "?", "!", ",")) else ", "
        question = body + gap + field_of(record, "Question", str, where).strip()
        given = field_of(record, "Answer", (int, float), where)
        if isinstance(given, bool) or not math.isfinite(given):
            raise InputError(f"{where}: 'Answer' is {json.dumps(given)}; expected a number")
        value = decimal.Decimal(str(given))
        answer = str(int(value)) if value == value.to_integral_value() else str(value)
        right: tuple[str, ...] = ()
        if self.solutions == "equations":
            lines = equation_lines(field_of(record, "Equation", str, where))
            # The equation of one record of the published file gives another number than its answer.
            right = ("\n".join(lines),) if lines and lines[-1].endswith(f"= {answer}") else ()
        return Problem(str(record.get("ID", id)), question, answer, right, source="svamp")


_SIGNS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def equation_lines(expression: str) -> list[str]:
    """The computations of an expression in numbers, parentheses and `+ - * /`, one line each, the last one last.

    Empty for anything else, for an expression that computes nothing, and for a result without an exact decimal form.

    >>> equation_lines("( ( 19.0 - 11.0 ) + 5.0 )")
    ['19 - 11 = 8', '8 + 5 = 13']
    """
    lines: list[str] = []

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return Fraction(str(node.value))
        if not isinstance(node, ast.BinOp):
            raise ValueError("not arithmetic")
        left, right, sign = value(node.left), value(node.right), _SIGNS[type(node.op)]
        found = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[sign](right)
        lines.append(f"{_decimal(left)} {sign} {_decimal(right)} = {_decimal(found)}")
        return found

    try:
        value(ast.parse(expression.strip(), mode="eval").body)
    except (ValueError, KeyError, SyntaxError, ZeroDivisionError):
        return []
    return lines


def _decimal(number: Fraction) -> str:
    """A number in decimal digits; ValueError if it has no end."""
    if number.denominator == 1:
        return str(number.numerator)
    exact = decimal.Decimal(number.numerator) / decimal.Decimal(number.denominator)
    if Fraction(exact) != number:
        raise ValueError("no decimal form")
    return f"{exact.normalize():f}"
