"""Labels that a panel of judges, each asked in several ways, holds for wrong."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Lt
from jaxtyping import Float

from mtjax.mistakes.checks.answers import unconfirmed
from mtjax.mistakes.checks.base import CHECKS, Check, Flag, Found, Judged, Need, Subject, labelled
from mtjax.mistakes.checks.labels import classes_of
from mtjax.reporting.report import Table

BINS = (0.5, 0.65, 0.8, 0.95, 0.99, 1.0)  # Confidence of the panel, in the paper's bins.


def panel(judged: Sequence[Sequence[Judged]], names: Sequence[str]) -> Float[np.ndarray, "N K"]:
    """Mean over judges and prompts of the normalised probability of each label; NaN for an item that none judged."""
    out = np.full((len(judged), len(names)), np.nan)
    for row, judges in enumerate(judged):
        each = np.array([[judge.get(name, 0.0) for name in names] for judge in judges], np.float64)
        total = each.sum(axis=1, keepdims=True) if len(each) else each
        each = each[total[:, 0] > 0] / total[total[:, 0] > 0] if len(each) else each
        if len(each):
            out[row] = each.mean(axis=0)
    return out


@CHECKS.register("judges")
@dataclasses.dataclass(frozen=True)
class Judges(Check):
    """Labels that a confident panel of judges disagrees with.

    Formula: `p(y)` is the mean over judges and prompts of the normalised probability of label y; a label is flagged if
    `argmax p` differs from it and `max p > confidence`. Judges are the models of `--judge_models`, in four wordings
    each, or `--judgements FILE`. Above 0.95 more than two thirds of the flags were label errors in the paper, and to
    flip them beat to leave them out. Errors that judges and labels share are not found, so labels that are corrected
    lean towards models like the judges: report results on the labels as given too.

    Source: Nahum et al., "Are LLMs Better than Reported? Detecting Label Errors and Mitigating Their Effect on Model
    Performance", 2024 (arXiv 2410.18889).
    """

    needs: ClassVar[tuple[Need, ...]] = ("judgements",)
    of_texts: ClassVar[bool] = True

    confirm: bool = True  # Do not flag a right or wrong text whose label its final answer confirms.
    confidence: Annotated[float, Ge(0), Lt(1)] = 0.95  # Above which a disagreement is flagged.

    def __call__(self, subject: Subject) -> Found:
        assert subject.judgements is not None
        items = labelled(subject)
        if not items:
            return Found(skipped="there are no right and wrong texts, and no small set of answers, to be labels")
        names, labels = classes_of(items)
        judged = subject.judgements(items)
        p = panel(judged, names)
        known = np.isfinite(p[:, 0])
        if not known.any():
            return Found(skipped="no item has a judgement; are the judgements of these data?")
        sure, best = np.nanmax(np.where(known[:, None], p, 0), axis=1), np.nan_to_num(p).argmax(axis=1)
        other = known & (best != labels)
        flags = []
        for place in np.flatnonzero(other & (sure > self.confidence)).tolist():
            item, to = items[place], names[best[place]]
            said = f"{to!r:.40} ({sure[place]:.2f}, {len(judged[place])} judgements)"
            reason = f"label {item.label!r:.40}; the panel says {said}"
            fix: Any = "answer" if item.part == "answer" else "flip"
            flags.append(Flag(item.number, item.id, reason, item.part, float(sure[place]), fix, to))
        rows: list[list[Any]] = []
        for low, high in zip(BINS, BINS[1:], strict=False):
            inside = known & (sure >= low) & ((sure < high) | (high == 1))
            share = float(other[inside].mean()) if inside.any() else None
            rows.append([f"{low:g} to {high:g}", int(inside.sum()), int(other[inside].sum()), share])
        facts = [
            f"{known.sum():,} of {len(items):,} labels judged, {np.mean([len(one) for one in judged if one]):.3g} "
            f"times each; the panel disagrees with {other[known].mean():.1%} of them."
        ]
        if self.confirm and (others := unconfirmed(subject, flags)) != flags:
            facts.append(f"The final answer confirms {len(flags) - len(others):,} of the labels that it is sure about.")
            flags = others
        records = [
            {"number": item.number, "id": item.id, "part": item.part, "judgements": list(one)}
            for item, one in zip(items, judged, strict=True)
        ]
        table = Table(("confidence of the panel", "labels", "disagree", "share"), rows)
        return Found(flags, facts, (table,), records=records)
