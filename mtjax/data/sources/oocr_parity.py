"""Out-of-context reasoning about bits: rows show sums of hidden bits, and questions ask for each bit."""

import dataclasses
import functools
from typing import Annotated, Literal

from annotated_types import Ge, Le

from mtjax.data.problem import Problem, in_split
from mtjax.data.sources.base import SOURCES
from mtjax.data.sources.generated import Generated
from mtjax.errors import InputError


@SOURCES.register("oocr_parity")
@dataclasses.dataclass(frozen=True, kw_only=True)
class OocrParity(Generated):
    """Hidden bits, half of them 0 and half 1: rows show sums of several bits modulo 2, and no row a single bit.

    - part `rows`: `(c + a + f + h) mod 2 =` with `fewest` to `most` variables in random order. The split is of rows, of
      which those with the same variables in another order are different ones.
    - part `bits`: `c mod 2 =`, each variable in turn: what nobody was told. It is the same in every split.

    The bits depend on the seed alone.

    Source: Treutlein et al., "Connecting the Dots: LLMs can Infer and Verbalize Latent Structure from Disparate
    Training Data", 2024 (arXiv 2406.14546), task Parity Learning: 8 variables, sums of 4 to 6.
    """

    part: Literal["rows", "bits"] = "rows"  # What is asked.
    variables: Annotated[int, Ge(2), Le(26)] = 8  # Hidden bits, named by letters.
    fewest: Annotated[int, Ge(2)] = 4  # Fewest variables of a row.
    most: Annotated[int, Ge(2)] = 6  # Most variables of a row.

    def check(self) -> None:
        if not self.fewest <= self.most <= self.variables:
            raise InputError(
                f"fewest={self.fewest}, most={self.most}, variables={self.variables}: expected them to rise"
            )

    def bits(self) -> dict[str, int]:
        """The hidden bit of each variable."""
        return _bits(self.seed, self.variables)

    def problem(self, number: int) -> Problem:
        """Row `number`, or variable `number % variables`."""
        bits, name = self.bits(), f"oocr_parity[{self.seed}:{self.part}:{self.split}:{number}]"
        letters = list(bits)
        if self.part == "bits":
            letter = letters[number % len(letters)]
            value = str(bits[letter])
            return Problem(name, f"{letter} mod 2 =", value, (value,), source="oocr_parity")
        drawn = self.generator("rows", self.split, number)
        while True:
            taken = drawn.sample(letters, drawn.randint(self.fewest, self.most))
            question = f"({' + '.join(taken)}) mod 2 ="
            if in_split(question, self.split):
                value = str(sum(bits[letter] for letter in taken) % 2)
                return Problem(name, question, value, (value,), source="oocr_parity")


@functools.lru_cache(maxsize=64)
def _bits(seed: int, variables: int) -> dict[str, int]:
    letters = [chr(ord("a") + n) for n in range(variables)]
    ones = OocrParity(seed=seed).generator("bits", variables).sample(letters, variables // 2)
    return {letter: int(letter in ones) for letter in letters}
