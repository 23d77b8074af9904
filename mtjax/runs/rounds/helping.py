"""What a round lends to its curation: the policy, a teacher, and the sandbox of the grader."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from mtjax.data.problem import Problem
from mtjax.distributed import hosts
from mtjax.evaluation.graders import gold_answer
from mtjax.evaluation.graders.program import ProgramAnswerGrader, close, code_of
from mtjax.io.journal import Journal
from mtjax.mistakes.curation import Helpers
from mtjax.mistakes.curation.base import Trace, Traced
from mtjax.runs.rounds.attempts import read_lines, seed_of
from mtjax.runs.rounds.config import Rounds
from mtjax.runs.rounds.trainer import Trainer
from mtjax.sampling.decoders import Temperature
from mtjax.sampling.teacher import Teacher
from mtjax.sampling.texts import sample_texts

FOLDER = "teacher"
"""Folder of the teacher's answers in the run folder, one file for each round."""


def helpers_of(config: Rounds, trainer: Trainer, number: int, journal_settings: dict[str, Any]) -> Helpers:
    """What the curation of round `number` may use."""
    return Helpers(
        seed_of(config, number, "curation"), asker_of(config, trainer), config.reward is not None,
        lambda teacher, requests: taught(config, teacher, requests, number, journal_settings), tracer_of(config),
    )  # fmt: skip


def asker_of(config: Rounds, trainer: Trainer) -> Callable[[Sequence[str]], list[str]]:
    """Greedy continuations by the policy as it is now, for curations that ask it."""
    greedy = dataclasses.replace(config.sampling, temperature=0.0, top_k=0, top_p=1.0, samples=1)
    greedy = dataclasses.replace(greedy, max_new_tokens=config.sampling.longest)
    if greedy.reads_two:  # these texts have no other prefix
        greedy = dataclasses.replace(greedy, decoder=Temperature())

    def ask(texts: Sequence[str]) -> list[str]:
        with trainer.on_mesh():
            drawn = sample_texts(
                trainer.model, trainer.params, trainer.tokenizer, list(texts), greedy, 0, rows=config.rows
            )
        return [row[0].text for row in drawn]

    return ask


def taught(
    config: Rounds, teacher: Teacher, requests: Sequence[str], number: int, journal_settings: dict[str, Any]
) -> list[str]:
    """The teacher's answers in round `number`: those that are kept already, and the others asked for now.

    Of many hosts the first one asks.
    """
    place = pathlib.Path(config.train.run_dir) / FOLDER
    file = f"{number:04}.jsonl"

    def ask() -> list[str]:
        journal = Journal(place, file, len(requests), journal_settings, {})
        try:
            missing = journal.missing()
            for at, text in teacher.answers(requests, missing, seed_of(config, number, FOLDER)) if missing else ():
                journal.append([(at, {"schema": 1, "number": at, "prompt": requests[at], "text": text})])
            journal.finish()
        finally:
            journal.close()
        return [str(json.loads(line)["text"]) for line in read_lines(place / file)]

    return hosts.on_first(ask)


def tracer_of(config: Rounds) -> Trace | None:
    """Runs programs statement by statement where the grader reads a variable after them; of many hosts on the first."""
    grader = config.grader
    if not isinstance(grader, ProgramAnswerGrader):
        return None

    def trace(problem: Problem, text: str) -> list[Traced]:
        gold = gold_answer(problem)

        def run() -> list[list[Any]]:
            ran = grader.sandbox.trace(code_of(text), grader.variable)
            ends = [None if answer is None or gold is None else close(answer, gold) for answer in ran.answers]
            return [list(one) for one in zip(ran.statements, ran.states, ends, strict=True)]

        return [Traced(statement, tuple(state), right) for statement, state, right in hosts.on_first(run)]

    return trace
