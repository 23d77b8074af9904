"""Generated arithmetic as a source: problems without end, right solutions in steps, one recognisable kind of mistake.

The toy task of the specs (core-methods 11.2).
"""

import dataclasses
import hashlib
import random
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, Lt

from mtjax.data.expressions import Expression, exact_steps, slipped_steps, solution_text
from mtjax.data.problem import OnError, Problem, Problems, Split, in_split
from mtjax.data.sources.base import SOURCES, Source, fingerprint_of
from mtjax.errors import InputError
from mtjax.validation import PositiveInt, check_types

Share = Annotated[float, Ge(0), Le(1)]
_TRIES = 10_000


def _rng(*parts: object) -> random.Random:
    return random.Random(hashlib.sha256(repr(parts).encode()).digest())


@SOURCES.register("arithmetic")
@dataclasses.dataclass(frozen=True)
class Arithmetic(Source):
    """Generated multi-step arithmetic; problem i depends on the settings and i alone.

    Splits have no expression in common, whatever the seeds. The same expression may come twice within one.
    """

    before: ClassVar[dict[str, Any]] = {"sums_first": None}

    count: PositiveInt = 10_000  # How many problems.
    seed: int = 0  # Another seed, other problems.
    split: Split = "all"  # Expressions to draw from, by hash: all, train (70 %), validation (10 %) or test (20 %).
    start: int = 0  # Number of the first problem.
    min_operands: Annotated[int, Ge(2)] = 3  # Fewest numbers in a problem.
    max_operands: Annotated[int, Le(10)] = 4  # Most numbers in a problem.
    low: Annotated[int, Ge(0)] = 1  # Smallest number in a problem.
    high: Annotated[int, Lt(10**8)] = 20  # Largest number in a problem.
    operators: tuple[Literal["+", "-", "*"], ...] = ("+", "-")  # What stands between the numbers.
    sums_first: bool | None = None
    """Order of sums and differences: True, no `+` after a `-`; False, at least one; None, any order. Training on one of
    them and testing on the other tests an order that was never trained. Needs both operators."""
    min_value: Annotated[int, Ge(0)] = 0  # Smallest value that a step may give.
    max_value: Annotated[int, Lt(10**9)] = 99  # Largest value that a step may give.
    slip_probability: Share = 0.0
    """Chance per step that a carry or borrow is dropped in the wrong solution; 0 gives no wrong solutions, and a
    problem in which nothing slipped, or two slips cancelled, has none either."""
    habit_share: Share = 0.0
    """Share of problems whose one solution to imitate is a slipped one (`slip_probability`) although it stands under
    `right`: plants a habit of mistakes in a model that is to learn from them later, and is good for nothing else."""

    def expression(self, number: int) -> Expression:
        """The expression of problem `number`; InputError when the settings leave (almost) no expression."""
        rng = _rng("expression", self.seed, number)
        for _ in range(_TRIES):
            size = rng.randint(self.min_operands, self.max_operands)
            operands = tuple(rng.randint(self.low, self.high) for _ in range(size))
            drawn = Expression(operands, tuple(rng.choice(self.operators) for _ in range(size - 1)))
            if self.sums_first not in (None, drawn.sums_first):
                continue
            values = (step.value for step in exact_steps(drawn))
            if all(self.min_value <= v <= self.max_value for v in values) and in_split(drawn.question, self.split):
                return drawn
        raise InputError(
            f"no expression of {self.min_operands}..{self.max_operands} numbers in {self.low}..{self.high} kept its "
            f"values in {self.min_value}..{self.max_value} in {_TRIES} draws; widen min_value..max_value"
            + ("" if self.sums_first is None else f", or set sums_first=None (is {self.sums_first})")
        )

    def problem(self, number: int) -> Problem:
        """Problem `number` with its exact solution and, if asked for and if it slipped, a wrong one."""
        drawn = self.expression(number)
        exact = exact_steps(drawn)
        right, wrong = solution_text(exact), ""
        if self.slip_probability > 0:
            rng = _rng("slip", self.seed, number)
            habit = rng.random() < self.habit_share
            slipped = slipped_steps(drawn, rng, self.slip_probability, low=self.min_value, high=self.max_value)
            if habit:
                right = solution_text(slipped)
            elif slipped[-1].value != exact[-1].value:
                wrong = solution_text(slipped)
        name, sides = f"arithmetic[{self.seed}:{number}]", ((right,), (wrong,) if wrong else ())
        return Problem(name, drawn.question, str(exact[-1].value), *sides, source="arithmetic")

    def problems(self, on_error: OnError = "raise") -> Problems:
        """Problems `start` to `start + count - 1`; InputError for settings that cannot be met."""
        check_types(self, "Arithmetic")
        for least, most in (("min_operands", "max_operands"), ("low", "high"), ("min_value", "max_value")):
            if getattr(self, least) > getattr(self, most):
                raise InputError(
                    f"Arithmetic.{least} is {getattr(self, least)!r}; expected at most {most}, {getattr(self, most)!r}"
                )
        if not self.operators:
            raise InputError('Arithmetic.operators is (); expected some of "+", "-", "*"')
        if self.sums_first is not None and not {"+", "-"} <= set(self.operators):
            raise InputError(
                f"Arithmetic.sums_first is {self.sums_first} with operators {self.operators}: expected both '+' and "
                "'-', or sums_first=None"
            )
        if self.habit_share and not self.slip_probability:
            raise InputError(
                f"Arithmetic.habit_share is {self.habit_share!r}; expected 0 unless slip_probability is set"
            )
        items = [self.problem(number) for number in range(self.start, self.start + self.count)]
        habit = f"{self.habit_share:.0%} of the solutions to imitate carry planted slips (habit_share)"
        return Problems(items, 0, (habit,) if self.habit_share else ())

    def fingerprint(self) -> str:
        return fingerprint_of(self)
