"""Mining: draw many solutions of each problem, check them, and keep every distinct solution with its verdict."""

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge

from mtjax.data.answers import check_answer, extract_answer, options_in
from mtjax.data.arithmetic_checker import check_steps, parse_question
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources import AnySource
from mtjax.data.sources.mined import Mined, MinedProblem, Solution, to_json
from mtjax.data.tasks import AnyTask, CompletionTask
from mtjax.distributed.sharding import MeshSpec
from mtjax.io.journal import SINCE, Journal
from mtjax.io.progress import progress, shown
from mtjax.reporting.report import Table
from mtjax.sampling.config import EmbeddedSampling, SamplingConfig
from mtjax.sampling.sampler import ProblemSamples, Sample, silence
from mtjax.sampling.search import AnySearch, Independent
from mtjax.sampling.transport import ServerConfig
from mtjax.validation import PositiveInt, check_types

Draw = Callable[[Sequence[int], Callable[[], Any]], Generator[Sequence[ProblemSamples], None, None]]
"""`draw(numbers, stopped)`: samples of the problems with these numbers; see `mtjax.sampling.sampler.Sampler.draw`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MineData:
    """Which problems to solve, and what to decode from."""

    source: AnySource  # Where the problems come from; each needs an answer, or a right solution with one.
    task: AnyTask = CompletionTask()  # How a problem becomes a prompt.
    on_error: OnError = "raise"  # A bad record, or a prompt that is too long or refused: stop, or skip and count it.


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """How to load the model, or ask the server, that `mine` and `rethink` draw from."""

    seed: Annotated[int, Ge(0)] = 0  # Random seed; a local model on one machine and version repeats its bytes.
    overwrite: bool = False  # Delete the results of an earlier job in the output folder first.
    step: int | Literal["best"] | None = None  # Checkpoint of a run; best: lowest held-out loss; None: newest.
    weights: Literal["auto", "raw", "average"] = "auto"
    """Parameters of a run: as trained (raw), or the average that it keeps of them (`optim.average`); auto: raw, but the
    average of a schedule-free optimizer."""
    tokenizer: str | None = None  # None takes the model's own. With a server, only to render a chat template.
    dtype: Literal["float32", "bfloat16"] | None = None  # Type to compute in; None is float32, or the type of the run.
    mesh: MeshSpec = MeshSpec()  # Over which devices.
    server: ServerConfig = ServerConfig()  # How to use a server, if the model is a URL.

    def __post_init__(self) -> None:
        check_types(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MineConfig(PolicyConfig):
    """What to mine, from which policy, and how."""

    data: MineData  # The problems; of a run or a config file, its training source.
    sampling: EmbeddedSampling = SamplingConfig(samples=8, max_new_tokens=None)  # How solutions are drawn.
    search: AnySearch = Independent()  # type: ignore[valid-type]
    """Which of the solutions that are drawn are kept."""
    limit: PositiveInt | None = None  # Use only this many problems, the first ones; None takes all.
    output: str | None = None  # Folder for the results; None is `mined` in the run folder, for a run only.
    logprobs: bool = False
    """Record the tokens of every distinct solution and the log-probabilities of each, the model's own and those of the
    distribution that it was drawn from, for policy gradients (docs/groups.md); of a local model."""
    mistakes: bool = False  # Also write mistakes.jsonl: wrong solutions and first wrong steps as records.
    rows: PositiveInt = 64  # Solutions that a local policy draws side by side; what a kill can cost.


Judge = Callable[[Problem, Sample], tuple[str, float | None]]
"""`judge(problem, sample)`: the verdict ("right", "wrong" or "unknown") and the reward, if any, of a sample."""


def checked(problem: Problem, gold: str, attempt: ProblemSamples, judge: Judge | None = None) -> MinedProblem:
    """The samples of a problem as distinct solutions, each with its verdict.

    Samples that differ only in the white space around them are one, unless one of them was cut or filtered. Those that
    say nothing (`mtjax.sampling.sampler.silence`) are not graded. `judge` None compares final answers with `gold`.
    """
    found: dict[tuple[str, bool, str], Solution] = {}
    counts = Counter[tuple[str, bool, str]]()
    options = problem.options or options_in(problem.question)
    for sample in attempt.samples:
        why = silence(sample)
        key = (sample.text.strip(), sample.finished, why)
        counts[key] += 1
        if key in found:
            continue
        verdict, reward = "unknown", None
        if judge is not None:
            verdict, reward = judge(problem, sample)
            verdict = "unknown" if why else verdict
        elif not why:
            asked = problem.question
            verdict = check_answer(sample.text, gold, question=asked, options=options, finished=sample.finished).value
        steps: dict[str, Any] = {}
        if parse_question(problem.question) is not None:
            report = check_steps(problem.question, sample.text)
            kinds = [error.kind for error in report.errors]
            untrue = not {"calculation", "answer"}.isdisjoint(kinds)
            steps = {"first_wrong": report.first_wrong, "error": kinds[0] if kinds else "", "untrue": untrue}
        answer = extract_answer(sample.text, choice=bool(options))
        about: dict[str, Any] = {"verdict": verdict, "answer": answer} | steps | sample._asdict()
        found[key] = Solution(**(about | {"withheld": why, "reward": reward}))
    found |= {key: dataclasses.replace(found[key], count=count) for key, count in counts.items() if count > 1}
    return MinedProblem(
        number=attempt.number, id=problem.id, question=problem.question, answer=gold, source=problem.source,
        drawn=len(attempt.samples), solutions=tuple(found.values()), note=attempt.note, messages=problem.messages,
        tools=problem.tools,
    )  # fmt: skip


def mine(
    problems: Sequence[Problem], golds: Sequence[str], journal: Journal, draw: Draw,
    say: Callable[[str], None] = print, stopped: Callable[[], Any] = lambda: False, *, every: float = 15.0,
) -> bool:  # fmt: skip
    """Draw, check and write what the journal does not hold yet; whether all is done.

    Whatever `draw` has given is kept, also when it raises, and when `stopped()` ends it early. `every`: seconds between
    two lines of progress.
    """
    todo = journal.missing()
    start = last = time.monotonic()
    right = drawn = 0
    with (
        contextlib.closing(draw(todo, stopped)) as batches,
        progress("problems", len(problems), len(journal)) as advance,
    ):
        for batch in batches:
            records = [checked(problems[one.number], golds[one.number], one) for one in batch]
            journal.append((record.number, to_json(record)) for record in records)
            right += sum(record.samples("right") for record in records)
            drawn += sum(record.drawn for record in records)
            advance(len(batch), f"{right / max(drawn, 1):.1%} right")
            if not shown() and (now := time.monotonic()) - last >= every:
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
    """The yield of mining: problems and samples by verdict, distinct solutions, and pairs.

    Pairs are a right and a wrong solution of one problem; those for training leave out what
    `mtjax.data.sources.mined.Mined` leaves out by default.
    """
    total, reader = Counter[str](), Mined(path="")
    for one in mined:
        right, wrong, unknown = (one.samples(verdict) for verdict in ("right", "wrong", "unknown"))
        all_same = {"not sampled": not one.drawn, "all right": right == one.drawn, "all wrong": wrong == one.drawn}
        kinds = all_same | {"mixed": right and wrong, "undecided": True}
        kind = next(name for name, holds in kinds.items() if holds)
        unique = Counter(solution.verdict for solution in one.solutions)
        usable = reader.problem_of(one)
        total.update(("problems", kind))
        total.update({"samples": one.drawn, "right": right, "unknown verdicts": unknown})
        total["right behind a false step"] += sum(s.count for s in one.solutions if s.verdict == "right" and s.untrue)
        for s in one.solutions:
            total[s.withheld] += s.count if s.withheld else 0
        total["truncated"] += sum(s.count for s in one.solutions if not s.finished)
        total.update({"unique right": unique["right"], "unique wrong": unique["wrong"]})
        total["pairs possible"] += unique["right"] * unique["wrong"]
        total["pairs for training"] += len(usable.right) * len(usable.wrong)
    names = ["problems", "all right", "all wrong", "mixed", "undecided", "not sampled", "samples", "right"]
    names += ["right behind a false step", "unknown verdicts", "truncated"]
    names += [why for why in ("empty", "reasoning", "filtered") if total[why]]
    names += ["unique right", "unique wrong"]
    cells = {name: f"{total[name]:,}" for name in (*names, "pairs possible", "pairs for training")}
    cells["right"] = f"{total['right'] / total['samples']:.1%}" if total["samples"] else "-"
    return Table(["yield", "number"], [list(row) for row in cells.items()], caption)


def plain(value: Any) -> Any:
    """Settings as JSON: dataclasses with their kind, without problems in memory and paths.

    The fingerprint of the content stands for those.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Settings that version 0.1 did not have are left out where they do what it did (`Task.before`).
        new = {name: was for name, was in getattr(value, "before", {}).items() if name not in SINCE}
        new = {name: was for name, was in new.items() if name not in getattr(value, "had", ())}
        names = [field.name for field in dataclasses.fields(value) if field.name not in ("path", "items", "not_kept")]
        names = [name for name in names if name not in new or getattr(value, name) != new[name]]
        return {"kind": type(value).__name__} | {name: plain(getattr(value, name)) for name in names}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
