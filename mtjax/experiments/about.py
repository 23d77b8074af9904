"""What the report of an experiment says besides its numbers: terms, a mistake as an example, how it was made."""

import datetime
from collections.abc import Sequence

import jax

import mtjax
from mtjax.data.arithmetic_checker import first_wrong_step
from mtjax.data.problem import Problem
from mtjax.reporting.markdown import code_block
from mtjax.reporting.report import Section

TERMS = """\
- **pass@k**: the probability that at least one of k sampled solutions is right.
- **maj@k**: the probability that the most frequent answer of k sampled solutions is right.
- **greedy**: whether the solution of always the most probable token is right.
- **forward position**: a token that the model reads in a training step, or an empty place of its row. A step reads as
  many as the batch has, so arms with equal forward positions do equal work.
- **target token**: a token whose probability the loss is about; prompts and padding are none."""


def terms() -> Section:
    """What the words of the tables mean."""
    return Section("Terms", TERMS)


def one_mistake(problems: Sequence[Problem]) -> Section | None:
    """A wrong solution of the start model with its first wrong step, and the right step; None if none is proved wrong.

    It is the first one, in the order of the problems, of a problem that the model also solved, if there is such a one.
    """
    solved = sorted(problems, key=lambda problem: not problem.right)
    for problem in solved:
        for wrong in problem.wrong:
            if (found := first_wrong_step(problem.question, wrong)) is None:
                continue
            head = len(found.prefix.splitlines())
            lines = wrong.strip().split("\n")
            shown = [f"{line}    <- right: {found.right_step}" if n == head else line
                     for n, line in enumerate(lines, 1)]  # fmt: skip
            text = f"The start model was asked `{problem.question}` and sampled this wrong solution, whose first wrong "
            text += f"step is marked (kind: {found.error_type}):\n\n{code_block(chr(10).join(shown))}\n\n"
            right = f"{found.prefix}{found.right_step}{found.right_rest}"
            text += f"With the step corrected and the rest worked out from there:\n\n{code_block(right)}"
            if problem.right:
                text += f"\n\nAnother sample of the same model was right:\n\n{code_block(problem.right[0])}"
            return Section("A mistake", text)
    return None


def made_by(command: str) -> Section:
    """The command that made the report, the versions, the device and the date."""
    versions = f"mtjax {mtjax.__version__}, JAX {jax.__version__}"
    today = datetime.date.today().isoformat()
    where = f"{versions}, {jax.devices()[0].device_kind}, {today}."
    return Section("How this report was made", f"{code_block(command)}\n\n{where}")
