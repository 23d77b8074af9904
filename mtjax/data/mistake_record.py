"""A mistake as a record: what was right so far, what went wrong, what would have been right, and who says so."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from mtjax.data.messages import Message, Tool, message_record, read_messages, read_tools
from mtjax.errors import InputError
from mtjax.io.jsonl import decode, json_of, read_lines

SCHEMA = 1  # Version of the JSON form; raised when a field changes its meaning.

Verdict = Literal["proved", "refuted", "unproved"]  # The wrong side is shown wrong, is shown still right, or neither.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mistake:
    """One mistake, with the right text beside it.

    The wrong solution reads `prefix + wrong_step + wrong_rest`, the right one `prefix + right_step + right_rest`; all
    white space is part of the fields, so nothing is put between them. Unknown fields are empty.
    """

    id: str  # Names the record; unique in its file.
    kind: Literal["step", "solution"]  # One step after a right prefix, or two whole solutions (`prefix`, rests empty).
    problem_id: str  # The problem it belongs to; records of one problem share it.
    question: str  # The text of the problem; of a conversation, what all its messages say.
    answer: str = ""  # The final answer that is right.
    prefix: str = ""  # The right steps so far, up to and with the header of the step in question.
    right_step: str = ""  # What would have been right there.
    right_rest: str = ""  # How the right solution goes on.
    wrong_step: str = ""  # What was written instead.
    wrong_rest: str = ""  # How the wrong solution went on.
    span: tuple[int, int] | None = None  # Characters of `wrong_step` that are in error, `start .. end - 1`.
    error_type: str = "other"  # A name from `python -m mtjax.list error_type`, or "other"; readers accept any text.
    before: str = ""  # The text that an edit replaced.
    after: str = ""  # The text that an edit put there.
    edit_distance: int | None = None  # Levenshtein distance between the two steps.
    wrong_answer: str = ""  # The final answer of the wrong solution.
    verdict: Verdict = "unproved"  # What is known of the wrong side.
    judge: str = ""  # Who gave the verdict, such as "equation", "number", "final answer" or "annotator".
    generator: str = ""  # What made the wrong side: "rules", "self_edit", "sampling", or the data set it comes from.
    model: str = ""  # Fingerprint of the model that wrote the wrong side, or its name.
    decode: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # Settings it was decoded with.
    seed: int | None = None  # Seed it was made with.
    messages: tuple[Message, ...] = ()  # The conversation that both sides answer; empty where it is the question alone.
    tools: tuple[Tool, ...] = ()  # What the assistant could call.

    @property
    def right_solution(self) -> str:
        """The complete right solution."""
        return self.prefix + self.right_step + self.right_rest

    @property
    def wrong_solution(self) -> str:
        """The complete wrong solution."""
        return self.prefix + self.wrong_step + self.wrong_rest


_NEEDED = ("id", "kind", "problem_id", "question")  # every record has them


def to_json(mistake: Mistake) -> dict[str, Any]:
    """The record as a JSON object `{"schema": 1, ...}`: keys in the order of the fields, most empty ones left out."""
    values = {field.name: getattr(mistake, field.name) for field in dataclasses.fields(mistake)}
    values |= {"messages": list(map(message_record, mistake.messages)), "tools": list(mistake.tools)}
    return {"schema": SCHEMA} | {
        name: v for name, v in values.items() if name in _NEEDED or v not in ("", None, {}, [])
    }


def from_json(record: Any, where: str) -> Mistake:
    """The record that `to_json` wrote; InputError, opened by `where`, for anything else."""
    if not isinstance(record, Mapping):
        raise InputError(
            f"{where}: got {record!r:.80}; expected a mistake record, an object with {', '.join(_NEEDED)}, ..."
        )
    if record.get("schema") != SCHEMA:
        raise InputError(
            f"{where}: schema {record.get('schema')!r}; expected {SCHEMA}: write the file again with this version's "
            "`python -m mtjax.inject` or `mtjax.mine`"
        )
    values = {name: value for name, value in record.items() if name != "schema"}
    readers: dict[str, Any] = {"messages": read_messages, "tools": read_tools}
    talk = {key: read(values.pop(key), where) for key, read in readers.items() if key in values}
    mistake = dataclasses.replace(decode(values, Mistake, where), **talk)
    start, end = mistake.span or (0, 0)
    if not 0 <= start <= end <= len(mistake.wrong_step):
        raise InputError(f"{where}: span {start}..{end} is not inside the characters of wrong_step; fix the record")
    return mistake


def read_mistakes(path: str) -> Iterator[Mistake]:
    """The records of a JSONL file, one by one; InputError naming file and line for a bad one."""
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        yield from_json(json_of(line, where), where)


def to_lines(mistakes: Iterable[Mistake]) -> str:
    """Records as the text of a JSONL file; equal records give equal bytes."""
    return "".join(json.dumps(to_json(mistake), ensure_ascii=False) + "\n" for mistake in mistakes)
