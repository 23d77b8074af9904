"""Solutions cut into steps, and the header and answer lines that go with them."""

import re
from typing import NamedTuple

_HEADER = re.compile(r"^(?P<step>Step [0-9]{1,3}[:.])|^(?P<answer>(?:Answer|A):|####)", re.MULTILINE)


class StepSpan(NamedTuple):
    """Where one step is in a solution."""

    line: int  # Start of its header, or of its text if it has none.
    start: int
    """Start of its text. White space before a digit belongs to the header, because tokenizers keep a digit apart, and
    before a letter to the text, because they join the two."""
    end: int  # One after its last character that is not white space.
    answer: bool  # Whether it is the line that states the final answer.


def split_steps(solution: str) -> list[StepSpan]:
    r"""The steps of a solution, in order; none for a blank text.

    If a line starts with `Step 1:`, steps extend from one header to the next (`Step k:`, `Answer:`, `A:`, `####`), and
    the text before the first is not a step. Otherwise every line that is not blank is a step.

    >>> text = "Step 1: 2 + 3 = 5\nAnswer: 5"
    >>> [text[step.start : step.end] for step in split_steps(text)]
    ['2 + 3 = 5', '5']
    """
    headers = {match.start(): match for match in _HEADER.finditer(solution)}
    if any(match["step"] for match in headers.values()):
        lines = list(zip(headers, [*list(headers)[1:], len(solution)], strict=True))
    else:
        lines = [match.span() for match in re.finditer(r"(?m)^[^\n]*\S[^\n]*$", solution)]
    steps = []
    for line, end in lines:
        header = headers.get(line)
        end = line + len(solution[line:end].rstrip())
        start = min(header.end(), end) if header else line
        space = re.match(r"\s+(?=[0-9])", solution[start:end])
        steps.append(StepSpan(line, start + len(space[0] if space else ""), end, bool(header and header["answer"])))
    return steps
