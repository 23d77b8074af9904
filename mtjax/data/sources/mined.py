"""Mined solutions: the file that `python -m mtjax.mine` writes, and that file as a source of problems.

One line per problem, in order: the JSON object of a `MinedProblem` with `"schema": 1`.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from mtjax.data.messages import Message, Tool, message_record, read_messages, read_tools
from mtjax.data.problem import Candidate, OnError, Problem, Problems, Split
from mtjax.data.sources.base import SOURCES, FileSource
from mtjax.errors import InputError
from mtjax.io.bucket import is_address
from mtjax.io.jsonl import decode, json_of
from mtjax.validation import Address

SCHEMA = 1  # Version of the lines; raised when a field changes its meaning.
FILE = "solutions.jsonl"  # What the file is called in its folder; it is there once all problems are done.
NEW = ("withheld", "token_ids", "token_logprobs", "proposal_logprobs", "reward", "steps", "step_values")
"""Keys of solutions that are often empty, and left out then; of a reward that is None, since 0 is one."""
Verdict = Literal["right", "wrong", "unknown"]  # Of the final answer; unknown is neither right nor wrong.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """One distinct solution of a problem, as a policy wrote it."""

    text: str  # The text without its end token, white space as drawn.
    verdict: Verdict  # Verdict on the final answer.
    answer: str | None = None  # The final answer found in the text; None if there is none.
    withheld: Literal["", "empty", "reasoning", "filtered"] = ""  # Why it says nothing that can be graded.
    count: int = 1  # How many samples were this text (white space around it not counted).
    logprob: float | None = None
    """Log-probability (nats) of the first of those samples given the prompt, summed over its tokens, the end token
    included: of a local policy the model's own at temperature 1; of a server what it says, or None."""
    tokens: int | None = None  # Tokens of that sample, the end token included; None if a server does not say.
    finished: bool = True  # Ended by itself; False if the sample was cut at its longest length.
    readable: bool = True  # The policy's tokenizer can write it again; special tokens in the middle may prevent that.
    first_wrong: int | None = None  # First step (from 0) that the arithmetic checker refuses; None if it accepts all.
    error: str = ""  # The `mtjax.data.arithmetic_checker.StepErrorKind` of that step; "" if all are accepted.
    untrue: bool = False  # An equation is false or the answer is not the last value: more than another form or order.
    token_ids: tuple[int, ...] = ()  # Tokens of the first of those samples, where mining recorded them (`logprobs`).
    token_logprobs: tuple[float, ...] = ()  # Of each of these tokens, by the model itself at temperature 1.
    proposal_logprobs: tuple[float, ...] = ()  # The same under the distribution that was drawn from.
    reward: float | None = None  # What a reward function gave it (`mtjax.rounds`); None where none did.
    steps: tuple[str, ...] = ()  # The steps of the first of those samples, where a tree search drew them.
    step_values: tuple[float, ...] = ()  # How it was expected to end after each, from -1 (wrong) to 1 (right).


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinedProblem:
    """One problem with every distinct solution that was drawn, in the order in which they first came."""

    number: int  # Its place among the problems that were mined, from 0.
    id: str  # The problem's name in its source.
    question: str  # Its text.
    answer: str  # The final answer that solutions were compared with.
    source: str = ""  # Where it comes from.
    drawn: int = 0  # How many samples were drawn; the counts of the solutions add up to it.
    solutions: tuple[Solution, ...] = ()  # The distinct solutions.
    note: str = ""  # Why there are no samples, such as a prompt that is too long; "" where there are.
    messages: tuple[Message, ...] = ()  # The conversation that was answered; empty where it is the question alone.
    tools: tuple[Tool, ...] = ()  # What the assistant could call.

    def samples(self, verdict: str) -> int:
        """How many samples, duplicates counted, had this verdict."""
        return sum(solution.count for solution in self.solutions if solution.verdict == verdict)


def valued_lines(solution: Solution, strip: bool = True) -> dict[str, Any]:
    """The lines of a solution of a tree search and the value at the end of each, as `steps` and `values`.

    A search may cut steps within a line. An end without text, such as an end token alone, gives its value to the line
    before. With `strip`, white space around the solution is cut.
    """
    steps, values, begun = list[str](), list[float](), ""
    for part, value in zip(solution.steps, solution.step_values, strict=True):
        begun += part
        if begun.endswith("\n") and begun.strip():
            steps, values, begun = [*steps, begun.removesuffix("\n")], [*values, value], ""
    if begun.strip() or not steps:
        steps, values = [*steps, begun], [*values, solution.step_values[-1]]
    values[-1] = solution.step_values[-1]
    if strip:
        steps[0], steps[-1] = steps[0].lstrip(), steps[-1].rstrip()
    return {"steps": tuple(steps), "values": tuple(values)}


def to_json(problem: MinedProblem) -> dict[str, Any]:
    """The JSON object of one line; keys in a fixed order, so that equal problems give equal bytes."""
    # `dataclasses.asdict` copies every value, which took half of the time of a round's grading.
    record = {"schema": SCHEMA} | vars(problem) | {"solutions": [_solution_record(one) for one in problem.solutions]}
    del record["messages"], record["tools"]  # lines without a conversation are as they were before there were these
    talk = {"messages": [message_record(message) for message in problem.messages], "tools": list(problem.tools)}
    return record | {key: values for key, values in talk.items() if values}


def _solution_record(solution: Solution) -> dict[str, Any]:
    """A solution without the keys of `NEW` that it does not use: its line is as it was before there were these."""
    unused = lambda key, value: value is None or (key != "reward" and not value)
    return {key: value for key, value in vars(solution).items() if key not in NEW or not unused(key, value)}


def from_json(record: Any, where: str) -> MinedProblem:
    """The problem that `to_json` wrote; InputError, opened by `where`, for anything else."""
    if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
        found = f"schema {record.get('schema')!r}" if isinstance(record, Mapping) else f"{record!r:.60}"
        raise InputError(
            f"{where}: got {found}; expected a line of {FILE} with schema {SCHEMA}: is this the right "
            "file? If another version wrote it, mine again with `python -m mtjax.mine`"
        )
    values = {name: value for name, value in record.items() if name != "schema"}
    readers: dict[str, Any] = {"messages": read_messages, "tools": read_tools}
    talk = {key: read(values.pop(key), where) for key, read in readers.items() if key in values}
    return dataclasses.replace(decode(values, MinedProblem, where, "mine again"), **talk)


def solutions_file(path: str) -> str:
    """The file of mined solutions that a path means: itself, or the one in the folder; InputError if incomplete."""
    if is_address(path):  # a file or a pattern has the ending in its name
        return path if ".jsonl" in path.rpartition("/")[2] else f"{path.rstrip('/')}/{FILE}"
    folder = pathlib.Path(path)
    if not folder.is_dir():
        return path
    if (folder / FILE).is_file():
        return str(folder / FILE)
    why = "mine there first"
    if (folder / "manifest.json").is_file():
        why = "mining has not finished there: run the same `python -m mtjax.mine` again"
    raise InputError(f"folder '{path}' has no {FILE}; {why}")


def read_mined(path: str) -> Iterator[MinedProblem]:
    """The problems of a folder or file of mined solutions, one by one; InputError naming the line of a bad one."""
    for line, where, _ in Mined(path).records():
        yield from_json(json_of(line, where), where)


@SOURCES.register("mined")
@dataclasses.dataclass(frozen=True)
class Mined(FileSource):
    """Problems with the right and wrong solutions that a policy found itself (`python -m mtjax.mine`).

    A solution whose verdict is unknown is neither right nor wrong, and one that the policy's tokenizer cannot write
    again cannot be trained on: both are left out. `success_rate` is the share of right samples among those that could
    be judged, duplicates counted. For the task `group` every sample is a candidate with reward 1 or 0; for the task
    `step_values` one that a tree search found in `mtjax.rounds` has the values of its lines.
    """

    marks: ClassVar[tuple[str, ...]] = ("schema", "solutions")
    example: ClassVar[str] = (
        '{"schema": 1, "number": 0, "id": "a", "question": "1 + 1 =", "answer": "2", "drawn": 2, "solutions": ['
        '{"text": "2", "verdict": "right", "answer": "2"}, {"text": "3", "verdict": "wrong", "answer": "3"}]}\n'
    )

    path: Annotated[str, Address]
    """The folder that `mtjax.mine` wrote, or its solutions.jsonl (or .jsonl.gz); also as gs://... or s3://..."""
    split: Split = "all"  # Which part, by hash of the question.
    flawed: Literal["drop", "right", "wrong"] = "drop"  # What a right answer after a false equation counts as.
    cut: Literal["drop", "wrong"] = "drop"  # What a wrong solution counts as that was cut at its longest length.
    solved_below: float | None = None
    """Leave out problems solved in this share of their samples or more, as DCO's released code does at 0.1."""

    strip: bool = True
    """Cut white space around solutions, which the verdicts do not count; off for code, whose first indent matters."""
    before: ClassVar[Mapping[str, Any]] = {"strip": True}

    def __post_init__(self) -> None:
        if self.solved_below is not None and not 0 < self.solved_below <= 1:
            raise InputError(f"source.solved_below={self.solved_below}: expected a share, above 0 and at most 1")

    def file(self) -> str:
        return solutions_file(self.path)

    def problems(self, on_error: OnError = "raise") -> Problems:
        found = super().problems(on_error)
        edges = any(text != text.strip() for text in self._texts())
        note = "white space around mined solutions is cut (data.source.strip)"
        return found._replace(notes=(*found.notes, note)) if self.strip and edges else found

    def _texts(self) -> Iterator[str]:
        for record, where, _ in self.records():
            with contextlib.suppress(InputError):
                yield from (solution.text for solution in from_json(json_of(record, where), where).solutions)

    def parse(self, record: Any, where: str, id: str) -> Problem:
        return self.problem_of(from_json(record, where))

    def problem_of(self, mined: MinedProblem) -> Problem:
        """One mined problem with the solutions that these settings make of it."""
        sides: dict[str, list[str]] = {"right": [], "wrong": [], "unknown": [], "drop": []}
        for solution in mined.solutions:
            sides[self.side_of(solution)].append(solution.text.strip() if self.strip else solution.text)
        right, wrong = mined.samples("right"), mined.samples("wrong")
        rate = right / (right + wrong) if right + wrong else None
        if self.solved_below is not None and (rate is None or rate >= self.solved_below):
            sides = {"right": [], "wrong": []}
        texts = (tuple(sides["right"]), tuple(sides["wrong"]))
        talk: dict[str, Any] = {"messages": mined.messages, "tools": mined.tools}
        if any(sides.values()):
            talk["candidates"] = tuple(self._candidate(one) for one in mined.solutions for _ in range(one.count))
        return Problem(mined.id, mined.question, mined.answer, *texts, success_rate=rate, source=mined.source, **talk)

    def _candidate(self, solution: Solution) -> Candidate:
        """A solution as one of a group; its reward is not known where it is neither right nor wrong."""
        reward = (
            {"right": 1.0, "wrong": 0.0}.get(self.side_of(solution)) if solution.reward is None else solution.reward
        )
        text = solution.text.strip() if self.strip else solution.text
        drawn = (solution.token_ids, solution.token_logprobs, solution.proposal_logprobs)
        candidate = Candidate(text, reward, (), (), solution.finished, *drawn)
        if solution.step_values and self.side_of(solution) in ("right", "wrong"):
            candidate = dataclasses.replace(candidate, **valued_lines(solution, self.strip))
        return candidate

    def side_of(self, solution: Solution) -> str:
        """What a solution counts as: "right", "wrong", or "unknown" or "drop" for neither."""
        if not solution.readable or not solution.text.strip():
            return "drop"
        if not solution.finished:
            return self.cut if solution.verdict == "wrong" else "drop"
        return self.flawed if solution.verdict == "right" and solution.untrue else solution.verdict
