"""Tool calls as a task: the tokens that decide which tool is called weigh more."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from mtjax.data.encoding import encode_apart
from mtjax.data.messages import Targets, Tool
from mtjax.data.problem import Problem
from mtjax.data.tasks.base import TASKS, Rendered, Span
from mtjax.data.tasks.chat import ChatTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.validation import check_types


@TASKS.register("tool_call")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolCallTask(ChatTask):
    """Conversations whose last turn calls a tool, with more weight on the key tokens of the tool's name (TL-Training).

    Key tokens are the first token of each name that the turn calls, and for every other tool on offer whose name begins
    with the same tokens the token at which the names part. Their weight is `|others| / |keys|`, at most `most` and at
    least 1, the others' being 1; `objective:nll` divides by the sum of the weights. Where there is no tool to tell
    apart, and where there are as many keys as others, all weights are 1.

    Names part where their tokens do, not their characters: every other name is put in place of the called one and
    tokenised with the text around it. A turn without `tool_calls` calls the first tool whose name stands in its text.

    Source: Ye et al., "TL-Training: A Task-Feature-Based Framework for Training Large Language Models in Tool Use",
    2024 (arXiv 2412.15495), section on prioritised key tokens. The released code also leaves the tokens that end
    parameters out of the count of others.
    """

    name: ClassVar[str] = "tool_call"
    needs: ClassVar[str] = "messages that end in a call of one of their tools"
    before: ClassVar[Mapping[str, Any]] = {**ChatTask.before, "targets": "last"}

    targets: Targets = "last"  # Train what the assistant says in its last turn, or in all turns.
    most: Annotated[float, Ge(1)] = 9.0  # Largest weight of a key token.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_types(self, "task")

    def render(self, problem: Problem, tokenizer: Tokenizer | None = None) -> list[Rendered]:
        """As the task chat, with spans of their own for the key tokens."""
        rendered = super().render(problem, tokenizer)
        if tokenizer is None:
            return rendered
        offered = [name_of(tool) for tool in problem.tools]
        _, answer = self.conversation(problem)
        called = [name_of(call) for message in answer for call in message.tool_calls]
        return [self._weighted(one, called, offered, tokenizer) for one in rendered]

    def _weighted(self, one: Rendered, called: list[str], offered: Sequence[str], tokenizer: Tokenizer) -> Rendered:
        start, end, _ = one.spans[-1]
        names = called_names(one.text, start, end, called, offered)
        keys = key_characters(tokenizer, one, names, offered)
        offsets = np.asarray(encode_apart(tokenizer, one.text, (one.prompt_end,)).offsets, np.int64).reshape(-1, 2)
        inside = [(offsets[:, 1] > span.start) & (offsets[:, 0] < span.end) for span in one.spans]
        others = int(np.any(inside, axis=0).sum()) + int(one.ends) - len(keys)
        if not keys or len(keys) >= others:
            return one
        weight = min(max(others / len(keys), 1.0), float(self.most))
        return one._replace(spans=(*one.spans, *(Span(*key, weight) for key in keys)))


def name_of(tool: Tool) -> str:
    """The name of a tool or of a call, with or without the `function` around it."""
    inner = tool.get("function", tool)
    return str(inner.get("name", "")) if isinstance(inner, Mapping) else ""


def called_names(
    text: str, start: int, end: int, called: Sequence[str], offered: Sequence[str]
) -> list[tuple[int, int]]:
    """Where the names of the calls stand in `text[start:end]`, in their order.

    Without calls, where the first name on offer stands as a word. Raises InputError for a call whose name is not there.
    """
    if not called:
        pattern = "|".join(re.escape(name) for name in sorted(filter(None, offered), key=len, reverse=True))
        found = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)").search(text, start, end) if pattern else None
        return [found.span()] if found else []
    places = []
    for name in called:
        at = text.find(name, start, end)
        if not name or at < 0:
            raise InputError(
                f"the chat template does not show the call of {name!r} in the turn {text[start:end]!r:.60}"
            )
        places.append((at, at + len(name)))
        start = at + len(name)
    return places


def key_characters(
    tokenizer: Tokenizer, rendered: Rendered, names: Sequence[tuple[int, int]], offered: Sequence[str]
) -> list[tuple[int, int]]:
    """The characters of each key token: of the first of a name, and of those where another name parts from it."""
    text, places = rendered.text, (rendered.prompt_end,)
    ids, offsets = encode_apart(tokenizer, text, places)
    keys = set()
    for start, end in names:
        first = next(place for place, (_, stop) in enumerate(offsets) if stop > start)
        keys.add(first)
        for other in {*offered} - {text[start:end], ""}:
            swapped = encode_apart(tokenizer, text[:start] + other + text[end:], places).ids
            part = next((n for n, (a, b) in enumerate(zip(ids, swapped, strict=False)) if a != b), len(ids))
            if first < part < len(ids):
                keys.add(part)
    return [(int(offsets[place][0]), int(offsets[place][1])) for place in sorted(keys)]
