"""A buffer of distinct right solutions that grows over rounds."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers
from mtjax.validation import PositiveInt

Buffer = Mapping[str, tuple[str, ...]]
"""The solutions that are kept, by the id of their problem."""


@CURATIONS.register("distinct")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Distinct(Curation):
    """Every distinct right solution of all rounds so far, beside those that the source gives: a growing set of targets.

    Solutions of a problem are compared by their words. The objective `mml` trains a set as one target; `nll` trains
    each solution. A solution that is longer than the shortest known one by more than `longer` lines is not added, so
    that the set does not fill with detours.

    Source: Ni et al., "Learning Math Reasoning from Self-Sampled Correct and Partially-Correct Solutions", ICLR 2023
    (arXiv 2205.14318), section 3; `partly_right` has partially correct programs too.
    """

    tasks: ClassVar[tuple[str, ...]] = ("completion", "chat", "group")
    stateful: ClassVar[bool] = True

    per_problem: PositiveInt | None = 16  # Most solutions of a problem, the first that were found; None keeps all.
    longer: int | None = None  # Most lines above those of the shortest known solution; None does not compare.
    with_source: bool = True  # Begin with the right solutions that the source gives.
    of_all: bool = True  # Train on the buffers of all problems seen so far; off, on those of the round's problems.

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        buffer: dict[str, tuple[Any, tuple[str, ...]]] = dict(before or {})
        added = 0
        for one in attempts:
            own = one.problem.right if self.with_source else ()
            known = buffer[one.problem.id][1] if one.problem.id in buffer else own[: self.per_problem]
            for solution in self.sides(one)[0]:
                text = self.text(solution)
                if self.is_new(text, known):
                    known, added = (*known, text), added + 1
            # The success rate is that of the last round in which the problem was asked.
            buffer[one.problem.id] = (self.asked(one), known)
        asked = {one.problem.id for one in attempts}
        problems = [
            dataclasses.replace(problem, right=texts)
            for name, (problem, texts) in buffer.items()
            if texts and (self.of_all or name in asked)
        ]
        counts = {"added": added, "kept": sum(len(texts) for _, texts in buffer.values())}
        return Curated(problems, buffer, counts)

    def is_new(self, text: str, known: Sequence[str]) -> bool:
        """Whether a text joins the known ones of its problem."""
        if self.per_problem is not None and len(known) >= self.per_problem:
            return False
        if any(text.split() == other.split() for other in known):
            return False
        lines = lambda text: len(text.strip().splitlines())
        return self.longer is None or not known or lines(text) <= min(map(lines, known)) + self.longer
