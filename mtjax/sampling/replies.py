"""Replies of OpenAI-compatible servers: samples, refusals, and what to leave out after a refusal."""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from mtjax.sampling.sampler import Sample, Silence, cut

Optional = Literal["n", "logprobs", "seed"]
"""Optional parameters of a request; without `n` there is one sample per request."""

Limit = Literal["max_tokens", "max_completion_tokens"]
"""How a server calls the longest answer."""


class Form(NamedTuple):
    """What of a request depends on the server."""

    without: frozenset[str] = frozenset()  # parameters to leave out
    limit: Limit = "max_tokens"


class Refused(Exception):
    """The server refuses a request, and would again: its status and message."""

    def __init__(self, status: int, said: str, path: str = ""):
        super().__init__(f"status {status}: {said}")
        self.status, self.said, self.path = status, said, path


def named(refused: Refused, form: Form, usual: Collection[str]) -> list[Form]:
    """The form that a refusal asks for in words: another name for the limit, and without what it names.

    `usual` are further parameters that may be left out, because they have the value that a server assumes.
    """
    limit: Limit = form.limit
    if re.search(r"\bmax_completion_tokens\b", refused.said):
        limit = "max_completion_tokens"
    names = {name for name in (*get_args(Optional), *usual) if re.search(rf"\b{name}\b", refused.said)}
    asked = Form(form.without | names, limit)
    return [asked] if refused.status in (400, 422, 501) and asked != form else []


def trials(refused: Refused, without: frozenset[str], n: int) -> Iterator[frozenset[str]]:
    """Parameters to leave out after a refusal, most likely first: those that the server named, each alone, all."""
    if refused.status not in (400, 413, 422, 501):
        return
    left = [name for name in get_args(Optional) if name not in without and not (name == "n" and n == 1)]
    named = {name for name in left if re.search(rf"\b{name}\b", refused.said)}
    first = [frozenset(named)] if len(named) > 1 else []
    for drop in (*first, *(frozenset({name}) for name in sorted(left, key=lambda name: name not in named))):
        yield without | drop
    if len(left) > 1:
        yield without | frozenset(left)


TEXT_PARTS = ("text", "output_text")
"""Kinds of parts of a message's content that are the answer."""


def read_choices(reply: Any, stop: Sequence[str] = ()) -> list[Sample]:
    """The samples of a reply of `/v1/completions` or `/v1/chat/completions`, in the order of their `index`.

    A sample is finished if `finish_reason` is "stop". Its log-probability is the sum of those that the reply lists, or
    None if it lists none or one that is not finite. Raises ValueError for any other reply.
    """
    choices = _dict(reply).get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(one, Mapping) for one in choices):
        raise ValueError(f"an answer without choices: {said_in(json.dumps(reply).encode()) or repr(reply)[:120]}")
    choices = sorted(choices, key=lambda one: one["index"] if isinstance(one.get("index"), int) else 0)
    total = _dict(reply.get("usage")).get("completion_tokens") if len(choices) == 1 else None
    return [_sample(one, total if isinstance(total, int) else None, stop) for one in choices]


def _sample(choice: Mapping[str, Any], total: int | None, stop: Sequence[str]) -> Sample:
    message, listed = choice.get("message"), _dict(choice.get("logprobs"))
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    if isinstance(text, list):  # as parts, of which those of a kind that is no answer have no text, such as reasoning
        parts = [_dict(part) for part in text]
        text = "".join(str(part.get("text") or "") for part in parts if part.get("type", "text") in TEXT_PARTS)
    if not isinstance(text, str) and (text is not None or not isinstance(message, Mapping)):
        raise ValueError(f"a choice without text: {choice!r:.120}")
    found = listed.get("token_logprobs")
    if isinstance(listed.get("content"), list):  # the format of a chat
        found = [_dict(one).get("logprob") for one in listed["content"]]
    found = found if isinstance(found, list) else []
    numbers = [float(one) if isinstance(one, int | float) else math.nan for one in found]
    return Sample(
        text=cut(text or "", stop),  # a chat that says nothing has content null
        logprob=math.fsum(numbers) if numbers and all(map(math.isfinite, numbers)) else None,
        tokens=len(numbers) or total,
        finished=choice.get("finish_reason") == "stop",
        withheld=_withheld(choice, _dict(message), bool(text)),
    )


def _withheld(choice: Mapping[str, Any], message: Mapping[str, Any], answered: bool) -> Silence:
    """Why a choice holds no answer: a content filter or refusal, or a thought alone."""
    if choice.get("finish_reason") == "content_filter" or (message.get("refusal") and not answered):
        return "filtered"
    thought = message.get("reasoning_content") or message.get("reasoning")
    return "reasoning" if thought and not answered else ""


def _dict(value: Any) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def said_in(body: bytes) -> str:
    """The message in the body of an error, on one line; "" if there is none.

    >>> said_in(b'{"error": {"message": "no such model"}}')
    'no such model'
    """
    text = body.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    for key in ("error", "message", "detail"):
        found = _dict(found).get(key) or found
    text = found if isinstance(found, str) else text if found is None else json.dumps(found)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())[:300]
