"""A problem: a question, its answer, and solutions known to be right or wrong; and the records it is read from."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mtjax.data.answers.choices import with_options
from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import decode, refuse_unknown
from mtjax.types import short_repr

OnError = Literal["raise", "skip"]  # A record that a source cannot read: raise InputError, or count it and go on.
Split = Literal["all", "train", "validation", "test"]  # Everything, or one of three parts without common questions.
ROLES = ("system", "user", "assistant")  # The speakers of a conversation; a system message stands only at the start.


@dataclasses.dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # Who speaks: "system", "user" or "assistant".
    content: str  # What is said, without any template around it.


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two continuations of the same text, of which the first is the better."""

    context: str  # What both follow, after the prompt: "" for full solutions, the right steps so far for a step.
    chosen: str  # The better text, white space included.
    rejected: str  # The worse text.
    kind: Literal["full", "step"] = "full"  # Full solutions, or one step of a solution that goes on after it.
    error_type: str = ""  # What is wrong with the rejected text, the name of an error type; "" if it is not known.


@dataclasses.dataclass(frozen=True)
class Problem:
    """One question with what is known about it; every source gives these and every task renders them."""

    id: str  # Names the problem in error messages and logs, such as `train.jsonl:12`.
    question: str  # The text of the task; of a conversation, its first user message.
    answer: str = ""  # The final answer alone, such as "18"; empty where it is not known.
    right: tuple[str, ...] = ()  # Solutions known to be right, each complete with its final answer.
    wrong: tuple[str, ...] = ()  # Solutions known to be wrong.
    messages: tuple[Message, ...] = ()  # The conversation, for chat data; empty otherwise.
    pairs: tuple[Pair, ...] = ()  # Pairs that were made as such, by an annotator or by injection.
    success_rate: float | None = None  # Share of a model's sampled solutions that were right; None if not sampled.
    source: str = ""  # Where it comes from, such as "gsm8k".
    options: tuple[str, ...] = ()  # Texts of the options of a choice, in order, with or without their letters.
    where: str = dataclasses.field(default="", compare=False)  # Where it was read, for messages: `data/train.jsonl:12`.

    @property
    def place(self) -> str:
        """File, line and id for a message, such as `data/train.jsonl:12 (id 'gsm8k-7')`."""
        named = bool(self.where) and not self.where.endswith(self.id)
        return f"{self.where} (id {self.id!r})" if named else self.where or self.id


@short_repr
class Problems(NamedTuple):
    """What a source gives."""

    items: Sequence[Problem]  # random access, which may read lazily
    skipped: int = 0  # how many records were left out because they could not be read (`on_error="skip"`)
    notes: tuple[str, ...] = ()  # one sentence per thing the user should know, such as the first record skipped and why


SCHEMAS: dict[str, tuple[str, ...]] = {
    "completion": ("prompt", "completion"),
    "messages": ("messages",),
    "solutions": ("question", "prompt", "answer", "right", "wrong", "success_rate", "options"),
    "preference": ("prompt", "chosen", "rejected"),
}
"""The record schemas, as keys. Every schema also takes the optional keys `id` and `source`.

- completion: `{"prompt": str, "completion": str}`; the completion is taken to be right.
- messages: `{"messages": [{"role": "system" | "user" | "assistant", "content": str}, ...]}`.
- solutions: `{"question" (or "prompt"): str, "answer": str, "right": [str, ...], "wrong": [str, ...]}` with the
  question and one of the others; `success_rate` is the share of samples that were right, 0 to 1, and `options` are the
  texts of the options of a choice, in order: then the answer is a letter or the text of an option. A question that does
  not list them gets them as lines `(A) ...` at its end.
- preference: `{"prompt": str, "chosen": str, "rejected": str}`, the convention of TRL.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Record:
    """The keys of all schemas."""

    id: str = ""
    source: str = ""
    prompt: str = ""
    completion: str = ""
    messages: tuple[Message, ...] = ()
    chosen: str = ""
    rejected: str = ""
    question: str = ""
    answer: str = ""
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    success_rate: float | None = None
    options: tuple[str, ...] = ()


def _check_conversation(messages: Sequence[Message], where: str) -> None:
    """InputError for an order or a speaker that no conversation has."""
    if not messages:
        raise InputError(f"{where}: 'messages' is []; expected a non-empty list of objects")
    for turn, message in enumerate(messages):
        here = f"{where}: messages[{turn}]"
        if message.role not in ROLES:
            raise InputError(f"{here}: role {message.role!r}: {suggest(message.role, ROLES)}")
        if message.role == "system" and turn:
            raise InputError(f"{here}: a system message stands only in front; move it there or make it a user's")
    if all(message.role != "user" for message in messages):
        raise InputError(f"{where}: 'messages' has no message of the user; a conversation needs at least one")


def without_nulls(value: Any) -> Any:
    """A record without the keys that are null, at any depth: columns of a table are there for every row."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list | tuple) else value


class UnknownKeys(InputError):
    """A record has the keys of another format, as probably all records of its file: skipping it would not help."""


FOREIGN_KEYS = {
    **dict.fromkeys(("instruction", "query", "problem", "input_text", "user"), "prompt"),
    **dict.fromkeys(("output", "response", "canonical_solution", "solution", "assistant"), "completion"),
    **dict.fromkeys(("task_id", "idx", "uid", "uuid"), "id"),
}
"""Keys of the field's formats, and the keys here that mean the same."""


def _check_keys(record: Mapping[str, Any], known: set[str], where: str) -> None:
    """InputError for an unknown key; where the others are of a known format, with the columns to read."""
    unknown = [key for key in record if key not in known]
    if "conversations" in unknown:
        raise UnknownKeys(
            f"{where}: 'conversations' with 'from' and 'value' are not read; write them as 'messages' with 'role' "
            "(user, assistant) and 'content'"
        )
    ours = {FOREIGN_KEYS.get(key, key): key for key in record if key in known or key in FOREIGN_KEYS}
    if unknown and {"prompt", "completion"} <= ours.keys():
        columns = " ".join(theirs if theirs == own else f"{theirs}={own}" for own, theirs in ours.items())
        raise UnknownKeys(
            f"{where}: unknown key {unknown[0]!r}; say which keys to read: --data.source.columns {columns}"
        )
    refuse_unknown(record, tuple(sorted(known)), where)


def problem_from_record(record: Any, where: str, *, id: str = "") -> Problem:
    """The problem that a record in one of `SCHEMAS` describes.

    `where` opens every message (`data.jsonl:12`); `id` names the problem when the record has no `id` of its own
    (default: `where`). A key that is null counts as missing, and an `id` may be a number. Raises InputError for
    anything but an object, an unknown or missing key and a wrong type.

    >>> problem_from_record({"prompt": "1 + 1 =", "completion": " 2"}, "a.jsonl:1").right
    (' 2',)
    """
    if not isinstance(record, Mapping):
        way_out = "; is the file one JSON list? `jq -c '.[]' FILE > FILE.jsonl` writes its records as lines"
        raise InputError(
            f'{where}: got {record!r:.80}; expected an object, such as {{"question": ..., "right": [...]}}'
            + (way_out if isinstance(record, list) else "")
        )
    record = without_nulls(record)
    if isinstance(number := record.get("id"), int) and not isinstance(number, bool):
        record["id"] = str(number)
    _check_keys(record, {"id", "source"}.union(*SCHEMAS.values()), where)
    keys = set(record)
    marks = {"messages": "messages", "completion": "completion", "chosen": "preference", "rejected": "preference"}
    schema = next((name for mark, name in marks.items() if mark in keys), "solutions")
    refuse_unknown(record, ("id", "source", *SCHEMAS[schema]), where)
    if schema != "solutions" and (missing := set(SCHEMAS[schema]) - keys):
        raise InputError(f"{where}: no {min(missing)!r} in keys {sorted(keys)}; a {schema} record needs it: add it")
    if {"question", "prompt"} <= keys:
        raise InputError(f"{where}: both 'question' and 'prompt'; give one, they mean the same")
    if not {"question", "prompt", "messages"} & keys:
        raise InputError(f"{where}: no question in keys {sorted(keys)}; expected 'question', 'prompt' or 'messages'")
    if schema == "solutions" and not {"answer", "right", "wrong"} & keys:
        raise InputError(f"{where}: only a question; add at least one of 'completion', 'answer', 'right', 'wrong'")
    found = decode(record, _Record, where)
    question, right, rate = with_options(found.question or found.prompt, found.options), found.right, found.success_rate
    pairs: tuple[Pair, ...] = ()
    if schema == "messages":
        _check_conversation(found.messages, where)
        question = next(message.content for message in found.messages if message.role == "user")
    elif schema == "completion":
        right = (found.completion,)
    elif schema == "preference":
        pairs = (Pair("", found.chosen, found.rejected),)
    if rate is not None and not 0 <= rate <= 1:
        raise InputError(f"{where}: 'success_rate' is {rate}; expected a number from 0 to 1")
    name = record.get("id", id or where)
    known = (question, found.answer, right, found.wrong, found.messages, pairs, rate, found.source, found.options)
    return Problem(name, *known, where)


def record_from_problem(problem: Problem) -> dict[str, Any]:
    """The record that `problem_from_record` turns back into this problem; keys of empty fields are left out.

    InputError for what no schema holds: both a conversation and solutions, several pairs, or one with a context.
    """
    solved = problem.right or problem.wrong
    if problem.pairs:
        pair = problem.pairs[0]
        if len(problem.pairs) > 1 or pair.context or solved or problem.messages:
            raise InputError(
                f"problem {problem.id!r} has {len(problem.pairs)} pairs; a record holds one without context, and "
                "nothing else: keep mistakes as `mtjax.data.mistake_record` files"
            )
        record: dict[str, Any] = {"prompt": problem.question, "chosen": pair.chosen, "rejected": pair.rejected}
    elif problem.messages:
        if problem.answer or solved:
            raise InputError(
                f"problem {problem.id!r} has both messages and an answer or solutions; no record schema holds both, "
                "so write the solutions as assistant messages"
            )
        record = {"messages": [dataclasses.asdict(message) for message in problem.messages]}
    else:
        record = {"question": problem.question, "answer": problem.answer}
        record |= {name: list(texts) for name in ("right", "wrong") if (texts := getattr(problem, name))}
        record |= {} if problem.success_rate is None else {"success_rate": problem.success_rate}
        record |= {"options": list(problem.options)} if problem.options else {}
    return {"id": problem.id} | record | ({"source": problem.source} if problem.source else {})


SHARES: dict[Split, tuple[float, float]] = {
    "all": (0.0, 1.0),
    "test": (0.0, 0.2),
    "validation": (0.2, 0.3),
    "train": (0.3, 1.0),
}
"""The stretch of the hash that each split takes: 20 % test, 10 % validation, 70 % train."""


def in_split(question: str, split: Split) -> bool:
    """Whether a question belongs to a split; the hash of its words decides, so it does the same in every source.

    `sha256(words) / 2^256`, on 64 bits, lies in the split's stretch of `SHARES`. Case and white space do not count, so
    that two copies of one question never land in different splits.
    """
    low, high = SHARES[split]
    digest = hashlib.sha256(" ".join(question.lower().split()).encode()).digest()
    return low <= int.from_bytes(digest[:8], "big") / 2**64 < high or split == "all"
