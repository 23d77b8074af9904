"""Statements that a model holds for unlikely though they are true: the long tail, and a search for them by a rule."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Gt, Le
from jaxtyping import Float

from mtjax.mistakes.checks.base import CHECKS, Check, Found, Need, Subject
from mtjax.mistakes.checks.membership import AT_ONCE, full_text
from mtjax.reporting.report import Table

THRESHOLDS = (0.85, 0.80, 0.75, 0.70, 0.65)  # Of the critic, lowered until enough statements are left.

Values = Mapping[str, str]
"""A value for each variable of a rule that has been filled so far."""


def passing(scores: Float[np.ndarray, " N"], quota: int, thresholds: Sequence[float] = THRESHOLDS) -> tuple[Any, float]:
    """The places of the scores that reach the first threshold which `quota` of them reach, and that threshold.

    If none does, the last threshold decides.

    >>> passing(np.array([0.9, 0.7, 0.76, 0.2]), 2)
    (array([0, 2]), 0.75)
    """
    for threshold in thresholds:
        found = np.flatnonzero(scores >= threshold - 1e-9)
        if len(found) >= quota:
            break
    return found, threshold


class Tail(NamedTuple):
    """The unlikely and the likely part of statements."""

    tail: Any  # places of the least likely ones, ascending by log-probability
    head: Any  # places of the others
    gap: float  # mean log-probability of the head minus that of the tail

    def differs(self, delta: float = 0.3) -> bool:
        """Whether the two parts differ enough to be called a tail and a head."""
        return self.gap > delta


def split_tail(logprobs: Float[np.ndarray, " N"], share: float = 0.5) -> Tail:
    """The `share` of statements with the lowest mean log-probability of their tokens, and the others."""
    order = np.argsort(logprobs, kind="stable")
    count = min(max(round(share * len(order)), 1), max(len(order) - 1, 1))
    tail, head = order[:count], order[count:]
    return Tail(tail, head, float(logprobs[head].mean() - logprobs[tail].mean()) if len(head) else 0.0)


def rule_search(
    variables: Sequence[str],
    propose: Callable[[str, Values], Sequence[str]],
    critic: Callable[[str, Sequence[Values]], Sequence[float]],
    loglikelihood: Callable[[Sequence[Values]], Sequence[float]],
    *,
    beam: int = 200,
    keep: float = 0.75,
    quota: int = 200,
) -> list[dict[str, str]]:
    """Values of the variables of a rule that make true and unlikely statements, the least likely first (LINK).

    Variables are filled one after the other. For each partial assignment `propose` gives values of the next variable,
    `critic` says how sure it is that they are of the right kind and make the rule true (the threshold falls from 0.85
    to 0.65 until `quota` are left), and of those that pass, the share `keep` with the lowest log-likelihood goes on, at
    most `beam`. Equal assignments count once.

    Args:
        propose: (variable, values so far) -> values, such as 4 samples of 50 values by a language model.
        critic: (variable, assignments) -> the probability of each that it is right.
        loglikelihood: assignments -> log-likelihood of the statement that each makes.

    Source: Li et al., "In Search of the Long-Tail: Systematic Generation of Long-Tail Inferential Knowledge via Logical
    Rule Guided Search", 2023 (arXiv 2311.07237).
    """
    found: list[dict[str, str]] = [{}]
    for variable in variables:
        grown = [values | {variable: new} for values in found for new in dict.fromkeys(propose(variable, values))]
        if not grown:
            return []
        places, _ = passing(np.asarray(critic(variable, grown), np.float64), quota)
        right = [grown[place] for place in places]
        order: Any = np.argsort(np.asarray(loglikelihood(right), np.float64), kind="stable") if right else []
        found = [right[place] for place in order[: min(beam, max(round(keep * len(right)), 1))]]
    return found


@CHECKS.register("long_tail")
@dataclasses.dataclass(frozen=True)
class LongTail(Check):
    """Which texts are the long tail of `--model`: those with the lowest mean log-probability of their tokens.

    Head and tail are told apart only if their means differ by more than `delta`. All numbers are in `long_tail.jsonl`.
    Nothing is flagged: unlikely texts are not wrong. `rule_search` of `mtjax/mistakes/checks/long_tail.py` makes such
    statements by a rule.

    Source: Li et al., "In Search of the Long-Tail", 2023 (arXiv 2311.07237).
    """

    needs: ClassVar[tuple[Need, ...]] = ("score",)
    by_default: ClassVar[bool] = False

    share: Annotated[float, Gt(0), Le(0.9)] = 0.5  # Share of the texts in the tail.
    delta: Annotated[float, Gt(0)] = 0.3  # Least difference of the means (nats per token).

    def __call__(self, subject: Subject) -> Found:
        assert subject.score is not None
        names: list[tuple[int, str]] = []
        means: list[float] = []
        part: list[str] = []
        for number, problem in enumerate(subject.read()):
            names.append((number, problem.id))
            part.append(full_text(problem))
            if len(part) == AT_ONCE:
                means += map(_mean, subject.score([("", text) for text in part]))
                part = []
        means += map(_mean, subject.score([("", text) for text in part]))
        known = np.flatnonzero(np.isfinite(means))
        if len(known) < 2:
            return Found(skipped=f"{len(known)} texts have a token to score; expected at least 2")
        values = np.asarray(means)[known]
        split = split_tail(values, self.share)
        side = {int(known[place]): "tail" for place in split.tail} | {int(known[place]): "head" for place in split.head}
        records = [
            {"number": number, "id": id, "logprob": round(means[number], 6), "part": side[number]}
            for number, id in names
            if number in side
        ]
        rows: list[list[Any]] = [
            [name, len(at), float(values[at].mean())] for name, at in (("tail", split.tail), ("head", split.head))
        ]
        verdict = "a long tail" if split.differs(self.delta) else "no long tail: the two are not different enough"
        facts = [f"Head and tail differ by {split.gap:.2f} nats per token (more than {self.delta:g} asked): {verdict}."]
        return Found((), facts, (Table(("part", "texts", "mean log-probability"), rows),), records=records)


def _mean(logprobs: np.ndarray) -> float:
    return float(np.mean(logprobs)) if len(logprobs) else float("nan")
