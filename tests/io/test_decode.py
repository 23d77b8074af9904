"""Typed decoding of records: strict types, and errors that name the place, the key and the way out."""

import dataclasses
from typing import Literal

import pytest

from mtjax.errors import InputError
from mtjax.io.jsonl import decode


@dataclasses.dataclass(frozen=True)
class Part:
    """One item of a record."""

    text: str
    score: float | None = None


@dataclasses.dataclass(frozen=True)
class Whole:
    """A record."""

    name: str
    kind: Literal["step", "solution"] = "step"
    span: tuple[int, int] | None = None
    words: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


def test_lists_become_tuples_and_whole_numbers_become_numbers():
    record = {"name": "a", "span": [1, 2], "words": ["x"], "parts": [{"text": "t", "score": 1}]}
    assert decode(record, Whole, "f:1") == Whole("a", "step", (1, 2), ("x",), (Part("t", 1.0),))


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (["a"], "got ['a']; expected an object with name, kind"),
        ({}, "no 'name' in keys []; expected it in every record; fix the record"),
        ({"name": 3}, "'name' is 3; expected a string: write \"3\", in quotes; fix the record"),
        ({"name": "a", "nmae": 3}, "unknown key 'nmae': did you mean 'name'"),
        ({"name": "a", "kind": "stp"}, "kind 'stp': did you mean 'step'"),
        ({"name": "a", "span": [1]}, "'span' is [1]; expected a list of 2 whole numbers or null"),
        ({"name": "a", "span": [True, 1]}, "span[0] is True; expected a whole number"),
        ({"name": "a", "words": "x"}, "'words' is 'x'; expected a list of strings"),
        ({"name": "a", "words": ["x", None]}, "words[1] is None; expected a string"),
        ({"name": "a", "parts": [{"text": "t"}, {"txt": "t"}]}, "parts[1]: unknown key 'txt'"),
        ({"name": "a", "parts": [{"score": 1}]}, "parts[0]: no 'text' in keys ['score']"),
        (
            {"name": "a", "parts": [{"text": "t", "score": True}]},
            "parts[0]: 'score' is True; expected a number or null",
        ),
    ],
)
def test_a_bad_record_is_named(record, says):
    with pytest.raises(InputError) as error:
        decode(record, Whole, "f.jsonl:7")
    assert str(error.value).startswith("f.jsonl:7: ")
    assert says in str(error.value)
