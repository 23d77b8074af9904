"""Measure self-rethinking: `python -m mtjax.rethink MODEL_OR_URL [CONFIG] --mistakes=FILE [overrides]`.

The model solves problems, is shown kinds of mistakes, is asked whether it made one, and solves again; reported are
accuracy before and after, and calls per question. MODEL_OR_URL is a run folder, a Hugging Face folder, a hub id,
`smollm2`, or the URL of an OpenAI-compatible server. The problems are those of a config file, of the run's own snapshot
(its held-out source), or of `data.source:KIND` overrides.
"""

import contextlib
import itertools
import json
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import tyro

import mtjax
from mtjax import config as settings
from mtjax.data.examples import encode_prompt
from mtjax.distributed.signals import signals
from mtjax.errors import ExitCode, InputError, entry_point
from mtjax.evaluation.grading import check_gold
from mtjax.io.files import write_text
from mtjax.io.hashing import digest
from mtjax.io.journal import Journal
from mtjax.mistakes.mining import plain
from mtjax.mistakes.rethinking_evaluation import RethinkConfig, RethinkData, measure, mistakes_at, think
from mtjax.mistakes.self_rethinking import Generate, mistake_block
from mtjax.reporting.report import Table, format_table
from mtjax.runs.compiled import keep_compiled
from mtjax.runs.loading import Loaded
from mtjax.runs.model_or_server import check_choices, is_run, is_url, load_local, name_and_file
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.remote import in_threads
from mtjax.sampling.replies import Refused
from mtjax.sampling.server import Server
from mtjax.sampling.texts import prompt_text, sample_texts

FILE = "rethinking.jsonl"
"""One line per question: everything that was said, and the verdicts."""

BUCKET = 128  # prompts are padded to 128, 256, 512, ... tokens: few shapes, though every round's prompts differ


class Halt(Exception):
    """A signal came; what is not whole is given up."""


class Thinker(NamedTuple):
    """A model that is ready to be asked.

    Attributes:
        reply: `(prompts, seed, stopped) -> replies`, one each; raises `Halt` when `stopped()`.
        settings: what its replies depend on, for the manifest.
        about: what else a reader wants to know.
    """

    reply: Callable[[list[str], int, Callable[[], Any]], list[str]]
    settings: dict[str, Any]
    about: dict[str, Any]


def run(name: str, config: RethinkConfig, say: Callable[[str], None] = print, loaded: Loaded | None = None) -> ExitCode:
    """Rethink as `config` says with the model called `name`, or with one that is `loaded` already.

    Raises:
        InputError: bad settings, problems without answers, no mistake to show, prompts that are too long.
    """
    # What: the problems and the mistakes to show.
    found = config.data.source.problems(config.data.on_error)
    problems = list(found.items[: config.limit])
    for note in found.notes:
        say(f"note: {note}")
    golds = check_gold(problems)
    asked = {problem.question.strip() for problem in problems}
    records = list(mistakes_at(config.mistakes))
    shown = [record for record in records if record.question.strip() not in asked]
    if len(shown) < len(records):
        say(f"note: {len(records) - len(shown):,} mistakes are not shown, since their questions are asked")
    block = mistake_block(shown, config.block)

    # Who thinks, and where to.
    with contextlib.ExitStack() as stack:
        thinker = from_server(name, config, say) if is_url(name) else from_model(name, config, loaded, stack)
        folder = folder_of(name, config.output, stack)
        depends = {"problems": len(problems), "content": config.data.source.fingerprint(), "block": digest(block)}
        depends |= {
            field: plain(getattr(config, field)) for field in ("k", "unparsable", "wording", "together", "seed")
        }
        about = {**thinker.about, "shown": block, "mtjax": mtjax.__version__, "jax": jax.__version__}
        journal = Journal(
            folder, FILE, len(problems), {**depends, **thinker.settings}, about, overwrite=config.overwrite
        )
        stack.callback(journal.close)
        if len(journal):
            say(f"{len(journal):,} of {len(problems):,} questions are there already")

        # Think, group by group.
        stopped = stack.enter_context(signals())
        try:
            for group in sorted({number // config.together for number in journal.missing()}):
                numbers = range(len(problems))[group * config.together : (group + 1) * config.together]
                generate = in_turn(thinker, config.seed, group, stopped)
                journal.append(think(problems, golds, numbers, block, config, generate))
        except Halt:
            say(f"stopped with {len(journal):,} of {len(problems):,} questions; run the same again to go on")
            return ExitCode.INTERRUPTED if stopped() == signal.SIGINT else ExitCode.DONE
        journal.finish()

        # Say what came of it.
        with journal.file.open(encoding="utf-8") as lines:
            metrics = measure(map(json.loads, lines), level=config.level, seed=config.seed)
        caption = (
            f"{name}: {len(problems)} questions, k = {config.k}, at most {2 + 2 * config.k} calls each; "
            f"{config.level:.0%} bootstrap intervals over questions"
        )
        say(format_table(Table(["metric", "value"], list(metrics.items()), caption)))
        if config.output is not None or is_run(name):
            said = {"model": name, "metrics": {key: interval._asdict() for key, interval in metrics.items()}}
            write_text(folder / "rethinking.json", json.dumps(said, indent=2) + "\n")
            say(f"wrote {folder}/rethinking.json and {FILE}")
    return ExitCode.DONE


def in_turn(thinker: Thinker, seed: int, group: int, stopped: Callable[[], Any]) -> Generate:
    """The thinker's replies for one group of questions; every batch of prompts draws with a seed of its own."""
    count = itertools.count()
    return lambda prompts: thinker.reply(prompts, int(digest(seed, group, next(count))[:7], 16), stopped)


def from_model(name: str, config: RethinkConfig, loaded: Loaded | None, stack: contextlib.ExitStack) -> Thinker:
    """A model on this machine."""
    (model, params, tokenizer, end_ids, step), depends = load_local(name, config, loaded, stack)
    sampling = SamplingConfig(config.temperature, 0, config.top_p, config.max_new_tokens)

    def reply(prompts: list[str], seed: int, stopped: Callable[[], Any]) -> list[str]:
        if stopped():
            raise Halt
        ids = [encode_prompt(tokenizer, prompt_text(tokenizer, prompt, config.raw)) for prompt in prompts]
        longest, room = max(map(len, ids)), model.config.max_length - config.max_new_tokens
        if longest > room:
            raise InputError(
                f"a prompt has {longest} tokens; the model's {model.config.max_length} leave {max(room, 0)} before a "
                f"reply of {config.max_new_tokens}: show fewer or shorter mistakes (block...), or lower max_new_tokens"
            )
        length = max(longest, min(room, BUCKET << ((longest - 1) // BUCKET).bit_length()))
        drawn = sample_texts(
            model, params, tokenizer, ids, sampling, seed, rows=config.rows, end_ids=end_ids, prompt_length=length
        )
        return [samples[0].text for samples in drawn]

    depends["policy"]["raw"] = config.raw
    return Thinker(reply, {"decode": sampling.to_json(), **depends}, {"model": name, "step": step})


def from_server(name: str, config: RethinkConfig, say: Callable[[str], None]) -> Thinker:
    """A server; its weights are not known, so the name of the model stands for them."""
    server = Server(name, config.server, chat=True, say=say)
    model = server.settle_model()
    sampling = SamplingConfig(config.temperature, 0, config.top_p, config.max_new_tokens)

    def reply(prompts: list[str], seed: int, stopped: Callable[[], Any]) -> list[str]:
        ask = lambda place: server.draw(prompts[place], sampling, int(digest(seed, place)[:7], 16))[0].text
        threads = min(config.server.concurrency, len(prompts))
        try:
            found = dict(in_threads(ask, range(len(prompts)), threads, server.transport.stop, stopped))
        except Refused as refused:
            raise InputError(
                f"the server refuses a prompt ({refused}): show fewer or shorter mistakes (block...)"
            ) from refused
        if len(found) < len(prompts):
            raise Halt
        return [found[place] for place in range(len(prompts))]

    policy = {"kind": "server", "model": model, "api": server.api}
    return Thinker(reply, {"policy": policy, "decode": sampling.to_json()}, {"model": model, "url": server.base})


def folder_of(name: str, output: str | None, stack: contextlib.ExitStack) -> pathlib.Path:
    """Where results go: `output`, `rethink` in the run folder, or a folder that is gone when `stack` ends."""
    if output is not None:
        return pathlib.Path(output).expanduser()
    if is_run(name):
        return pathlib.Path(name).expanduser() / "rethink"
    return pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))


def read_settings(argv: Sequence[str]) -> tuple[str, RethinkConfig]:
    """The model's name and the settings, from the command line; InputError for what it does not understand."""
    name, file, rest = name_and_file(argv)
    default: Any = tyro.MISSING_NONPROP
    if file is not None:
        trained = settings.read_file(file)
        source = trained.data.source if trained.held_out is None else trained.held_out.source
        tokenizer = None if is_url(name) or is_run(name) else trained.data.tokenizer
        data = RethinkData(source=source, on_error=trained.data.on_error)
        default = RethinkConfig(data=data, tokenizer=tokenizer)
    check_choices(rest, has_source=file is not None)
    kind = tyro.conf.CascadeSubcommandArgs[RethinkConfig]
    return name, settings.parse(default, rest, f"python -m mtjax.rethink {name}", kind)


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        usage = "usage: python -m mtjax.rethink MODEL_OR_URL [CONFIG] --mistakes=FILE [overrides]"
        print(f"{usage}\n\n{(__doc__ or '').split(chr(10), 2)[2]}")
        print("`python -m mtjax.rethink MODEL_OR_URL --help` lists every setting with its value.")
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    name, config = read_settings(argv)
    keep_compiled()
    return run(name, config, lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
