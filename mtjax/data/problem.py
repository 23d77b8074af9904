"""A problem: a question, its answer, and solutions known to be right or wrong; and the records it is read from."""

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mtjax.data.answers.choices import with_options
from mtjax.data.messages import Message, Tool, check_conversation, message_record, part, read_messages, read_tools
from mtjax.errors import InputError
from mtjax.io.jsonl import decode, refuse_unknown
from mtjax.types import short_repr

OnError = Literal["raise", "skip"]  # A record that a source cannot read: raise InputError, or count it and go on.
Split = Literal["all", "train", "validation", "test"]  # Everything, or one of three parts without common questions.


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two continuations of the same text, of which the first is the better."""

    context: str  # What both follow, after the prompt: "" for full solutions, the right steps so far for a step.
    chosen: str  # The better text, white space included.
    rejected: str  # The worse text.
    kind: Literal["full", "step"] = "full"  # Full solutions, or one step of a solution that goes on after it.
    error_type: str = ""  # What is wrong with the rejected text, the name of an error type; "" if it is not known.
    chosen_messages: tuple[Message, ...] = ()
    """The better side as messages after `Problem.messages`, where a side is more than one text of the assistant;
    `chosen` and `rejected` are then the last texts of the assistant. Both sides are made by `conversation_pair`."""
    rejected_messages: tuple[Message, ...] = ()  # The worse side as messages.
    scores: tuple[float, float] | None = None  # What somebody gave to the chosen and the rejected side.


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One of several completions of a prompt, as somebody judged it."""

    text: str  # The completion.
    reward: float | None = None  # Its reward; None if there is none.
    steps: tuple[str, ...] = ()  # Its steps, where they are labelled.
    labels: tuple[bool, ...] = ()  # Whether each step is right.
    finished: bool = True  # Whether it ended by itself; False if it was cut at a longest length.
    ids: tuple[int, ...] = ()  # Its tokens as they were drawn, an end token included; empty if they are not known.
    logprobs: tuple[float, ...] = ()  # Of each of its tokens (nats), by the model itself at temperature 1; or empty.
    proposal_logprobs: tuple[float, ...] = ()  # The same under the distribution that was drawn from.
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    """What else a record says of it, by name: `extras["segment_NAME"]` of a batch of the task `group`."""
    values: tuple[float, ...] = ()  # How the text is expected to end after each step, from -1 (wrong) to 1 (right).


@dataclasses.dataclass(frozen=True)
class Problem:
    """One question with what is known about it; every source gives these and every task renders them."""

    id: str  # Names the problem in error messages and logs, such as `train.jsonl:12`.
    question: str  # The text of the task; of a conversation, its first user message.
    answer: str = ""  # The final answer alone, such as "18"; empty where it is not known.
    right: tuple[str, ...] = ()  # Solutions known to be right, each complete with its final answer.
    wrong: tuple[str, ...] = ()  # Solutions known to be wrong.
    messages: tuple[Message, ...] = ()
    """A conversation. Alone it is the example, and ends with the assistant; with an answer, solutions or pairs it is
    the context of those. Empty where the context is the question alone."""
    pairs: tuple[Pair, ...] = ()  # Pairs that were made as such, by an annotator or by injection.
    success_rate: float | None = None  # Share of a model's sampled solutions that were right; None if not sampled.
    source: str = ""  # Where it comes from, such as "gsm8k".
    options: tuple[str, ...] = ()  # Texts of the options of a choice, in order, with or without their letters.
    where: str = dataclasses.field(default="", compare=False)  # Where it was read, for messages: `data/train.jsonl:12`.
    tools: tuple[Tool, ...] = dataclasses.field(
        default=(), hash=False
    )  # What the assistant may call, for the template.
    candidates: tuple[Candidate, ...] = ()
    """Completions with rewards or labels of their steps. `right` and `wrong` have those that are one of both."""
    difficulty: float | None = None  # How hard somebody says that it is, in any unit; None if nobody does.

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
    "messages": ("messages", "tools"),
    "solutions": ("question", "prompt", "answer", "right", "wrong", "success_rate", "options"),
    "preference": ("prompt", "chosen", "rejected", "tools"),
}
OPTIONAL = ("tools",)  # Keys of a schema that a record may leave out.
"""The record schemas, as keys. Every schema also takes the optional keys `id` and `source`.

- completion: `{"prompt": str, "completion": str}`; the completion is taken to be right.
- messages: `{"messages": [{"role": "system" | "user" | "assistant" | "tool", "content": str}, ...]}`, with the other
  keys of `mtjax.data.messages.Message`, and `tools` beside it.
- solutions: `{"question" (or "prompt"): str, "answer": str, "right": [str, ...], "wrong": [str, ...]}` with the
  question and one of the others; `success_rate` is the share of samples that were right, 0 to 1, and `options` are the
  texts of the options of a choice, in order: then the answer is a letter or the text of an option. A question that does
  not list them gets them as lines `(A) ...` at its end.
- preference: `{"prompt": str, "chosen": str, "rejected": str}`, the convention of TRL; each may be a list of messages,
  and the prompt may be left out where both sides begin with it.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Record:
    """The keys of all schemas."""

    id: str = ""
    source: str = ""
    prompt: str = ""
    completion: str = ""
    chosen: str = ""
    rejected: str = ""
    question: str = ""
    answer: str = ""
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    success_rate: float | None = None
    options: tuple[str, ...] = ()


def conversation_pair(
    prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message], where: str
) -> tuple[str, tuple[Message, ...], Pair]:
    """Two conversations as `(question, messages, pair)` of a problem.

    `messages` is what they share, everything before their first difference; it is empty where that is one plain message
    of the user, the question. The prompt is put before both sides, unless both begin with it. A side that goes on with
    one plain answer is kept as text.

    Raises InputError, beginning with `where`, for an order of speakers that no conversation has.
    """
    size = len(prompt)
    if not (tuple(chosen[:size]) == tuple(rejected[:size]) == tuple(prompt)):
        chosen, rejected = [*prompt, *chosen], [*prompt, *rejected]
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        check_conversation(side, where, name)
    context, *sides = part(chosen, rejected, where)
    better, worse = (side[-1].content for side in sides)
    question = next(message.content for message in (*context, *sides[0]) if message.role == "user")
    if all(len(side) == 1 and side[0].is_plain for side in sides):
        plain = len(context) == 1 and context[0].role == "user" and context[0].is_plain
        return question, () if plain else context, Pair("", better, worse)
    return question, context, Pair("", better, worse, chosen_messages=sides[0], rejected_messages=sides[1])


AS_GIVEN = ("arguments", "tools")  # Keys whose values keep their nulls, which mean something to a tool.


def without_nulls(value: Any, keep: Collection[str] = AS_GIVEN) -> Any:
    """A record without the keys that are null, at any depth: columns of a table are there for every row.

    Values of the keys in `keep` stay as they are.
    """
    if isinstance(value, str):  # most values are; this is fast
        return value
    if isinstance(value, Mapping):
        return {
            key: item if type(item) is str or key in keep else without_nulls(item, keep)
            for key, item in value.items()
            if item is not None
        }
    return [without_nulls(item, keep) for item in value] if isinstance(value, list | tuple) else value


_KEYS = tuple(sorted({"id", "source"}.union(*SCHEMAS.values())))


class UnknownKeys(InputError):
    """A record has the keys of another format, as probably all records of its file: skipping it would not help."""


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
    refuse_unknown(record, _KEYS, where)
    keys = set(record)
    marks = {"messages": "messages", "completion": "completion", "chosen": "preference", "rejected": "preference"}
    schema = next((name for mark, name in marks.items() if mark in keys), "solutions")
    refuse_unknown(record, ("id", "source", *SCHEMAS[schema]), where)
    talk = schema == "preference" and isinstance(record.get("chosen"), list | tuple)
    needed = {*SCHEMAS[schema]} - {*OPTIONAL, *(("prompt",) if talk else ())}
    if schema != "solutions" and (missing := needed - keys):
        raise InputError(f"{where}: no {min(missing)!r} in keys {sorted(keys)}; a {schema} record needs it: add it")
    if {"question", "prompt"} <= keys:
        raise InputError(f"{where}: both 'question' and 'prompt'; give one, they mean the same")
    if not talk and not {"question", "prompt", "messages"} & keys:
        raise InputError(f"{where}: no question in keys {sorted(keys)}; expected 'question', 'prompt' or 'messages'")
    if schema == "solutions" and not {"answer", "right", "wrong"} & keys:
        raise InputError(f"{where}: only a question; add at least one of 'completion', 'answer', 'right', 'wrong'")
    tools = read_tools(record.pop("tools"), where) if "tools" in keys else ()
    messages: tuple[Message, ...] = ()
    talks = ("messages",) if schema == "messages" else ("prompt", "chosen", "rejected") if talk else ()
    spoken = {key: read_messages(record.pop(key), where, key) for key in talks if key in keys}
    found = decode(record, _Record, where)
    question, right, rate = with_options(found.question or found.prompt, found.options), found.right, found.success_rate
    pairs: tuple[Pair, ...] = ()
    if schema == "messages":
        check_conversation(messages := spoken["messages"], where)
        question = next(message.content for message in messages if message.role == "user")
    elif schema == "completion":
        right = (found.completion,)
    elif talk:
        sides = (spoken["chosen"], spoken["rejected"])
        question, messages, pair = conversation_pair(spoken.get("prompt", ()), *sides, where)
        pairs = (pair,)
    elif schema == "preference":
        pairs = (Pair("", found.chosen, found.rejected),)
    if rate is not None and not 0 <= rate <= 1:
        raise InputError(f"{where}: 'success_rate' is {rate}; expected a number from 0 to 1")
    name = record.get("id", id or where)
    known = (question, found.answer, right, found.wrong, messages, pairs, rate, found.source, found.options)
    return Problem(name, *known, where, tools)


def record_from_problem(problem: Problem) -> dict[str, Any]:
    """The record that `problem_from_record` turns back into this problem; keys of empty fields are left out.

    InputError for what no schema holds: both a conversation and solutions, several pairs, or one with a context.
    """
    solved = problem.right or problem.wrong
    talk = [message_record(message) for message in problem.messages]
    if problem.pairs:
        pair = problem.pairs[0]
        if len(problem.pairs) > 1 or pair.context or solved:
            raise InputError(
                f"problem {problem.id!r} has {len(problem.pairs)} pairs; a record holds one without context, and "
                "nothing else: keep mistakes as `mtjax.data.mistake_record` files"
            )
        record: dict[str, Any] = {"prompt": problem.question, "chosen": pair.chosen, "rejected": pair.rejected}
        if talk or pair.chosen_messages:
            sides = {name: getattr(pair, f"{name}_messages") for name in ("chosen", "rejected")}
            sides = {name: side or (Message("assistant", getattr(pair, name)),) for name, side in sides.items()}
            record = ({"prompt": talk} if talk else {}) | {
                name: [message_record(message) for message in side] for name, side in sides.items()
            }
    elif problem.messages:
        if problem.answer or solved:
            raise InputError(
                f"problem {problem.id!r} has both messages and an answer or solutions; no record schema holds both, "
                "so write the solutions as assistant messages"
            )
        record = {"messages": talk}
    else:
        record = {"question": problem.question, "answer": problem.answer}
        record |= {name: list(texts) for name in ("right", "wrong") if (texts := getattr(problem, name))}
        record |= {} if problem.success_rate is None else {"success_rate": problem.success_rate}
        record |= {"options": list(problem.options)} if problem.options else {}
    record |= {"tools": list(problem.tools)} if problem.tools else {}
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
    if split == "all":
        return True
    low, high = SHARES[split]
    digest = hashlib.sha256(" ".join(question.lower().split()).encode()).digest()
    return low <= int.from_bytes(digest[:8], "big") / 2**64 < high
