"""Mining: draw many solutions of each problem, check them, and keep every distinct solution with its verdict."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Literal

from mtjax.data.answers import check_answer, extract_answer
from mtjax.data.arithmetic_checker import check_steps, parse_question
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources import AnySource
from mtjax.data.sources.mined import Mined, MinedProblem, Solution, to_json
from mtjax.data.tasks import AnyTask, CompletionTask
from mtjax.distributed.sharding import MeshSpec
from mtjax.errors import InputError
from mtjax.io.journal import Journal
from mtjax.reporting.report import Table
from mtjax.sampling.config import EmbeddedSampling, SamplingConfig
from mtjax.sampling.sampler import ProblemSamples
from mtjax.sampling.search import AnySearch, Independent
from mtjax.sampling.transport import ServerConfig

Draw = Callable[[Sequence[int], Callable[[], Any]], Generator[Sequence[ProblemSamples], None, None]]
"""`draw(numbers, stopped)`: samples of the problems with these numbers; see `mtjax.sampling.sampler.Sampler.draw`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MineData:
    """Which problems to solve, and what to decode from."""

    source: AnySource
    """Where the problems come from; each needs an answer to compare with, or a right solution that states one."""
    task: AnyTask = CompletionTask()  # How a problem becomes a prompt.
    on_error: OnError = "raise"
    """A record that cannot be read, or a prompt that is too long or refused: stop and name it, or skip and count it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MineConfig:
    """What to mine, from which policy, and how."""

    data: MineData  # The problems; of a run or a config file, its training source.
    sampling: EmbeddedSampling = SamplingConfig(samples=8, max_new_tokens=None)  # How solutions are drawn.
    search: AnySearch = Independent()  # type: ignore[valid-type]
    """Which of the solutions that are drawn are kept."""
    limit: int | None = None  # Use the first so many problems; None takes all.
    seed: int = 0
    """Random seed for sampling; with a local model on one machine and version, the same seed gives the same bytes."""
    output: str | None = None
    """Folder for the results; None is `mined` in the run folder, and must be said for a model that is no run."""
    overwrite: bool = False  # Delete the results of an earlier job in the output folder first.
    mistakes: bool = False
    """Also write mistakes.jsonl: wrong solutions and first wrong steps as records (`mistakes.mined_records`)."""
    step: int | Literal["best"] | None = None
    """Of a run folder: which checkpoint; "best" has the lowest held-out loss, None takes the newest."""
    tokenizer: str | None = None
    """Tokenizer to use; None takes the model's own. With a server, only to render a chat template here."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Type to compute in; None is float32, or what the run computed in."""
    mesh: MeshSpec = MeshSpec()  # Over which devices.
    rows: int = 64  # Solutions that a local policy draws side by side; what a kill can cost.
    server: ServerConfig = ServerConfig()  # How to use a server, if the policy is a URL.

    def __post_init__(self) -> None:
        least = {"rows": 1, "seed": 0, "limit": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                none = ", or None" if name == "limit" else ""
                raise InputError(f"{name}={value}: expected at least {lowest}{none}")


def checked(problem: Problem, gold: str, attempt: ProblemSamples) -> MinedProblem:
    """The samples of a problem as distinct solutions, each with its verdict; samples that differ in nothing but white
    space around them, and in whether they were cut, are one."""
    arithmetic = parse_question(problem.question) is not None
    found: dict[tuple[str, bool], Solution] = {}
    for sample in attempt.samples:
        key = (sample.text.strip(), sample.finished)
        if key in found:
            found[key] = dataclasses.replace(found[key], count=found[key].count + 1)
            continue
        verdict = check_answer(sample.text, gold).value if sample.text.strip() else "wrong"
        made = Solution(verdict=verdict, answer=extract_answer(sample.text), **sample._asdict())  # type: ignore[arg-type]
        if arithmetic:
            report = check_steps(problem.question, sample.text)
            first = report.errors[0] if report.errors else None
            made = dataclasses.replace(
                made,
                first_wrong=report.first_wrong,
                error=first.kind if first else "",
                untrue=any(error.kind in ("calculation", "answer") for error in report.errors),
            )
        found[key] = made
    return MinedProblem(
        number=attempt.number,
        id=problem.id,
        question=problem.question,
        answer=gold,
        source=problem.source,
        drawn=len(attempt.samples),
        solutions=tuple(found.values()),
        note=attempt.note,
    )


def mine(
    problems: Sequence[Problem],
    golds: Sequence[str],
    journal: Journal,
    draw: Draw,
    say: Callable[[str], None] = print,
    stopped: Callable[[], Any] = lambda: False,
    *,
    every: float = 15.0,
) -> bool:
    """Draw, check and write what the journal does not hold yet; whether all is done.

    Whatever `draw` has given is kept, also when it raises, and when `stopped()` ends it early. `every`: seconds between
    two lines of progress.
    """
    todo = journal.missing()
    start = last = time.monotonic()
    right = drawn = 0
    with contextlib.closing(draw(todo, stopped)) as batches:
        for batch in batches:
            records = [checked(problems[one.number], golds[one.number], one) for one in batch]
            journal.append((record.number, to_json(record)) for record in records)
            right += sum(record.samples("right") for record in records)
            drawn += sum(record.drawn for record in records)
            if (now := time.monotonic()) - last >= every:
                last = now
                say(
                    f"{len(journal):,} of {len(problems):,} problems, {right / max(drawn, 1):.1%} right, "
                    f"{drawn / (now - start):.1f} samples a second"
                )
    if len(journal) < len(problems):
        return False
    journal.finish()
    return True


def yield_table(mined: Iterable[MinedProblem], caption: str = "") -> Table:
    """What mining came to: problems by how their samples fared, samples by verdict, distinct solutions, and pairs.

    Pairs are a right and a wrong solution of one problem; those for training leave out what
    `mtjax.data.sources.mined.Mined` leaves out by default.
    """
    number = dict.fromkeys(("problems", "all right", "all wrong", "mixed", "undecided", "not sampled", "samples"), 0)
    unique = {"right": 0, "wrong": 0}
    samples = {"right": 0, "wrong": 0, "unknown": 0}
    pairs = usable = cut = untrue = 0
    reader = Mined(path="")
    for one in mined:
        count = {verdict: one.samples(verdict) for verdict in samples}
        kind = "mixed" if count["right"] and count["wrong"] else "undecided"
        kind = next((f"all {verdict}" for verdict in unique if one.drawn and count[verdict] == one.drawn), kind)
        number["problems"] += 1
        number[kind if one.drawn else "not sampled"] += 1
        number["samples"] += one.drawn
        for verdict in samples:
            samples[verdict] += count[verdict]
        own = {verdict: sum(s.verdict == verdict for s in one.solutions) for verdict in unique}
        for verdict in unique:
            unique[verdict] += own[verdict]
        pairs += own["right"] * own["wrong"]
        problem = reader.problem_of(one)
        usable += len(problem.right) * len(problem.wrong)
        cut += sum(s.count for s in one.solutions if not s.finished)
        untrue += sum(s.count for s in one.solutions if s.verdict == "right" and s.untrue)
    share = f"{samples['right'] / number['samples']:.1%}" if number["samples"] else "-"
    rows = [[name, f"{value:,}"] for name, value in number.items()]
    rows += [["right", share], ["right behind a false step", f"{untrue:,}"]]
    rows += [["unknown verdicts", f"{samples['unknown']:,}"], ["truncated", f"{cut:,}"]]
    rows += [[f"unique {verdict}", f"{value:,}"] for verdict, value in unique.items()]
    rows += [["pairs possible", f"{pairs:,}"], ["pairs for training", f"{usable:,}"]]
    return Table(["yield", "number"], rows, caption)


def plain(value: Any) -> Any:
    """Settings as JSON holds them: dataclasses with their kind; problems in memory and paths, for which the
    fingerprint of the content stands, left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields: Mapping[str, Any] = {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.name not in ("path", "items")
        }
        return {"kind": type(value).__name__, **fields}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
