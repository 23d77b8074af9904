"""What generated sources share: how many problems, from which seed and part, each made by its number alone."""

import dataclasses
import hashlib
import random

from mtjax.data.problem import OnError, Problem, Problems, Split
from mtjax.data.sources.base import Source, fingerprint_of
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generated(Source):
    """Problems without end: number i depends on the settings and i alone. A subclass needs `problem`."""

    count: PositiveInt = 10_000  # How many problems.
    seed: int = 0  # Another seed, other problems.
    split: Split = "all"  # Which part; train, validation and test have nothing in common that is to be learnt.
    start: int = 0  # Number of the first problem.

    def problem(self, number: int) -> Problem:
        """Problem `number`."""
        raise NotImplementedError

    def check(self) -> None:
        """InputError for settings that cannot be met; those of wrong types are found before."""

    def generator(self, *key: object) -> random.Random:
        """A generator of random numbers that depends on the class, the seed and the key alone."""
        parts = repr((type(self).__name__, self.seed, *key))
        return random.Random(hashlib.sha256(parts.encode()).digest())

    def problems(self, on_error: OnError = "raise") -> Problems:
        """Problems `start` to `start + count - 1`."""
        check_types(self, type(self).__name__)
        self.check()
        return Problems([self.problem(number) for number in range(self.start, self.start + self.count)])

    def fingerprint(self) -> str:
        return fingerprint_of(self)
