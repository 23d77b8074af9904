"""The attempts of a round: drawn with the policy in memory, judged, and kept in a journal of the round."""

import dataclasses
import json
import pathlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, NamedTuple

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.data.sources.mined import MinedProblem, from_json, to_json
from mtjax.distributed import hosts
from mtjax.errors import InputError
from mtjax.evaluation.graders import gold_answer
from mtjax.io.hashing import digest, random_order
from mtjax.io.journal import Journal
from mtjax.mistakes.curation import Attempted, Curation
from mtjax.mistakes.mining import checked
from mtjax.runs.rounds.config import Rounds
from mtjax.runs.rounds.serving import ServedSampler, prompts_for
from mtjax.runs.rounds.trainer import Halted, Trainer
from mtjax.sampling.decoding import asked
from mtjax.sampling.local import Ending, LocalSampler, Prompts, fit_prompts
from mtjax.sampling.sampler import ProblemSamples, Sample, Sampler, silence
from mtjax.sampling.texts import TokenSample

SAVE_EVERY = 1.0
"""Seconds between two writes of attempts to the journal, which waits for the disk: what a kill can cost."""

FOLDER = "attempts"
"""Folder of the attempts in the run folder, one file of mined solutions for each round."""


class Asked(NamedTuple):
    """The problems of a run, with their prompts."""

    problems: list[Problem]
    golds: list[str | None]
    prompts: Prompts
    given: Sequence[Any]  # what the sampler is given for each: its tokens, or what a server is asked


def problems_of(config: Rounds, trainer: Trainer) -> Asked:
    """The problems of the run and their prompts; InputError for one without the answer that the grader needs."""
    data = config.train.data
    found = data.source.problems(data.on_error)
    problems = unique(found.items)
    golds = [gold_answer(problem) for problem in problems]
    if config.grader.needs_gold and None in golds:
        raise InputError(
            f"problem {problems[golds.index(None)].id} has no answer to compare with ({golds.count(None)} of "
            f"{len(golds)} have none): give it an 'answer', or choose a grader that needs none"
        )
    prompts = fit_prompts(
        trainer.model, trainer.tokenizer, problems,
        lambda problem: asked(data.task, problem, None, trainer.tokenizer, config.sampling),
        config.sampling.max_new_tokens, skip=data.on_error == "skip",
    )  # fmt: skip
    given = prompts.ids if config.serving is None else prompts_for(config, trainer, problems, prompts)
    return Asked(problems, golds, prompts, given)


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """The problems with ids of their own: the second `a` is called `a~2`."""
    names, out = Counter[str](), []
    for problem in problems:
        names[problem.id] += 1
        count = names[problem.id]
        out.append(problem if count == 1 else dataclasses.replace(problem, id=f"{problem.id}~{count}"))
    return out


def seed_of(config: Rounds, number: int, what: str = "attempts") -> int:
    """The seed of a round: it depends on the run's seed and the round alone."""
    return int(digest("rounds", what, config.train.seed, number)[:15], 16)


def chosen(config: Rounds, count: int, number: int) -> list[int]:
    """Which of `count` problems round `number` (from 1) asks, in order.

    They are the next ones of a stream of random orders of all problems; without `problems` all, in the order of the
    source.
    """
    size = min(config.problems or count, count)
    if size == count:
        return list(range(count))
    places = range((number - 1) * size, number * size)
    orders = {epoch: random_order(count, config.train.seed, epoch) for epoch in {place // count for place in places}}
    # A round that crosses the end of an order might ask a problem twice: it takes the next one then.
    out = dict.fromkeys(int(orders[place // count][place % count]) for place in places)
    spare = iter(orders[places[-1] // count].tolist())
    while len(out) < size:
        out.setdefault(next(spare))
    return list(out)


def sampler_of(config: Rounds, trainer: Trainer, prompts: Prompts) -> Sampler:
    """The policy as it is now, as a sampler: here, with the parameters of the training, or on the run's server."""
    wanted = dataclasses.replace(config.sampling, max_new_tokens=prompts.max_new_tokens)
    sampling = trainer.decoding.sampling(wanted)
    if config.serving is not None:
        return ServedSampler(config=config, trainer=trainer, sampling=sampling)
    return LocalSampler(
        model=trainer.model, params=trainer.params, tokenizer=trainer.tokenizer, sampling=sampling, rows=config.rows,
        by_token=True,
    )  # fmt: skip


def judge_of(
    config: Rounds, rewarded: bool = True
) -> Callable[[Problem, Sample | TokenSample], tuple[str, float | None]]:
    """Verdict and reward of a sample, the reward None unless `rewarded`; one that says nothing is not judged."""
    reward = config.reward if rewarded else None

    def judge(problem: Problem, sample: Sample | TokenSample) -> tuple[str, float | None]:
        verdict: Verdict = Verdict.UNKNOWN if silence(sample) else config.grader(problem, sample)
        return verdict.value, None if reward is None else reward(problem, sample, verdict)

    return judge


def ending_of(config: Rounds, problems: Sequence[Problem]) -> Ending:
    """How an answer to one of these problems ends, by the run's grader, which the first host asks for all."""
    judge = judge_of(config, rewarded=False)
    ends = {"right": 1.0, "wrong": -1.0}
    return lambda number, sample: ends.get(hosts.on_first(lambda: judge(problems[number], sample)[0]))


class Drawn(NamedTuple):
    """The attempts of a round."""

    attempts: list[Attempted]
    samples: int  # how many were drawn
    tokens: int  # their tokens, end tokens included
    seconds: tuple[float, float]  # spent on sampling, and on waiting for the grader and writing


class Begun(NamedTuple):
    """A problem whose answers begin with a text that is given."""

    text: str
    prompt: Any  # for the sampler, the text included


def begun(config: Rounds, trainer: Trainer, asked: Asked, kept: Any, number: int) -> dict[int, Begun]:
    """The problems of round `number` whose answers begin with what the curation says, by their number in the source.

    One whose prompt would leave no room for an answer begins with nothing.
    """
    found, seed = {}, seed_of(config, number, "beginning")
    most = trainer.model.config.max_length - asked.prompts.max_new_tokens
    for n in chosen(config, len(asked.problems), number):
        text, given = config.curation.beginning(kept, asked.problems[n], seed), asked.given[n]
        if text and isinstance(given, str):
            found[n] = Begun(text, given + text)
        elif text and isinstance(given, list):
            prompt = [*given, *trainer.tokenizer.encode(text).ids]
            found |= {n: Begun(text, prompt)} if len(prompt) <= most else {}
    return found


def after(text: str, one: ProblemSamples) -> ProblemSamples:
    """Samples that went on from a text, with it; the tokens are those of what was drawn, and go."""
    whole = [
        sample._replace(text=text + sample.text, token_ids=(), token_logprobs=(), proposal_logprobs=())
        for sample in one.samples
    ]
    return one._replace(samples=whole) if text else one


def draw(
    config: Rounds, asked: Asked, sampler: Sampler, number: int, journal_settings: dict[str, Any],
    stopped: Callable[[], Any], begun: Mapping[int, Begun] = MappingProxyType({}),
) -> Drawn:  # fmt: skip
    """The attempts of round `number`: those that the journal holds, and the others drawn now; Halted when `stopped()`.

    A problem's samples depend on the seed, the round, its place in the round and the policy alone. A thread grades
    answers while the next ones are drawn. Of many hosts, all draw; the first one judges and writes, and the others get
    what it wrote.
    """
    numbers = chosen(config, len(asked.problems), number)
    prompts = [begun[n].prompt if n in begun else asked.given[n] for n in numbers]
    folder, judge, seconds = pathlib.Path(config.train.run_dir) / FOLDER, judge_of(config), [0.0, 0.0]
    if isinstance(sampler, LocalSampler):
        sampler = dataclasses.replace(sampler, ending=ending_of(config, [asked.problems[n] for n in numbers]))
    file = f"{number:04}.jsonl"
    judges = hosts.index() == 0

    def graded(one: ProblemSamples) -> dict[str, Any]:
        n = numbers[one.number]
        whole = after(begun[n].text if n in begun else "", one)
        return to_json(checked(asked.problems[n], asked.golds[n] or "", whole, judge)) if judges else {}

    if not hosts.on_first((folder / file).is_file):
        journal = Journal(folder, file, len(numbers), journal_settings, {}, on_first=hosts.on_first)
        grader = ThreadPoolExecutor(1, "grader")
        write = lambda waiting: journal.append((place, record.result()) for place, record in waiting)
        try:
            since = saved = time.perf_counter()
            waiting: list[tuple[int, Future[dict[str, Any]]]] = []
            for batch in config.search(sampler, prompts, seed_of(config, number), stopped, journal.missing()):
                drawn = time.perf_counter()
                waiting += [(one.number, grader.submit(graded, one)) for one in batch]
                if drawn - saved > SAVE_EVERY:  # what is graded by now: to wait for the rest would hold up sampling
                    ready = sum(record.done() for _, record in waiting)
                    write(waiting[:ready])
                    waiting, saved = waiting[ready:], drawn
                seconds[0] += drawn - since
                since = time.perf_counter()
                seconds[1] += since - drawn
            write(waiting)
            if journal.missing():
                raise Halted
            journal.finish()
            seconds[1] += time.perf_counter() - since
        finally:
            grader.shutdown(cancel_futures=True)
            journal.close()
    since = time.perf_counter()
    mined = read(folder / file)
    attempts = [Attempted(asked.problems[n], one) for n, one in zip(numbers, mined, strict=True)]
    tokens = sum((solution.tokens or 0) * solution.count for one in mined for solution in one.solutions)
    seconds[1] += time.perf_counter() - since
    return Drawn(attempts, sum(one.drawn for one in mined), tokens, (seconds[0], seconds[1]))


def read(file: pathlib.Path) -> list[MinedProblem]:
    """The attempts of a finished round, as the first host reads them."""
    lines = hosts.on_first(lambda: read_lines(file))
    return [from_json(json.loads(line), f"{file}:{place}") for place, line in enumerate(lines, 1)]


def read_lines(file: pathlib.Path) -> list[str]:
    """The lines of a file of records."""
    with file.open(encoding="utf-8") as lines:
        return list(lines)


def replayed(config: Rounds, asked: Asked, curation: Curation, rounds: int, curate: Callable[..., Any]) -> Any:
    """What a curation has kept after so many rounds: read from their attempts."""
    kept = None
    if not curation.stateful:
        return kept
    for number in range(1, rounds + 1):
        mined = read(pathlib.Path(config.train.run_dir) / FOLDER / f"{number:04}.jsonl")
        numbers = chosen(config, len(asked.problems), number)
        attempts = [Attempted(asked.problems[n], one) for n, one in zip(numbers, mined, strict=True)]
        kept = curate(attempts, kept, number).kept
    return kept
