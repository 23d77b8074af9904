"""Choices by the probability of their letters, averaged over wordings of the same question."""

import dataclasses
from collections import Counter
from typing import Any, ClassVar

import numpy as np

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval


def item_of(id: str) -> str:
    """What a problem asks, without the wording: its id up to the last `#`.

    >>> item_of("real-3#2"), item_of("plain")
    ('real-3', 'plain')
    """
    return id.rpartition("#")[0] or id


def shares_of(log_probs: np.ndarray) -> np.ndarray:
    """The probabilities of the options among themselves: a softmax over their letters."""
    weights = np.exp(log_probs - log_probs.max())
    shares: np.ndarray = weights / weights.sum()
    return shares


@METRICS.register("choices")
@dataclasses.dataclass(frozen=True)
class ChoiceAccuracy:
    """The option whose letter is the most probable next token, alone and summed over the wordings of a question.

    Problems whose ids differ only behind the last `#` are wordings of one question, perhaps with their options in
    another order; the probabilities of the options, among themselves, are added up. For three-way verification
    (`data.source:verification`) the options are A, the knowledge is irrelevant; B, the answer does not follow it; C,
    correct.

    Returns: `choice_accuracy`, over all prompts; `choice_ensemble`, over questions; `choice_baseline`, the share of the
    most frequent right option; and `choice_recall_A`, `choice_recall_B`, ...: of the questions whose right option
    has this letter in the first wording, the share that the ensemble gets right.

    Source: Baek et al., "Knowledge-Augmented Language Model Verification", EMNLP 2023 (arXiv 2310.12836);
    `JinheonBaek/KALMV`.
    """

    needs: ClassVar[tuple[Need, ...]] = ("choices",)
    order: ClassVar[int] = 62
    by_default: ClassVar[bool] = False

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.choices is not None
        totals, right_of, alone = dict[str, dict[Any, float]](), dict[str, tuple[int, Any]](), dict[str, list[bool]]()
        for id, choice in zip(evaluation.ids, evaluation.choices, strict=True):
            shares, item = shares_of(choice.log_probs), item_of(id)
            names = choice.options or range(len(shares))
            own = totals.setdefault(item, dict.fromkeys(names, 0.0))
            for name, share in zip(names, shares, strict=True):
                own[name] = own.get(name, 0.0) + float(share)
            right_of.setdefault(item, (choice.right, names[choice.right]))
            alone.setdefault(item, []).append(int(shares.argmax()) == choice.right)
        best = {item: max(own, key=own.__getitem__) for item, own in totals.items()}
        hits = np.array([best[item] == name for item, (_, name) in right_of.items()], float)
        gold = np.array([place for place, _ in right_of.values()])
        common = Counter(gold.tolist()).most_common(1)[0][0]
        sums = np.array([sum(one) for one in alone.values()], float)
        sizes = np.array([len(one) for one in alone.values()], float)
        out = {
            "choice_accuracy": settings.ratio(sums, sizes),
            "choice_ensemble": settings.interval(hits),
            "choice_baseline": settings.interval(gold == common),
        }
        return out | {
            f"choice_recall_{chr(ord('A') + place)}": settings.interval(hits[gold == place])
            for place in sorted(set(gold.tolist()))
        }
