"""Replies in the forms of programs: JSON objects, prompts of interpreters, calls of tools, tables of one line."""

import json
import re
from collections.abc import Mapping
from typing import Any

_FENCED = re.compile(r"\s*(?:```(?:json)?\s*)?(?P<object>\{.*\})(?:\s*```)?\s*", re.DOTALL)
_KEYS = ("final_answer", "finalanswer", "answer", "final", "result", "solution", "output", "action_input", "value",
         "total")  # fmt: skip
_REWRITTEN = tuple(
    (re.compile(form), instead)
    for form, instead in (
        (r"(?m)^Out ?\[\d+\]:", "Output:"),
        (r"(?m)^(?:Action: ?)?Finish\[([^\[\]\n]+)\]\s*$", r"Answer: \1"),
        (r"(?m)^(?:Action: ?)?(?:finish|final_answer|submit)\([\"']?([^()\n\"']+)[\"']?\)\s*$", r"Answer: \1"),
        (r"(?m)(=[^\n#=]*\d)\s+#\s[^\n]*$", r"\1"),
        (r"\bFraction\((-?\d+), ?(\d+)\)", r"\1/\2"),
        (r"^\s*(?://|--)\s+(?=[^\n]*\Z)", ""),
        (r"(?<=[A-Za-z]) ?\.{4,} ?(?=[$\d])", ": "),
        (r"\A\s*\| *([A-Za-z ]+?) *\| *([^|\n]*\d[^|\n]*?) *\|\s*\Z", r"\1: \2"),
    )
)
_NAME = re.compile(r"(?m)^[a-z]+(?:_[a-z]+)+(?=\s*[:=])")


def spoken(reply: str) -> str:
    r"""A program's reply in the forms that people write; any other reply as it is.

    >>> spoken('{"steps": ["6*7"], "result": 42}'), spoken("Out[3]: 0.25")
    ('Answer: 42', 'Output: 0.25')
    """
    if "{" in reply and (found := _FENCED.fullmatch(reply)) and (answer := _answer(found["object"])) is not None:
        return f"Answer: {answer}"
    for form, instead in _REWRITTEN:
        reply = form.sub(instead, reply)
    return _NAME.sub(lambda name: name[0].replace("_", " "), reply) if "_" in reply else reply


def _answer(text: str) -> str | None:
    """What a JSON object gives as its answer: a key that says so, or its only value; None without one."""
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, Mapping) or not record:
        return None
    named = {str(key).lower().replace(" ", "_"): value for key, value in record.items()}
    keys = [key for key in _KEYS if key in named]
    value = named[keys[0]] if keys else next(iter(named.values())) if len(named) == 1 else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float) and str(value).strip():
        return str(value)
    plain = isinstance(value, list) and all(isinstance(one, str | int | float) for one in value)
    return ("{}" if not value else json.dumps(value)) if plain else None
