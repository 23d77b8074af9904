"""Texts that a model has probably been trained on."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Le, Lt

from mtjax.data.membership import lowercase_ratio, min_k, per_zlib, rates
from mtjax.data.problem import Problem
from mtjax.data.selection.base import asked
from mtjax.mistakes.checks.base import CHECKS, Check, Flag, Found, Need, Subject, folds_of
from mtjax.mistakes.checks.labels import cross_fitted
from mtjax.reporting.report import Table

AT_ONCE = 256  # Texts that are scored together.
PERCENTS = (5, 10, 20, 30, 40, 50, 60)  # Of Min-K%, in tables.


def full_text(problem: Problem) -> str:
    """The text of a problem as it may stand in training data: what is asked, and its first right solution."""
    solution = problem.right[0] if problem.right else problem.pairs[0].chosen if problem.pairs else ""
    question = asked(problem)
    return question if not solution or question == solution else f"{question}\n{solution}"


@CHECKS.register("membership")
@dataclasses.dataclass(frozen=True)
class Membership(Check):
    """Texts that `--model` has probably been trained on, by Min-K% Prob.

    Scores are compared with those of `--against`, texts that the model cannot have seen: a text is flagged that has a
    higher Min-K% score than all but `false_rate` of these. Baselines stand beside it: perplexity, zlib, lower case, and
    perplexity against `--reference_model`; so does a classifier of words, which sees no model: where it tells the two
    sets apart, they differ in topic or style, and a high area of the scores may come from that alone. Planted truth
    (`--truth`) takes the place of `--against`.

    Source: Shi et al., "Detecting Pretraining Data from Large Language Models", 2024 (arXiv 2310.16789).
    """

    needs: ClassVar[tuple[Need, ...]] = ("score",)
    by_default: ClassVar[bool] = False  # it is a question about a model

    percent: Annotated[float, Gt(0), Le(100)] = 20.0  # K of Min-K%.
    false_rate: Annotated[float, Gt(0), Lt(1)] = 0.05  # Share of unseen texts that may be flagged.

    def __call__(self, subject: Subject) -> Found:
        planted = {number for number, names in (subject.truth or {}).items() if names & {"*", "membership"}}
        own = self._scores(subject, subject.read())
        if subject.against is not None:
            other = self._scores(subject, subject.against())
        elif planted:
            other = [one for one in own if one["number"] not in planted]
        else:
            return Found(skipped="give texts that the model cannot have seen, as --against, or planted truth")
        compared = own if subject.against is not None else [one for one in own if one["number"] in planted]
        if not (compared and other):
            return Found(skipped=f"{len(compared)} texts and {len(other)} others have a score; both are needed")
        names = [name for name in own[0] if name not in ("number", "id", "text")]
        column = lambda items, name: np.array([one[name] for one in items], np.float64)
        rows: list[list[Any]] = [[name, *rates(column(compared, name), column(other, name))] for name in names]
        words = [one["text"] for one in (*compared, *other)]
        truth = np.repeat([1, 0], [len(compared), len(other)])
        if min(len(compared), len(other)) >= 10:
            p = cross_fitted(subject.embed(words), truth, folds_of(range(len(words)), 5, subject.seed), 2)[:, 1]
            rows.append(["words alone, no model", *rates(p[truth == 1], p[truth == 0])])
        name = f"min {self.percent:g}%"
        limit = float(np.quantile(column(other, name), 1 - self.false_rate))
        reason = f"{name} score {{:.2f}}, above {limit:.2f}, which {self.false_rate:.0%} of unseen texts exceed"
        flags = [Flag(x["number"], x["id"], reason.format(x[name]), "", x[name]) for x in own if x[name] > limit]
        facts = [f"{len(compared):,} texts against {len(other):,} others; {len(flags):,} are flagged."]
        caption = f"Area under the ROC curve, and share of the texts found at {self.false_rate:.0%} of the others."
        records = [{key: value for key, value in one.items() if key != "text"} for one in own]
        return Found(flags, facts, (Table(("score", "area", "found"), rows, caption),), records=records)

    def _scores(self, subject: Subject, problems: Iterable[Problem]) -> list[dict[str, Any]]:
        assert subject.score is not None
        found: list[dict[str, Any]] = []
        part: list[tuple[int, str, str]] = []

        def score_part() -> None:
            texts = [text for _, _, text in part]
            alone = lambda scorer, some: scorer([("", text) for text in some])
            plain: list[np.ndarray] = alone(subject.score, texts)
            lowered = alone(subject.score, [text.lower() for text in texts])
            others: list[Any] = alone(subject.reference, texts) if subject.reference else [None] * len(texts)
            for (number, id, text), own, low, other in zip(part, plain, lowered, others, strict=True):
                if len(own):
                    one: dict[str, Any] = {"number": number, "id": id, "text": text}
                    one |= {f"min {k:g}%": min_k(own, k) for k in sorted({*PERCENTS, self.percent})}
                    one |= {"perplexity": float(np.mean(own)), "zlib": per_zlib(own, text)}
                    one["lower case"] = lowercase_ratio(own, low)
                    if other is not None:
                        one["reference"] = float(np.mean(own) - np.mean(other)) if len(other) else math.nan
                    found.append(one)
            part.clear()

        for number, problem in enumerate(problems):
            part.append((number, problem.id, full_text(problem)))
            if len(part) == AT_ONCE:
                score_part()
        score_part()
        return found
