"""The contract of a format and its registry, and what the readers of formats share."""

import ast
import collections
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from mtjax.data.problem import Message, Pair, Problem, problem_from_record
from mtjax.errors import InputError
from mtjax.io.containers import Cells
from mtjax.io.jsonl import field_of
from mtjax.registry import Registry

FORMATS = Registry("format", requires=("needs", "example", "read"), settings=False)
"""Every format of records by name."""
ABOUT = ("id", "source")  # Keys that every format takes: names of the record and of where it comes from.
TEXT, LIST, NUMBER = (str,), (list, tuple), (int, float)  # Types of values that `Format.needs` asks for.
TALK = (*TEXT, *LIST)  # A text, or a list of messages.


class Format:
    """What the keys of a record mean: a class without settings, registered in `FORMATS`.

    `read` gives the `Problem` of a record, and `write` the records of a problem.
    """

    needs: ClassVar[Mapping[str, tuple[type, ...]]]  # keys that a record must have, each with the types of its value
    takes: ClassVar[tuple[str, ...]] = ()  # more keys that are read
    beside: ClassVar[tuple[str, ...]] = ()  # keys of other formats that may stand beside, and are not read
    same: ClassVar[tuple[str, ...]] = ()  # other formats that read the same records
    strict: ClassVar[bool] = False  # whether any other key is refused, instead of named in a note
    example: ClassVar[dict[str, Any]]  # a record

    def __init__(self) -> None:
        self.found: collections.Counter[str] = collections.Counter()  # sentences about what was read, with `{}` records

    def fits(self, record: Mapping[str, Any]) -> bool:
        """Whether a record has the keys of this format, with values of the right types."""
        return all(isinstance(record.get(key), kinds) for key, kinds in self.needs.items())

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        """The problem that a record describes; InputError, opened by `where`, for a value of a wrong type.

        `record` has no null values; `id` names a problem whose record has no name of its own.
        """
        raise NotImplementedError

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        """The records that hold a problem, the `number`-th of a file; empty if the format has no place for it."""
        return []


def make(record: Mapping[str, Any], where: str, id: str, **fields: Any) -> Problem:
    """The problem of a record with our own keys, `fields`, and the `id` and `source` of `record`."""
    about = {key: record[key] for key in ABOUT if key in record and key not in fields}
    return problem_from_record(about | fields, where, id=id)


def with_context(
    record: Mapping[str, Any],
    where: str,
    id: str,
    turns: Sequence[Any],
    right: Any = None,
    wrong: Any = None,
    **about: Any,
) -> Problem:
    """The problem whose solutions answer a conversation; a conversation of one user message is the question alone."""
    context = make(record, where, id, messages=list(turns), **about)
    plain = len(context.messages) == 1 and context.messages[0] == Message("user", context.question)
    sides: dict[str, Any] = {name: (text,) for name, text in (("right", right), ("wrong", wrong)) if text is not None}
    return dataclasses.replace(context, messages=() if plain else context.messages, **sides)


def turn(role: str, content: str) -> dict[str, Any]:
    """A message as a record."""
    return {"role": role, "content": content}


def turns_of(value: Any, role: str) -> list[Any]:
    """A list of messages as it is, and a text as one message of `role`."""
    return list(value) if isinstance(value, list | tuple) else [turn(role, value)]


def texts_of(record: Mapping[str, Any], key: str, where: str) -> list[str]:
    """A list of texts in a record; InputError for another type."""
    texts = field_of(record, key, LIST, where)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{where}: {key}[{number}] is {text!r:.80}; expected a string")
    return list(texts)


def truth(value: Any, key: str, where: str) -> bool:
    """A label as true or false; 1 and 0 mean the same. InputError for anything else."""
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise InputError(f"{where}: {key} is {value!r:.80}; expected true or false")


def all_pairs(problem: Problem) -> list[Pair]:
    """The pairs of a problem, and each right solution with each wrong one."""
    return [*problem.pairs, *(Pair("", right, wrong) for right in problem.right for wrong in problem.wrong)]


Solution = tuple[Any, Any, bool | None, Any]
"""Context (a question, or messages), what is said (a text, or a message with more than one), whether it is right (None
where nobody said so), and the tools."""


def solutions_of(problem: Problem) -> list[Solution]:
    """The solutions of a problem, those of its full pairs included, each once; of a conversation its last message."""
    context: Any = list(problem.messages) or problem.question
    if problem.messages and not (problem.right or problem.wrong or problem.pairs):
        last = problem.messages[-1]
        if last.role != "assistant":
            return []
        first = problem.messages[:-1]
        plain = len(first) == 1 and first[0] == Message("user", problem.question) and last.is_plain
        said = last.content if last.is_plain else last
        return [(problem.question if plain else list(first), said, None, problem.tools)]
    texts: dict[tuple[Any, bool], None] = {(text, True): None for text in problem.right}
    texts |= {(text, False): None for text in problem.wrong}
    for pair in problem.pairs:
        if pair.kind == "full" and not pair.context and not pair.chosen_messages:
            texts |= {(pair.chosen, True): None, (pair.rejected, False): None}
    return [(context, text, right, problem.tools) for text, right in texts]


def has_own_id(problem: Problem) -> bool:
    """Whether a record named itself; otherwise a problem is called after its place: `a.jsonl:3`, `a.json[2]`."""
    name, mark, number = re.fullmatch(r"(.*?)([:[]?)(\d*)]?", problem.id, re.DOTALL).groups()  # type: ignore[union-attr]
    there = problem.where.rstrip("]")
    return not (mark and number and name in there and re.search(rf"\D{number}$", there))


def numbered(problem: Problem, records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of one problem with its id and source; of several, each has a number after the id.

    A problem that is named after its place in a file has no id of its own.
    """
    records, own = list(records), has_own_id(problem)
    names = [problem.id] if len(records) == 1 else [f"{problem.id}/{number}" for number in range(len(records))]
    source: dict[str, Any] = {"source": problem.source} if problem.source else {}
    source |= {} if problem.difficulty is None else {"difficulty": problem.difficulty}
    return [
        ({"id": name} if own else {}) | {key: value for key, value in record.items() if value is not None} | source
        for name, record in zip(names, records, strict=True)
    ]


STRUCTURED = (
    *("messages", "conversations", "conversation", "tools", "completions", "labels", "rewards", "right", "wrong"),
    *("options", "label", "success_rate", "score_chosen", "score_rejected", "history", "idx", "step", "last_step"),
    *("completion_ids", "logprobs", "proposal_logprobs", "finished", "numbers"),
)
"""Keys whose values are not texts."""


def typed(record: Cells) -> dict[str, Any]:
    """A row of a CSV file with lists, numbers and truth values where its keys expect them; empty ones are left out.

    They may be written in JSON or as Python prints them, which is what pandas writes.
    """
    out: dict[str, Any] = {}
    for key, text in record.items():
        value = _value(text) if key in STRUCTURED or text.startswith(("[{", "[ {")) else text
        conversation = isinstance(value, list) and all(isinstance(item, dict) for item in value)
        if text or key not in (*STRUCTURED, *ABOUT):
            out[key] = value if key in STRUCTURED or conversation else text
    return out


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return text
