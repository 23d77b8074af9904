"""Mining with a model or a server, from the settings to the files in the output folder."""

import contextlib
import dataclasses
import pathlib
import signal
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

import mtjax
from mtjax.data.mistake_record import to_lines
from mtjax.data.problem import Problem
from mtjax.data.sources.mined import FILE, read_mined
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed.signals import signals
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.grading import check_gold
from mtjax.io.files import write_text
from mtjax.io.journal import Journal
from mtjax.mistakes.mined_records import mined_mistakes
from mtjax.mistakes.mining import MineConfig, mine, plain, yield_table
from mtjax.reporting.report import format_table
from mtjax.runs.loading import Loaded
from mtjax.runs.model_or_server import is_run, is_url, load_local
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.local import LocalPolicy, fit_prompts
from mtjax.sampling.remote import RemotePolicy, chat_or_text
from mtjax.sampling.samples import Draw
from mtjax.sampling.server import Server

SERVER_TOKENS = 256
"""Longest solution of a server where the settings do not say."""


class Policy(NamedTuple):
    """A policy that is ready to be asked.

    Attributes:
        draw: gives samples by numbers of problems.
        settings: what its samples depend on, for the manifest.
        about: what else a reader wants to know.
    """

    draw: Draw
    settings: dict[str, Any]
    about: dict[str, Any]


def run(name: str, config: MineConfig, say: Callable[[str], None] = print, loaded: Loaded | None = None) -> ExitCode:
    """Mine as `config` says with the policy called `name`, or with one that is `loaded` already.

    Raises:
        InputError: bad settings, problems without answers, a server that refuses, a folder of another job.
    """
    # What: the problems, each with an answer to compare with.
    found = config.data.source.problems(config.data.on_error)
    problems = list(found.items[: config.limit])
    for note in found.notes:
        say(f"note: {note}")
    golds = check_gold(problems)
    folder = output_folder(name, config.output)
    sampling = SamplingConfig(
        config.temperature, config.top_k, config.top_p, config.max_new_tokens or SERVER_TOKENS, config.samples,
        config.stop,
    )  # fmt: skip
    if config.samples > 1 and config.temperature == 0:
        say("note: temperature=0 gives every sample of a problem the same text; --samples=1 says as much")

    # From whom: a server, or a model on this machine.
    with contextlib.ExitStack() as stack:
        if is_url(name):
            policy = from_server(name, config, problems, sampling, say)
        else:
            policy = from_model(name, config, problems, sampling, loaded, stack)

        # Where to: the folder, and what is there already.
        depends = {"problems": len(problems), "content": config.data.source.fingerprint(), "data": plain(config.data)}
        depends |= {"seed": config.seed, **policy.settings}
        journal = Journal(folder, FILE, len(problems), depends, policy.about, overwrite=config.overwrite)
        stack.callback(journal.close)
        for key in {"mtjax", "jax", "device"} & set(policy.about):
            if (was := journal.before.get(key)) != policy.about[key]:
                say(f"note: begun with {key} {was}, goes on with {policy.about[key]}: the bytes may differ")
        if len(journal):
            say(f"{len(journal):,} of {len(problems):,} problems are there already")

        # Draw, check, write.
        stop_asked = stack.enter_context(signals())
        if not mine(problems, golds, journal, policy.draw, say, stop_asked):
            say(f"stopped with {len(journal):,} of {len(problems):,} problems; run the same again to go on")
            return ExitCode.INTERRUPTED if stop_asked() == signal.SIGINT else ExitCode.DONE
    say(format_table(yield_table(read_mined(str(journal.file)), f"{name}: {config.samples} samples a problem")))
    say(f"wrote {journal.file}")
    if config.overwrite:
        (folder / "mistakes.jsonl").unlink(missing_ok=True)  # of the solutions that were there before
    if config.mistakes:
        write_text(folder / "mistakes.jsonl", to_lines(mined_mistakes(str(journal.file), seed=config.seed)))
        say(f"wrote {folder / 'mistakes.jsonl'}")
    return ExitCode.DONE


def from_model(
    name: str,
    config: MineConfig,
    problems: Sequence[Problem],
    sampling: SamplingConfig,
    loaded: Loaded | None,
    stack: contextlib.ExitStack,
) -> Policy:
    """A model on this machine."""
    (model, params, tokenizer, end_ids, step), depends = load_local(name, config, loaded, stack)
    prompts = fit_prompts(
        model, tokenizer, problems, lambda problem: config.data.task.prompt(problem, None, tokenizer),
        config.max_new_tokens, skip=config.data.on_error == "skip",
    )  # fmt: skip
    sampling = dataclasses.replace(sampling, max_new_tokens=prompts.max_new_tokens)
    draw = LocalPolicy(
        model=model, params=params, tokenizer=tokenizer, end_ids=end_ids, prompts=prompts, sampling=sampling,
        seed=config.seed, rows=config.rows,
    )  # fmt: skip
    about = {
        "model": name, "step": step, "logprob": "the model's own at temperature 1, end token included",
        "mtjax": mtjax.__version__, "jax": jax.__version__, "device": jax.devices()[0].device_kind,
    }  # fmt: skip
    return Policy(draw, {"decode": plain(sampling), **depends}, about)


def from_server(
    name: str,
    config: MineConfig,
    problems: Sequence[Problem],
    sampling: SamplingConfig,
    say: Callable[[str], None],
) -> Policy:
    """A server; its weights are not known, so the name of the model stands for them."""
    chat = config.data.task.is_chat
    server = Server(name, config.server, chat=chat, say=say)
    tokenizer = None if config.tokenizer is None else load_tokenizer(config.tokenizer)
    model = server.settle_model()
    draw = RemotePolicy(
        server=server, problems=problems, sampling=sampling, seed=config.seed,
        prompts=lambda problem: chat_or_text(server.api, config.data.task, problem, tokenizer),
        skip=config.data.on_error == "skip",
    )  # fmt: skip
    policy = {"kind": "server", "model": model, "api": server.api, "tokenizer": config.tokenizer}
    logprob = "what the server lists, summed; whether before or behind the temperature and with the end token, it knows"
    return Policy(
        draw, {"policy": policy, "decode": plain(sampling)}, {"model": model, "url": server.base, "logprob": logprob}
    )


def output_folder(name: str, output: str | None, default: str = "mined") -> pathlib.Path:
    """Where results go: `output`, or a folder within the run; InputError for a model that is no run."""
    if output is None and not is_run(name):
        raise InputError(f"{name!r} is no run folder, so say where the results go: --output=FOLDER")
    return pathlib.Path(name).expanduser() / default if output is None else pathlib.Path(output).expanduser()
