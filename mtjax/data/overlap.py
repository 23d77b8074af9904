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


def record_key(problem: Problem) -> str:
    """A digest of what a problem asks: its question, conversation or, without these, its text.

    Case and white space do not count. Of a conversation all turns count, because many begin alike.
    """
    turns = [f"{one.role} {one.content}" for one in problem.messages]
    texts = turns or ([problem.question] if problem.question else problem.right)
    return digest([" ".join(text.lower().split()) for text in texts])


def overlap(train: Any, held_out: Any, on_error: OnError = "skip") -> Overlap:
    """The records of `held_out` that the source `train` has too; both are read once."""
    seen = {record_key(problem): problem for problem in held_out.problems(on_error).items}
    found: dict[str, str] = {}
    for problem in train.problems(on_error).items:
        if (key := record_key(problem)) in seen:
            found.setdefault(key, f"{seen[key].place}, which is {problem.place}")
    return Overlap(len(found), len(seen), next(iter(found.values()), ""))
