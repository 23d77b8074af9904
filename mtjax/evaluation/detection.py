"""Scores of a detector of wrong responses: precision, recall and F1 of the class "error", and what constants get."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mtjax.reporting.intervals import Interval, statistic_interval


class Detector(NamedTuple):
    """What a detector said of M responses, each asked in P ways."""

    flagged: Bool[np.ndarray, "M P"]  # it says that there is an error
    wrong: Bool[np.ndarray, " M"]  # there is one
    asked: Bool[np.ndarray, "M P"]  # whether it was asked this way

    def scores(self, index: np.ndarray | None = None) -> dict[str, Float[np.ndarray, " R"]]:
        """Accuracy, precision, recall and F1 of "error", each the mean over the ways of asking, of resamples `[R, M]`.

        Precision and recall are 0 where nothing is flagged, or nothing is wrong.

        >>> found = Detector(np.array([[1], [1], [0], [0]], bool), np.array([1, 0, 1, 0], bool), np.ones((4, 1), bool))
        >>> {name: float(value[0]) for name, value in found.scores().items()}
        {'detection_accuracy': 0.5, 'error_precision': 0.5, 'error_recall': 0.5, 'error_f1': 0.5}
        """
        index = np.arange(len(self.wrong))[None] if index is None else index
        truth = self.wrong[:, None]
        said, right = self.flagged & self.asked, (self.flagged == truth) & self.asked
        counts = [part[index].sum(axis=1).astype(float) for part in (self.asked, right, said, truth & self.asked)]
        hits = (said & truth)[index].sum(axis=1).astype(float)
        asked, good, flagged, wrong = counts
        over = lambda top, below: np.divide(top, below, out=np.zeros(top.shape), where=below > 0)
        found = {
            "detection_accuracy": over(good, asked),
            "error_precision": over(hits, flagged),
            "error_recall": over(hits, wrong),
            "error_f1": over(2 * hits, flagged + wrong),
        }
        return {name: values.mean(axis=1) for name, values in found.items()}

    def only(self, chosen: np.ndarray) -> "Detector":
        """What it said of some of the responses."""
        return Detector(self.flagged[chosen], self.wrong[chosen], self.asked[chosen])

    def intervals(self, level: float, seed: int) -> dict[str, Interval]:
        """The scores with bootstrap intervals over responses."""
        found: dict[str, Interval] = {}
        for name in self.scores():
            one = statistic_interval(partial(self._one, name), len(self.wrong), level=level, seed=seed)
            found |= {name: one} if one is not None else {}
        return found

    def _one(self, name: str, index: np.ndarray) -> np.ndarray:
        return self.scores(index)[name]


def constants(rate: float) -> dict[str, float]:
    """F1 of detectors that know nothing, for a share `rate` of wrong responses: `2p / (1 + p)` and p.

    >>> {name: round(value, 3) for name, value in constants(0.621).items()}
    {'f1_always_error': 0.766, 'f1_random': 0.621}
    """
    return {"f1_always_error": 2 * rate / (1 + rate), "f1_random": rate}


def arranged(ids: Sequence[tuple[str, str]], said: Sequence[bool], wrong: Mapping[str, bool]) -> Detector:
    """A detector from replies by `(response, way of asking)`."""
    rows, columns = list(wrong), sorted({way for _, way in ids})
    flagged, asked = np.zeros((2, len(rows), len(columns)), bool)
    place = {response: number for number, response in enumerate(rows)}
    for (response, way), flag in zip(ids, said, strict=True):
        at = place[response], columns.index(way)
        flagged[at], asked[at] = flag, True
    return Detector(flagged, np.array(list(wrong.values()), bool), asked)
