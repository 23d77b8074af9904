"""Problems that stand in the data several times, exactly or nearly."""

import dataclasses
import re
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import UInt32

from mtjax.data.problem import Problem
from mtjax.data.selection.base import asked
from mtjax.data.selection.deduplicate import normalized
from mtjax.io.hashing import digest
from mtjax.mistakes.checks.base import CHECKS, Check, Flag, Found, Subject
from mtjax.validation import PositiveInt

BANDS, ROWS = 16, 4  # Of the signatures: texts that agree in all rows of one band are compared.
PRIME = np.uint64((1 << 61) - 1)


def shingles(text: str, words: int) -> UInt32[np.ndarray, " n"]:
    """Hashes of the runs of `words` words of a normalised text, sorted, each once; a shorter text is one run."""
    parts = normalized(text).split()
    runs = {" ".join(parts[start : start + words]) for start in range(max(len(parts) - words, 0) + 1 if parts else 0)}
    return np.unique(np.array([int(digest(run)[:8], 16) for run in runs], np.uint32))


def jaccard(one: UInt32[np.ndarray, " n"], other: UInt32[np.ndarray, " m"]) -> float:
    """Share of the hashes of two texts that both have, `|A and B| / |A or B|`; 0 for two empty ones."""
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / max(len(one) + len(other) - both, 1)


def signature(hashes: UInt32[np.ndarray, " n"], factors: np.ndarray) -> np.ndarray:
    """MinHash: the least of `(a h + b) mod 2^61 - 1` over the hashes for each of the pairs `factors` `[2, K]`.

    Source: Broder, "On the resemblance and containment of documents", 1997.
    """
    a, b = factors
    with np.errstate(over="ignore"):  # multiplication modulo 2^64 mixes as well
        return ((a[:, None] * hashes[None, :].astype(np.uint64) + b[:, None]) % PRIME).min(axis=1)


@CHECKS.register("duplicates")
@dataclasses.dataclass(frozen=True)
class Duplicates(Check):
    """Problems that ask the same as an earlier one, exactly, nearly, or with other numbers.

    Exactly: apart from case, punctuation and white space. Nearly: runs of `words` words have a Jaccard similarity of at
    least `threshold`; candidates are found by MinHash, and compared exactly. The later one is flagged. Questions that
    differ in their numbers alone are counted, not flagged: they may be variants made on purpose. Memory: about 4 bytes
    for each word of the data, and 300 for each problem.

    Source: Lee et al., "Deduplicating Training Data Makes Language Models Better", ACL 2022 (arXiv 2107.06499).
    """

    threshold: Annotated[float, Ge(0.5), Le(1)] = 0.8  # Least Jaccard similarity of two near duplicates.
    words: PositiveInt = 3  # Words of a run.

    def __call__(self, subject: Subject) -> Found:
        factors = np.random.Philox(7).random_raw(2 * BANDS * ROWS).reshape(2, -1) | np.uint64(1)
        exact: dict[str, Problem] = {}
        numbers: dict[str, int] = {}
        buckets: dict[tuple[int, bytes], list[int]] = {}
        kept: list[tuple[Problem, np.ndarray]] = []
        flags, variants = [], 0
        for number, problem in enumerate(subject.read()):
            short = dataclasses.replace(problem, right=(), wrong=(), pairs=(), candidates=(), messages=(), tools=())
            text = asked(problem)
            plain = normalized(text) or text
            first = exact.setdefault(digest(plain), short)
            if first is not short:
                flags.append(Flag(number, problem.id, f"asks the same as {first.place}", "", 1.0, "drop"))
                continue
            masked = digest(re.sub(r"\b\d[\d.,]*", "0", plain))
            is_variant = numbers.setdefault(masked, number) != number
            hashes = shingles(text, self.words)
            near = None
            if len(hashes):
                made = signature(hashes, factors).reshape(BANDS, ROWS)
                keys = [(band, row.tobytes()) for band, row in enumerate(made)]
                candidates = sorted({other for key in keys for other in buckets.get(key, ())})
                alike = [(jaccard(hashes, kept[other][1]), -other) for other in candidates]
                near = max((pair for pair in alike if pair[0] >= self.threshold), default=None)
                for key in keys if near is None else ():
                    buckets.setdefault(key, []).append(len(kept))
                kept += [] if near is not None else [(short, hashes)]
            if near is not None and not is_variant:
                place = kept[-near[1]][0].place
                flags.append(Flag(number, problem.id, f"asks nearly the same as {place}", "", near[0], "drop"))
            variants += is_variant
        exactly = sum(flag.score == 1.0 and "nearly" not in flag.reason for flag in flags)
        facts = [
            f"{exactly:,} problems ask exactly the same as an earlier one, {len(flags) - exactly:,} nearly the same."
        ]
        if variants:
            facts.append(f"{variants:,} differ from an earlier one in their numbers alone; these are not flagged.")
        return Found(flags, facts)
