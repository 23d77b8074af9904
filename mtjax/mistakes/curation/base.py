"""The contract of a curation: from the graded attempts of a round to training data."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from mtjax.data.problem import Problem
from mtjax.data.sources.mined import Mined, MinedProblem, Solution
from mtjax.io.hashing import unit
from mtjax.registry import Registry
from mtjax.sampling.teacher import Teacher
from mtjax.types import short_repr
from mtjax.validation import check_types

CURATIONS = Registry("curation", requires=("tasks", "stateful"))  # Every curation by name.


@short_repr
class Attempted(NamedTuple):
    """A problem with what a policy made of it in one round."""

    problem: Problem  # as its source gives it
    mined: MinedProblem  # the distinct solutions with their verdicts, counts and, where asked for, rewards

    @property
    def success_rate(self) -> float | None:
        """Share of right samples among those that were judged, duplicates counted; None if none was."""
        right, wrong = self.mined.samples("right"), self.mined.samples("wrong")
        return right / (right + wrong) if right + wrong else None


@short_repr
class Curated(NamedTuple):
    """The training data of a round."""

    problems: list[Problem]  # what the task renders; may be empty
    kept: Any = None  # what the next round's curation is given as `before`; None where it keeps nothing
    counts: Mapping[str, int] = {}  # what was made, by name, for the report


Ask = Callable[[Sequence[str]], list[str]]
"""The policy's greedy continuations of some texts, which are prompts as they stand."""


Teach = Callable[[Teacher, Sequence[str]], list[str]]
"""What a teacher answers to some requests, kept with the run; "" for a request that it refuses."""


class Traced(NamedTuple):
    """One statement of a program, and what running the program up to it came to."""

    statement: str  # in one canonical form, without comments
    state: tuple[str, ...]  # the values of all variables after it, sorted; their names do not count
    right: bool | None  # whether the answer is right; None while the program has none


Trace = Callable[[Problem, str], list[Traced]]
"""The statements of the program in a text up to the first that fails; empty for a text without a program."""


class Helpers(NamedTuple):
    """What a round lends to a curation besides the attempts."""

    seed: int  # of this round, for whatever is drawn
    ask: Ask  # the policy as it is at the start of the round
    rewarded: bool = False  # whether a reward function judged the attempts: one without a reward is then not known
    teach: Teach | None = None  # asks a teacher; None where there is none to ask
    trace: Trace | None = None  # runs a program statement by statement; None where the grader runs none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curation:
    """Base class of curations: frozen dataclasses that are called with the attempts of a round.

    A curation depends on its arguments alone, so that a round that is done again gives the same bytes.
    """

    tasks: ClassVar[tuple[str, ...]] = ()  # tasks that can train on the data; () is any
    stateful: ClassVar[bool] = False  # whether it keeps something over rounds (`Curated.kept`)
    needs_trace: ClassVar[bool] = False  # whether it runs programs, which the grader must do too

    flawed: Literal["drop", "right", "wrong"] = "drop"  # What a right answer after a false equation counts as.
    cut: Literal["drop", "wrong"] = "drop"  # What a wrong solution counts as that was cut at its longest length.
    strip: bool = True  # Cut white space around solutions; off for code, whose first indent matters.

    def __post_init__(self) -> None:
        check_types(self, "curation")

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        """The training data of a round.

        Args:
            attempts: the problems of the round, in order.
            before: what the curation of the round before kept; None in the first round.
            helpers: the round's seed, and the policy.
        """
        raise NotImplementedError

    def beginning(self, kept: Any, problem: Problem, seed: int) -> str:
        """What all answers to a problem begin with in the next round, put behind its prompt; "" for nothing."""
        return ""

    def sides(self, one: Attempted) -> tuple[list[Solution], list[Solution]]:
        """The right and the wrong solutions that can be trained on, in the order in which they were drawn.

        Undecided ones and those that the tokenizer cannot write again are left out.
        """
        reader = Mined(path="", flawed=self.flawed, cut=self.cut)
        found: dict[str, list[Solution]] = {"right": [], "wrong": []}
        for solution in one.mined.solutions:
            found.get(reader.side_of(solution), []).append(solution)
        return found["right"], found["wrong"]

    def text(self, solution: Solution) -> str:
        """The text of a solution as it is trained on."""
        return solution.text.strip() if self.strip else solution.text

    def asked(self, one: Attempted, **known: Any) -> Problem:
        """The problem without the solutions that its source gives, but with its success rate and what is `known`."""
        rate = one.success_rate
        plain = dataclasses.replace(one.problem, right=(), wrong=(), pairs=(), candidates=(), success_rate=rate)
        return dataclasses.replace(plain, **known)


def drawn(solutions: Sequence[Solution], most: int | None, *key: object) -> list[Solution]:
    """At most `most` of some solutions (None: all), drawn by the key and their texts; those that stay keep their order.

    >>> [one.text for one in drawn([Solution(text="a", verdict="right"), Solution(text="b", verdict="right")], 1, 7)]
    ['a']
    """
    if most is None or len(solutions) <= most:
        return list(solutions)
    chosen = sorted(range(len(solutions)), key=lambda place: unit(*key, place, solutions[place].text))[:most]
    return [solutions[place] for place in sorted(chosen)]
