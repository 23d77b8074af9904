"""A mining job from its settings: problems, policy, results folder, and the loop."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import jax

import mtjax
from mtjax.data.mistake_record import to_lines
from mtjax.data.problem import Problem
from mtjax.data.sources.mined import FILE, MinedProblem, read_mined
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.signals import signals
from mtjax.errors import ExitCode, InputError
from mtjax.io.files import write_text
from mtjax.mistakes.formats import mined_mistakes
from mtjax.mistakes.mining import MineConfig, mine, plain, yield_table
from mtjax.reporting.report import format_table
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
from mtjax.sampling.decoding import Decoding, asked
from mtjax.sampling.local import LocalSampler, fit_prompts
from mtjax.sampling.remote import ServerSampler, chat_or_text
from mtjax.sampling.replies import Refused
from mtjax.sampling.search import Independent


def run(name: str, config: MineConfig, say: Say = print, loaded: Loaded | None = None) -> ExitCode:
    """Mine as `config` says with the policy called `name`, or with one that is `loaded` already.

    Of many hosts, all draw and the first one writes.

    Raises:
        InputError: bad settings, problems without answers, a server that refuses, a folder of another job.
    """
    problems, golds = read_problems(config, say)
    if config.output is None and not is_run(name):
        raise InputError(f"{name!r} is not a run folder, so say where the results go: --output=FOLDER")
    folder = pathlib.Path(name) / "mined" if config.output is None else pathlib.Path(config.output)
    folder = folder.expanduser()
    samples = config.sampling.samples
    if samples > 1 and config.sampling.temperature == 0:
        say("note: temperature=0 gives every sample of a problem the same text; --samples=1 says as much")
    with contextlib.ExitStack() as stack:
        if is_url(name):
            if hosts.count() > 1:
                raise InputError("a server is asked by one process: run this command by itself, without the launcher")
            policy = from_server(name, config, problems, say)
        else:
            policy = from_model(name, config, problems, loaded, stack, say)
        depends = {"problems": len(problems), "content": config.data.source.fingerprint(), "data": plain(config.data)}
        depends |= {"seed": config.seed, **policy.settings}
        depends |= {"logprobs": True} if config.logprobs else {}
        depends |= {} if config.search == Independent() else {"search": plain(config.search)}
        about = policy.about
        journal = open_results(folder / FILE, "problems", config, depends, about, len(problems), say, stack)
        for key in {"mtjax", "jax", "device"} & set(about):
            if (was := journal.before.get(key)) != about[key]:
                say(f"note: begun with {key} {was}, resumed with {about[key]}: the bytes may differ")
        stop_asked = stack.enter_context(signals())
        draw = lambda numbers, stopped: config.search(policy.sampler, policy.prompts, config.seed, stopped, numbers)
        if not mine(problems, golds, journal, draw, say, stop_asked):
            return interrupted(journal, "problems", stop_asked(), say)
    if hosts.index() == 0:
        _finished(name, config, journal.file, say)
    return ExitCode.DONE


def _finished(name: str, config: MineConfig, file: pathlib.Path, say: Say) -> None:
    """Say what a finished job came to, and write its records."""
    samples, folder = config.sampling.samples, file.parent
    say(format_table(yield_table(read_mined(str(file)), f"{name}: {samples} samples a problem")))
    if samples > 1 and config.sampling.temperature > 0 and (note := equal_samples(read_mined(str(file)))):
        say(f"note: {note}, though temperature={config.sampling.temperature:g}")
    say(f"wrote {file}")
    if config.overwrite:
        (folder / "mistakes.jsonl").unlink(missing_ok=True)  # of the solutions that were there before
    if config.mistakes:
        write_text(folder / "mistakes.jsonl", to_lines(mined_mistakes(str(file), seed=config.seed)))
        say(f"wrote {folder / 'mistakes.jsonl'}")


def equal_samples(mined: Iterable[MinedProblem]) -> str:
    """Says for how many problems all samples were equal, if for half of those with several that speak; else ""."""
    heard = (one for one in mined if one.drawn > 1 and not any(said.withheld for said in one.solutions))
    several = [len(one.solutions) for one in heard]
    equal = several.count(1)
    return f"all samples were equal for {equal:,} of {len(several):,} problems" if 2 * equal > len(several) else ""


def from_model(
    name: str, config: MineConfig, problems: Sequence[Problem], loaded: Loaded | None, stack: contextlib.ExitStack,
    say: Say,
) -> Policy:  # fmt: skip
    """A model on this machine."""
    (model, params, tokenizer, _, step, *_), depends = load_local(name, config, loaded, stack)
    say(f"note: {Decoding(tokenizer, config.data.task).reads()}")
    prompts = fit_prompts(
        model, tokenizer, problems,
        lambda problem: asked(config.data.task, problem, None, tokenizer, config.sampling),
        config.sampling.max_new_tokens, skip=config.data.on_error == "skip",
    )  # fmt: skip
    sampling = dataclasses.replace(config.sampling, max_new_tokens=prompts.max_new_tokens)
    sampler = LocalSampler(
        model=model, params=params, tokenizer=tokenizer, sampling=sampling, rows=config.rows, by_token=config.logprobs,
    )  # fmt: skip
    about = {
        "model": name, "step": step, "logprob": "the model's own at temperature 1, end token included",
        "mtjax": mtjax.__version__, "jax": jax.__version__, "device": jax.devices()[0].device_kind,
    }  # fmt: skip
    return Policy(sampler, prompts.ids, {"decode": sampling.to_json(), **depends}, about)


def from_server(name: str, config: MineConfig, problems: Sequence[Problem], say: Say) -> Policy:
    """A server."""
    if config.logprobs:
        raise InputError(
            "logprobs=True records the tokens of each sample, which a server does not give; load the model on this "
            "machine, or leave it out"
        )
    server, depends, about = connect(name, config, say, chat=config.data.task.is_chat)
    tokenizer = None if config.tokenizer is None else load_tokenizer(config.tokenizer)

    def refusal(number: int, refused: Refused) -> str:
        if config.data.on_error == "skip":
            return f"refused by the server: {refused}"
        raise InputError(
            f"problem {problems[number].id}: the server refuses it ({refused}); fix it, or set data.on_error=skip"
        ) from refused

    prompts = [chat_or_text(server.api, config.data.task, problem, tokenizer) for problem in problems]
    depends["policy"]["tokenizer"] = config.tokenizer
    logprob = "what the server lists, summed; whether before or after the temperature and with the end token, it knows"
    return Policy(
        ServerSampler(server=server, sampling=config.sampling, refusal=refusal), prompts,
        {**depends, "decode": config.sampling.to_json()}, {**about, "logprob": logprob},
    )  # fmt: skip
