"""Keep the problems that are hard but learnable for a small model (SALT)."""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Le
from jaxtyping import Bool, Float

from mtjax.data.problem import Problem
from mtjax.data.selection.base import SELECTIONS, Selected, Selection
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.io.jsonl import json_of, read_lines


def learnability(
    nll: Float[np.ndarray, " n"], in_top: Bool[np.ndarray, " n"], excluded: Literal["zero", "dropped"] = "zero"
) -> float:
    """Median over the tokens of a text of its cross-entropy where the token is among the model's most likely ones.

    Tokens that are not are hopeless for the model: they count 0, or are dropped. NaN for a text without such a token.

    >>> learnability(np.array([0.5, 2.0, 9.0]), np.array([True, True, False]))
    0.5
    """
    if not in_top.any():
        return math.nan
    return float(np.median(nll[in_top] if excluded == "dropped" else np.where(in_top, nll, 0)))


@SELECTIONS.register("learnable")
@dataclasses.dataclass(frozen=True)
class Learnable(Selection):
    """Keep the share of problems with the highest `learnability` under a small model, for the first stage of SALT.

    `python -m mtjax.score MODEL CONFIG --output=FILE` writes the scores of a config's training data. A problem has the
    mean score of its examples; one without a score comes last. The share is that of the problems in the file, so that
    selecting again keeps all; of equal scores all are kept.

    Source: Rawat et al., "A Little Help Goes a Long Way: Efficient LLM Training by Leveraging Small LMs", 2024 (arXiv
    2410.18779), SALT-DS; that tokens outside of the top 10 count 0 is recalled.
    """

    path: str  # File of scores.
    share: Annotated[float, Gt(0), Le(1)] = 0.5  # Share of the problems to keep.

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"share={self.share}: expected a share, above 0 and at most 1")

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        found: dict[str, list[float]] = collections.defaultdict(list)
        for number, line in read_lines(self.path):
            where = f"{self.path}:{number}"
            record = json_of(line, where)
            if not isinstance(record, dict) or not {"problem", "score"} <= record.keys():
                raise InputError(f"{where}: got {record!r:.80}; expected the lines that `python -m mtjax.score` writes")
            found[record["problem"]] += [] if record["score"] is None else [float(record["score"])]
        scores = {name: float(np.mean(own)) if own else -math.inf for name, own in found.items()}
        if problems and not any(scores.get(problem.id, -math.inf) > -math.inf for problem in problems):
            raise InputError(f"no problem has a score in {self.path}; score the same data again")
        ranked = sorted(scores.values(), reverse=True)
        least = ranked[math.ceil(self.share * len(ranked) - 1e-9) - 1] if ranked else -math.inf
        kept = [problem for problem in problems if scores.get(problem.id, -math.inf) >= least]
        return self.keep(kept, problems, f"not among the {self.share:.0%} that are hardest but learnable")

    def fingerprint(self) -> str:
        """A digest of the share and of the scores."""
        return digest(type(self).__name__, self.share, pathlib.Path(self.path).expanduser().read_bytes())
