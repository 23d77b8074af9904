"""Keep the problems most like a few examples of a task (K-shot selection of open data)."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Le
from jaxtyping import Int

from mtjax.data.features import hashed, nearest_cosine
from mtjax.data.problem import Problem
from mtjax.data.selection.base import ASKED, SELECTIONS, Selected, Selection, asked
from mtjax.data.sources import AnySource
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.validation import PositiveInt, check_types

AT_ONCE = 4096  # Rows that are compared together.


def select_similar(features: Any, shots: Any, number: int, alike: float) -> Int[np.ndarray, " n"]:
    """The places of the `number` rows with the largest cosine with any of the shots, without near-duplicates.

    Of two of them whose cosine is above `alike`, the one that is nearer to the shots stays. Ascending.

    Args:
        features: `[N, D]`, an array or a sparse matrix.
        shots: `[K, D]`.

    Source: Yang et al., "Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models", 2024 (arXiv
    2408.15915), section 3.4: 1,000 rows, 0.9.
    """
    from sklearn.preprocessing import normalize

    parts = [nearest_cosine(features[n : n + AT_ONCE], shots)[0] for n in range(0, features.shape[0], AT_ONCE)]
    nearness = np.concatenate(parts) if parts else np.zeros(0)
    best = np.argsort(-nearness, kind="stable")[:number]
    rows = normalize(features[best])
    product = rows @ rows.T
    cosines = np.asarray(product.todense() if hasattr(product, "todense") else product)
    kept: list[int] = []
    for place in range(len(best)):
        if not kept or cosines[place, kept].max() <= alike:
            kept.append(place)
    return np.sort(best[kept])


@SELECTIONS.register("kshot")
@dataclasses.dataclass(frozen=True)
class KShot(Selection):
    """Keep the problems of open data that are most like a few examples of a task, without near-duplicates.

    `embeddings` names the file of `python -m mtjax.score MODEL CONFIG --by=embedding` for these data, and
    `shot_embeddings` that of the examples; without them, questions are compared by their words. Train on a `Mixture` of
    the examples and of what is kept.

    Source: Yang et al., "Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models", 2024 (arXiv
    2408.15915); the paper embeds with a BGE model.
    """

    shots: AnySource  # Source of the examples of the task.
    number: PositiveInt = 1000  # Problems to take before near-duplicates are dropped.
    alike: Annotated[float, Gt(0), Le(1)] = 0.9  # Cosine above which two problems are near-duplicates.
    embeddings: str = ""  # File of embeddings of the problems.
    shot_embeddings: str = ""  # File of embeddings of the examples.

    def __post_init__(self) -> None:
        check_types(self)
        if bool(self.embeddings) != bool(self.shot_embeddings):
            raise InputError("kshot: give both `embeddings` and `shot_embeddings`, by one model, or neither")

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        if not problems:
            return Selected([])
        shots = self.shots.problems().items
        places = select_similar(
            self._features(problems, self.embeddings),
            self._features(shots, self.shot_embeddings),
            self.number,
            self.alike,
        )
        kept = [problems[place] for place in places]
        return self.keep(kept, problems, f"not among the {self.number:,} most like the examples, or like one of these")

    def _features(self, problems: Sequence[Problem], file: str) -> Any:
        if not file:
            return hashed([asked(problem) for problem in problems])
        with np.load(file, allow_pickle=False) as found:
            place = {str(name): row for row, name in enumerate(found["ids"])}
            if missing := next((problem for problem in problems if problem.id not in place), None):
                raise InputError(f"{file} has no embedding of {missing.place}; make it again from the same data")
            return found["embeddings"][[place[problem.id] for problem in problems]]

    def fingerprint(self) -> str:
        files = [np.load(file)["embeddings"].tobytes() for file in (self.embeddings, self.shot_embeddings) if file]
        return digest(type(self).__name__, self.number, self.alike, self.shots.fingerprint(), ASKED, *files)
