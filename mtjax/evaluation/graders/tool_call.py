"""Compare a tool call with the right one."""

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.answer import gold_answer
from mtjax.evaluation.graders.base import GRADERS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample


class Call(NamedTuple):
    """A call of a tool."""

    name: str
    arguments: dict[str, Any]


def call_of(text: str) -> Call | None:
    """The call that a text is, such as `search(query='a', count=2)`, alone or as its last line; None for other texts.

    Arguments are Python literals by name, quoted either way. Positional arguments are not understood.

    >>> call_of("Let me look.\\nsearch(query='a', count=2)")
    Call(name='search', arguments={'query': 'a', 'count': 2})
    """
    lines = [line for line in text.strip().splitlines() if line.strip()]
    for candidate in (text.strip(), *(lines[-1:])):
        try:
            node = ast.parse(candidate, mode="eval").body
            if isinstance(node, ast.Call) and not node.args and all(word.arg for word in node.keywords):
                arguments = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
                return Call(ast.unparse(node.func), arguments)
        except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError):
            continue
    return None


def signatures(problem: Problem) -> dict[str, set[str]]:
    """The names of the parameters of each tool on offer, by its name."""
    found = {}
    for tool in problem.tools:
        inner: Any = tool.get("function", tool)
        if isinstance(inner, Mapping):
            parameters = inner.get("parameters") or {}
            found[str(inner.get("name", ""))] = set((parameters.get("properties") or {}).keys())
    return found


@GRADERS.register("tool_call")
@dataclasses.dataclass(frozen=True)
class ToolCallGrader:
    """Right if the sample is a call of the right tool with the right arguments; the answer is that call as text.

    A sample that is no call is wrong. A problem whose answer is no call cannot be decided.

    Source: Ye et al., "TL-Training: A Task-Feature-Based Framework for Training Large Language Models in Tool Use",
    2024 (arXiv 2412.15495).
    """

    needs_gold: ClassVar[bool] = True

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        gold = call_of(gold_answer(problem) or "")
        if gold is None or not sample.finished:
            return Verdict.UNKNOWN
        return Verdict.RIGHT if call_of(sample.text) == gold else Verdict.WRONG
