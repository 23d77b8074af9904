"""Solutions cut into steps, and the header and answer lines that go with them."""

import re
from typing import NamedTuple

_HEADER = re.compile(r"^(?P<step>Step [0-9]{1,3}[:.])|^(?P<answer>(?:Answer|A):|####)", re.MULTILINE)


class StepSpan(NamedTuple):
    """Where one step stands in a solution.

    Attributes:
        line: where its header, or without one its text, starts.
        start: where its text starts, behind the header. White space in front of a digit goes to the header, since
            tokenizers keep a digit apart; that in front of a letter to the text, since they join the two.
        end: one behind its last character that is no white space.
        answer: whether it is the line that states the final answer.
    """

    line: int
    start: int
    end: int
    answer: bool


def split_steps(solution: str) -> list[StepSpan]:
    r"""The steps of a solution, in order; "" and blank texts have none.

    Where a line opens with `Step 1:`, steps go from one header to the next (`Step k:`, `Answer:`, `A:`, `####`), and
    what stands before the first is no step. Otherwise every line that is not blank is a step.

    >>> text = "Step 1: 2 + 3 = 5\nAnswer: 5"
    >>> [text[step.start : step.end] for step in split_steps(text)]
    ['2 + 3 = 5', '5']
    """
    headers = list(_HEADER.finditer(solution))
    if any(match["step"] for match in headers):
        starts = [match.start() for match in headers]
        ends = [*starts[1:], len(solution)]
    else:
        lines = [match.span() for match in re.finditer(r"(?m)^[^\n]*\S[^\n]*$", solution)]
        starts, ends = [start for start, _ in lines], [end for _, end in lines]
    known = {match.start(): match for match in headers}
    return [_step(solution, start, end, known.get(start)) for start, end in zip(starts, ends, strict=True)]


def _step(solution: str, line: int, end: int, header: re.Match[str] | None) -> StepSpan:
    end = line + len(solution[line:end].rstrip())
    start = min(header.end(), end) if header else line
    space = re.match(r"\s+(?=[0-9])", solution[start:end])
    return StepSpan(line, start + (space.end() if space else 0), end, header is not None and bool(header["answer"]))
