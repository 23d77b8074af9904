"""Records of one source that are in another too, such as held-out questions in the training data."""

from typing import Any, NamedTuple

from mtjax.data.problem import OnError, Problem
from mtjax.io.hashing import digest


class Overlap(NamedTuple):
    """What two sources share."""

    shared: int  # records of the second source that are in the first
    total: int  # records of the second source
    first: str = ""  # the first one, and where it stands in the first source

    def __str__(self) -> str:
        return f"{self.shared:,} of {self.total:,} held-out records are in the training data too, such as {self.first}"


def record_keys(problem: Problem) -> list[str]:
    """Digests of all that a problem asks, the last of what it asks in the end; equal ones in any format.

    That is its question, for a conversation the turns before an answer of the assistant, or, without these, its text.
    Case, white space and the system message do not count.
    """
    turns = [one for one in problem.messages if one.role != "system"]
    ends = [n for n, one in enumerate(turns) if one.role == "assistant" and n]
    if turns and (not ends or ends[-1] < len(turns) - 1):
        ends.append(len(turns))  # a context, which solutions or pairs follow
    asked = [[f"{one.role} {one.content}" for one in turns[1:end]] for end in ends]
    asked = [[turns[0].content, *rest] for rest in asked]
    texts = asked or ([[problem.question]] if problem.question else [list(problem.right)])
    return [digest([" ".join(text.lower().split()) for text in one]) for one in texts]


def overlap(train: Any, held_out: Any, on_error: OnError = "skip") -> Overlap:
    """The records of `held_out` that the source `train` has too; both are read once."""
    seen = {record_keys(problem)[-1]: problem for problem in held_out.problems(on_error).items}
    found: dict[str, str] = {}
    for problem in train.problems(on_error).items:
        for key in seen.keys() & record_keys(problem):
            found.setdefault(key, f"{seen[key].place}, which is {problem.place}")
    return Overlap(len(found), len(seen), next(iter(found.values()), ""))
