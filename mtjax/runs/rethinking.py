"""A self-rethinking job from its settings: questions, mistakes to show, model, results folder, and the loop."""

import contextlib
import itertools
import json
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import jax

import mtjax
from mtjax.data.examples import encode_prompt
from mtjax.distributed.signals import signals
from mtjax.errors import ExitCode, InputError
from mtjax.io.files import write_text
from mtjax.io.hashing import digest
from mtjax.io.progress import track
from mtjax.mistakes.mining import plain
from mtjax.mistakes.rethinking_evaluation import RethinkConfig, measure, mistakes_at, think
from mtjax.mistakes.self_rethinking import Generate, mistake_block
from mtjax.mistakes.verbalised import VerbaliseConfig
from mtjax.reporting.report import Table, format_table
from mtjax.runs.loading import Loaded
from mtjax.runs.model_or_server import (
    Policy,
    Say,
    connect,
    interrupted,
    is_run,
    is_url,
    load_local,
    open_results,
    read_problems,
)  # fmt: skip
from mtjax.sampling.local import LocalSampler, check_room
from mtjax.sampling.remote import ServerSampler
from mtjax.sampling.replies import Refused

FILE = "rethinking.jsonl"
"""One line per question: everything that was said, and the verdicts."""


Prompting = RethinkConfig | VerbaliseConfig
"""Settings of jobs whose prompts depend on replies."""


class Halt(Exception):
    """A signal came; an incomplete group of questions is dropped."""


def run(name: str, config: RethinkConfig, say: Say = print, loaded: Loaded | None = None) -> ExitCode:
    """Rethink as `config` says with the model called `name`, or with one that is `loaded` already.

    Raises:
        InputError: bad settings, problems without answers, no mistake to show, prompts that are too long.
    """
    problems, golds = read_problems(config, say)
    asked = {problem.question.strip() for problem in problems}
    records = list(mistakes_at(config.mistakes))
    shown = [record for record in records if record.question.strip() not in asked]
    if len(shown) < len(records):
        say(f"note: {len(records) - len(shown):,} mistakes are not shown, since their questions are asked")
    block = mistake_block(shown, config.block)
    with contextlib.ExitStack() as stack:
        policy = from_server(name, config, say) if is_url(name) else from_model(name, config, loaded, stack, say)
        if config.output is not None or is_run(name):
            folder = pathlib.Path(name, "rethink") if config.output is None else pathlib.Path(config.output)
            folder = folder.expanduser()
        else:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        depends = {"problems": len(problems), "content": config.data.source.fingerprint(), "block": digest(block)}
        depends |= {key: plain(getattr(config, key)) for key in ("k", "unparsable", "wording", "together", "seed")}
        depends |= policy.settings
        about = {**policy.about, "shown": block, "mtjax": mtjax.__version__, "jax": jax.__version__}
        journal = open_results(folder / FILE, "questions", config, depends, about, len(problems), say, stack)
        stopped = stack.enter_context(signals())
        try:
            groups = sorted({number // config.together for number in journal.missing()})
            for group in track(groups, f"groups of {config.together} questions"):
                numbers = range(len(problems))[group * config.together : (group + 1) * config.together]
                generate = in_turn(policy, config.seed, group, stopped)
                journal.append(think(problems, golds, numbers, block, config, generate))
        except Halt:
            return interrupted(journal, "questions", stopped(), say)
        journal.finish()
        with journal.file.open(encoding="utf-8") as lines:
            metrics = measure(map(json.loads, lines), level=config.level, seed=config.seed)
        caption = (
            f"{name}: {len(problems)} questions, k = {config.k}, at most {2 + 2 * config.k} calls each; "
            f"{config.level:.0%} bootstrap intervals over questions"
        )
        say(format_table(Table(["metric", "value"], list(metrics.items()), caption)))
        if config.output is not None or is_run(name):
            numbers_by_name = {key: interval._asdict() for key, interval in metrics.items()}
            text = json.dumps({"model": name, "metrics": numbers_by_name}, indent=2)
            write_text(folder / "rethinking.json", text + "\n")
            say(f"wrote {folder}/rethinking.json and {FILE}")
    return ExitCode.DONE


def in_turn(policy: Policy, seed: int, group: int, stopped: Callable[[], Any]) -> Generate:
    """The replies for one group of questions; every batch of prompts has a seed of its own. Raises `Halt`."""
    count = itertools.count()

    def replies(texts: list[str]) -> list[str]:
        own_seed = int(digest(seed, group, next(count))[:7], 16)
        if stopped():
            raise Halt
        batches = policy.sampler.draw([policy.prompts(text) for text in texts], own_seed, stopped)
        found = {one.number: one.samples[0].text for batch in batches for one in batch}
        if len(found) < len(texts):
            raise Halt
        return [found[number] for number in range(len(texts))]

    return replies


def from_model(name: str, config: Prompting, loaded: Loaded | None, stack: contextlib.ExitStack, say: Say) -> Policy:
    """A model on this machine."""
    loaded, depends = load_local(name, config, loaded, stack)
    decoding, model = loaded.decoding, loaded.model
    if decoding.task is not None and not config.raw:
        say(f"note: {decoding.reads()}, as in its training; --raw takes prompts as they stand")
    elif decoding.other_prefixes():
        say("warning: --raw leaves out the prefix after which this run learnt to answer")
    sampler = LocalSampler(
        model=model, params=loaded.params, tokenizer=decoding.tokenizer,
        sampling=config.sampling, rows=config.rows,
    )  # fmt: skip

    def prompt(text: str) -> list[int]:
        ids = encode_prompt(decoding.tokenizer, decoding.prompt(text, raw=config.raw))
        remedy = "show fewer or shorter mistakes (block...) or examples (learning.batch), or lower max_new_tokens"
        check_room(model, len(ids), config.sampling.longest, "a prompt", remedy)
        return ids

    depends["policy"]["raw"] = config.raw
    if decoding.task is not None and not config.raw:
        depends["policy"]["task"] = plain(decoding.task)
    about = {"model": name, "step": loaded.step}
    return Policy(sampler, prompt, {"decode": config.sampling.to_json(), **depends}, about)


def from_server(name: str, config: Prompting, say: Say) -> Policy:
    """A server."""
    server, depends, about = connect(name, config, say, chat=True)

    def refusal(number: int, refused: Refused) -> str:
        raise InputError(
            f"the server refuses a prompt ({refused}): show fewer or shorter mistakes (block...) or examples "
            "(learning.batch)"
        ) from refused

    sampler = ServerSampler(server=server, sampling=config.sampling, refusal=refusal)
    return Policy(sampler, lambda text: text, {**depends, "decode": config.sampling.to_json()}, about)
