"""The reward of a tool call by what is wrong with it (TL-Training)."""

import dataclasses
from collections.abc import Mapping

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.answer import gold_answer
from mtjax.evaluation.graders.tool_call import Call, call_of, signatures
from mtjax.evaluation.rewards.base import REWARDS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample

TABLE: Mapping[str, float] = {
    "unparsable": -2.0,
    "unknown tool": -2.0,
    "wrong tool": -1.5,
    "hallucinated, redundant and missing": -1.8,
    "hallucinated and redundant or missing": -1.3,
    "redundant and missing": -1.0,
    "hallucinated": -0.8,
    "redundant or missing": -0.5,
    "values": -0.25,
    "right": 1.0,
}
"""The reward of each kind of call, in the order in which they are looked for. It is not monotone: a wrong tool scores
higher than the right one with all three faults of parameters."""


def kind_of(call: Call | None, gold: Call, offered: Mapping[str, set[str]]) -> str:
    """What is wrong with a call, a key of `TABLE`.

    Parameters are hallucinated if the tool does not have them, redundant if the right call does not, and missing if it
    has them and this one does not.
    """
    if call is None:
        return "unparsable"
    if call.name not in offered:
        return "unknown tool"
    if call.name != gold.name:
        return "wrong tool"
    own, wanted = set(call.arguments), set(gold.arguments)
    known = offered[call.name] | wanted
    hallucinated, redundant, missing = bool(own - known), bool((own & known) - wanted), bool(wanted - own)
    if hallucinated:
        if redundant and missing:
            return "hallucinated, redundant and missing"
        return "hallucinated and redundant or missing" if redundant or missing else "hallucinated"
    if redundant or missing:
        return "redundant and missing" if redundant and missing else "redundant or missing"
    return "right" if call.arguments == gold.arguments else "values"


@REWARDS.register("tool_call")
@dataclasses.dataclass(frozen=True)
class ToolCallReward:
    """From -2 for a text that is no call, over faults of parameters, to 1 for the right call, by a table.

    The answer of a problem is the right call as text, and `tools` are those on offer. Not known for a problem whose
    answer is no call.

    Source: Ye et al., "TL-Training: A Task-Feature-Based Framework for Training Large Language Models in Tool Use",
    2024 (arXiv 2412.15495); `Junjie-Ye/TL-Training`, whose parser sees single-quoted arguments alone.
    """

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        gold = call_of(gold_answer(problem) or "")
        if gold is None:
            return None
        return TABLE[kind_of(call_of(sample.text), gold, signatures(problem) or {gold.name: set(gold.arguments)})]
