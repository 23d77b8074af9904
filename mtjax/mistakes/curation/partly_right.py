"""Buffers of right programs and of beginnings of programs that reach a known state, over rounds."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

from annotated_types import Ge

from mtjax.data.problem import Candidate, Problem
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers, Traced
from mtjax.validation import PositiveInt

Program = tuple[str, ...]  # Its statements.


class Buffers(NamedTuple):
    """What is known of the programs of one problem."""

    full: tuple[Program, ...] = ()  # right programs, the source's own first
    partial: tuple[Program, ...] = ()  # beginnings that reach a state of a known program
    states: Mapping[tuple[str, ...], int] = {}  # how few statements reach each state


def grown(own: Buffers, traced: Sequence[Traced], longer: int | None) -> Buffers:
    """The buffers with what a program adds to them; `own` itself where it adds nothing.

    The furthest statement counts: one that writes the right answer makes the program up to it a right one, one that
    reaches a known state makes it a partly right one, and one that writes a wrong answer ends the walk. A program may
    have at most `longer` statements more than the shortest one to that state, or to the answer (None: any number).

    Equal programs count once. A beginning of a stored program is not added, and a stored beginning of the new program
    goes. All states on the way become known, but the one with the answer; an empty state never counts.

    >>> step = lambda text, *state, right=None: Traced(text, state, right)
    >>> own = grown(Buffers(), [step("a = 1", "1"), step("answer = 2", "1", "2", right=True)], 0)
    >>> grown(own, [step("b = 1", "1"), step("answer = 3", "1", "3", right=False)], 0).partial
    (('b = 1',),)
    """
    reached, full = 0, False
    for place, step in enumerate(traced, 1):
        if step.right is not None:
            shortest = min(map(len, own.full), default=place)
            if step.right and (longer is None or place <= shortest + longer):
                reached, full = place, True
            break
        known = own.states.get(step.state) if step.state else None
        if known is not None and (longer is None or place <= known + longer):
            reached = place
    program = tuple(step.statement for step in traced[:reached])
    stored = own.full if full else (*own.full, *own.partial)
    if not program or any(other == program if full else other[:reached] == program for other in stored):
        return own
    states = dict(own.states)
    for place, step in enumerate(traced[: reached - full], 1):
        if step.state:
            states[step.state] = min(states.get(step.state, place), place)
    partial = tuple(other for other in own.partial if program[: len(other)] != other)
    if full:
        return Buffers((*own.full, program), partial, states)
    return Buffers(own.full, (*partial, program), states)


@CURATIONS.register("partly_right")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PartlyRight(Curation):
    """Right programs of all rounds, and beginnings of programs whose variables have the values of a known program.

    Programs run in the sandbox of `grader:program_answer`, statement by statement. A state is the sorted values of all
    variables, so that names do not count. The targets of a problem are its right programs and then its beginnings,
    which have no end token, so that the model does not learn to stop there: set `task.cut=keep` in the task `group`,
    and `objective:mml` (`mle_aug()` for the paper's default). The answers to a problem go on from one of its beginnings
    or from nothing, each as likely, drawn anew in every round; in the paper it is drawn for each answer.

    Source: Ni et al., "Learning Math Reasoning from Self-Sampled Correct and Partially-Correct Solutions", ICLR 2023
    (arXiv 2205.14318), section 3; `microsoft/TraceCodegen`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("group",)
    stateful: ClassVar[bool] = True
    needs_trace: ClassVar[bool] = True

    per_problem: PositiveInt | None = 16  # Most targets of a problem, right programs first; None takes all.
    longer: Annotated[int, Ge(0)] | None = 0  # Most statements above the shortest program to a state; None: any.
    with_source: bool = True  # Begin with the right programs that the source gives.
    of_all: bool = True  # Train on the buffers of all problems seen so far; off, on those of the round's problems.
    go_on: bool = True  # Let answers go on from beginnings; off, they follow the question alone.

    def beginning(self, kept: Any, problem: Problem, seed: int) -> str:
        """One of the problem's beginnings or the empty one, drawn by the seed."""
        if not self.go_on or problem.id not in (kept or {}):
            return ""
        partial = [(), *kept[problem.id][1].partial]
        program = partial[int(unit("beginning", seed, problem.id) * len(partial))]
        return "".join(f"{statement}\n" for statement in program)

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        if helpers.trace is None:
            raise InputError("curation:partly_right runs programs: set grader:program_answer")
        buffers: dict[str, tuple[Problem, Buffers]] = dict(before or {})
        for one in attempts:
            name = one.problem.id
            own = buffers[name][1] if name in buffers else Buffers()
            source = one.problem.right if self.with_source and name not in buffers else ()
            for text in (*source, *(solution.text for solution in one.mined.solutions if solution.readable)):
                own = grown(own, helpers.trace(one.problem, text), self.longer)
            buffers[name] = (self.asked(one), own)
        asked = {one.problem.id for one in attempts}
        problems = [
            dataclasses.replace(problem, candidates=self.targets(own))
            for name, (problem, own) in buffers.items()
            if (own.full or own.partial) and (self.of_all or name in asked)
        ]
        counts = {"right programs": sum(len(own.full) for _, own in buffers.values())}
        counts |= {"partly right programs": sum(len(own.partial) for _, own in buffers.values())}
        return Curated(problems, buffers, counts)

    def targets(self, own: Buffers) -> tuple[Candidate, ...]:
        """The programs of a problem as candidates; those that go on are not finished."""
        programs = [(program, True) for program in own.full] + [(program, False) for program in own.partial]
        return tuple(
            Candidate("\n".join(program) + ("" if full else "\n"), 1.0, finished=full)
            for program, full in programs[: self.per_problem]
        )
