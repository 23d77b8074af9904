"""Solutions whose steps are known to be right or wrong, from whatever a problem has."""

from typing import NamedTuple

from mtjax.data.problem import Problem
from mtjax.data.tasks.base import Rendered, Span
from mtjax.data.tasks.completion import step_starts
from mtjax.errors import InputError


class Labelled(NamedTuple):
    """A solution in steps. The steps, one after the other, are its text."""

    name: str  # unique within the problem
    steps: tuple[str, ...]  # with the line breaks between them
    labels: tuple[bool, ...]  # whether each step is right; steps after a wrong one may have any label
    complete: bool  # whether it ends after its last step

    @property
    def first_wrong(self) -> int:
        """Number of the first wrong step, from 0; the number of steps where all are right."""
        return self.labels.index(False) if False in self.labels else len(self.steps)


def split_steps(text: str) -> tuple[str, ...]:
    """The steps of a solution (`mtjax.data.tasks.completion.step_starts`), line breaks included.

    >>> split_steps("Step 1: a\\nStep 2: b")
    ('Step 1: a\\n', 'Step 2: b')
    """
    starts = step_starts(text, 0)
    return tuple(text[start:end] for start, end in zip(starts, (*starts[1:], len(text)), strict=True))


def labelled_solutions(problem: Problem) -> list[Labelled]:
    """The solutions of a problem of whose steps something is known; equal ones once.

    - Candidates with labels, their steps joined by line breaks.
    - Right solutions: all steps are right.
    - Pairs of steps: the right steps before, then the rejected step, which is wrong.
    """
    found = []
    for number, one in enumerate(problem.candidates):
        if one.labels:
            steps = (*(f"{step}\n" for step in one.steps[:-1]), one.steps[-1])
            found.append(Labelled(f"labelled/{number}", steps, one.labels, True))
    for number, text in enumerate(problem.right):
        steps = split_steps(text)
        found.append(Labelled(f"right/{number}", steps, (True,) * len(steps), True))
    for number, pair in enumerate(problem.pairs):
        if pair.kind == "step":
            before = split_steps(pair.context) if pair.context else ()
            found.append(Labelled(f"step/{number}", (*before, pair.rejected), (*[True] * len(before), False), False))
    return list({"".join(one.steps): one for one in reversed(found)}.values())[::-1]


def step_spans(rendered: Rendered, steps: tuple[str, ...], place: str) -> list[Span]:
    """Where each step stands in a rendered text, with weight 1; InputError where a template has altered it."""
    start = rendered.spans[-1].start
    if not rendered.text.startswith("".join(steps), start):
        raise InputError(
            f"{place}: the chat template alters the text of the answer, so its steps cannot be found; use a template "
            "of text, such as data.task.template='{question}\\n'"
        )
    spans = []
    for step in steps:
        spans.append(Span(start, start + len(step), 1.0))
        start += len(step)
    return spans
