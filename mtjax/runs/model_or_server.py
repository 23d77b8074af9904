"""What mining and self-rethinking share: the model or server given as MODEL, the problems, and the results folder."""

import contextlib
import dataclasses
import pathlib
import signal
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import tyro

from mtjax import config as settings
from mtjax.data.problem import Problem
from mtjax.data.sources import SOURCES
from mtjax.data.tasks import TASKS
from mtjax.distributed import hosts
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import ExitCode, InputError, suggest
from mtjax.evaluation.grading import check_gold
from mtjax.io.journal import Journal
from mtjax.io.plain_snapshot import has_snapshot
from mtjax.io.short_help import HELP, HELP_ALL
from mtjax.io.words import as_registered
from mtjax.mistakes.mining import MineConfig
from mtjax.mistakes.rethinking_evaluation import RethinkConfig
from mtjax.mistakes.verbalised import VerbaliseConfig
from mtjax.model import catalog
from mtjax.model.fingerprint import fingerprint_of
from mtjax.runs.loading import Loaded, load_any
from mtjax.sampling.sampler import Sampler
from mtjax.sampling.server import Server

Job = MineConfig | RethinkConfig | VerbaliseConfig
Say = Callable[[str], None]


class Policy(NamedTuple):
    """A model or server that is ready to sample."""

    sampler: Sampler
    prompts: Any  # one per problem, or a function from the text of a prompt to what the sampler takes
    settings: dict[str, Any]  # what its samples depend on, for the manifest
    about: dict[str, Any]  # what else a reader wants to know


def read_problems(config: Job, say: Say) -> tuple[list[Problem], list[str]]:
    """The problems of a job, and the answers to compare with; InputError for a problem without one."""
    found = config.data.source.problems(config.data.on_error)
    problems = list(found.items[: config.limit])
    for note in found.notes:
        say(f"note: {note}")
    return problems, check_gold(problems)


def load_local(
    name: str, config: Job, loaded: Loaded | None, stack: contextlib.ExitStack
) -> tuple[Loaded, dict[str, Any]]:
    """A model on this machine, and what its samples depend on besides how they are drawn, for the manifest.

    On a mesh, which `stack` sets, if there are several devices and the model is not `loaded` already.
    """
    mesh = make_mesh(config.mesh) if jax.device_count() > 1 and loaded is None else None
    if mesh is not None:
        stack.enter_context(jax.set_mesh(mesh))
    loaded = loaded or load_any(
        name, tokenizer=config.tokenizer, mesh=mesh, dtype=config.dtype, step=config.step, weights=config.weights
    )
    policy = {
        "kind": "local", "fingerprint": fingerprint_of(loaded.params), "tokenizer": loaded.tokenizer.fingerprint,
        "end_ids": list(loaded.end_ids), "dtype": str(loaded.model.config.dtype),
    }  # fmt: skip
    return loaded, {"policy": policy, "rows": config.rows, "mesh": None if mesh is None else dict(mesh.shape)}


def connect(name: str, config: Job, say: Say, *, chat: bool) -> tuple[Server, dict[str, Any], dict[str, Any]]:
    """The server at a URL, what its samples depend on, for the manifest, and what else a reader wants to know.

    The weights are not known, so the name of the model stands for them. InputError if the server's model is not clear.
    """
    server = Server(name, config.server, chat=chat, say=say)
    model = server.settle_model()
    policy = {"kind": "server", "model": model, "api": server.api}
    return server, {"policy": policy}, {"model": model, "url": server.base}


def open_results(
    place: pathlib.Path, what: str, config: Job, depends: dict[str, Any], about: dict[str, Any], count: int,
    say: Say, stack: contextlib.ExitStack,
) -> Journal:  # fmt: skip
    """The journal of a job in the file `place`, closed by `stack`; prints how many records are there already."""
    journal = Journal(
        place.parent, place.name, count, depends, about, overwrite=config.overwrite, on_first=hosts.on_first
    )
    stack.callback(journal.close)
    if len(journal):
        say(f"{len(journal):,} of {count:,} {what} are there already")
    return journal


def interrupted(journal: Journal, what: str, by: int, say: Say) -> ExitCode:
    """Say how far a job has come that the signal `by` stopped; its exit code."""
    say(f"stopped with {len(journal):,} of {journal.count:,} {what}; run the same again to go on")
    if by == signal.SIGINT:
        return ExitCode.INTERRUPTED
    return ExitCode.STOPPED if len(journal) else ExitCode.TERMINATED


def is_url(name: str) -> bool:
    """Whether a policy's name is the URL of a server."""
    return name.startswith(("http://", "https://"))


def is_run(name: str) -> bool:
    """Whether a policy's name is the folder of a training run."""
    return has_snapshot(pathlib.Path(name).expanduser())


def read_settings(
    argv: Sequence[str], command: str, kind: Any, from_config: Callable[[settings.Config, str | None], Any]
) -> tuple[str, Any]:
    """The policy's name and the settings of class `kind` of a command, `MODEL [CONFIG] [overrides]`.

    `from_config` makes default settings from a config file (given, or the run's own) and the name of its tokenizer,
    which is None if the run or the server knows its tokenizer. InputError for a word that is not understood, and for no
    source of problems.
    """
    name, trained, rest = name_and_config(argv)
    default: Any = tyro.MISSING_NONPROP
    own = settings.read_run(name) if is_run(name) else None
    if trained is not None:
        default = from_config(trained, None if is_url(name) or is_run(name) else trained.data.tokenizer)
        default = as_trained(default, own or trained)
    rest = as_registered(rest, kind)
    check_choices(rest, has_source=trained is not None)
    marked: Any = tyro.conf.CascadeSubcommandArgs
    found = settings.parse(default, rest, f"python -m mtjax.{command} {name}", marked[kind])
    if own is not None and getattr(found.data, "task", own.data.task) != own.data.task:
        lost = len(own.data.task.prefixes) > 1 and dict(found.data.task.prefixes) != dict(own.data.task.prefixes)
        print(
            f"{'warning' if lost else 'note'}: the prompts are those of the task {found.data.task.name} as given here, "
            f"not as {name} was trained" + (", whose prefix is missing" if lost else "")
        )
    return name, found


def as_trained(default: Any, own: settings.Config) -> Any:
    """The default settings of a command with task and stop texts as in the run that decodes.

    They hold for the problems of another config too, because a run knows no other prompts than those of its training.
    """
    sampling = dataclasses.replace(default.sampling, stop=own.stop)
    if not hasattr(default.data, "task"):
        return dataclasses.replace(default, sampling=sampling)
    return dataclasses.replace(default, sampling=sampling, data=dataclasses.replace(default.data, task=own.data.task))


def name_and_config(argv: Sequence[str]) -> tuple[str, settings.Config | None, list[str]]:
    """The policy's name, the config that is meant (a file, a run folder, or the run's own), and the overrides."""
    name, *rest = argv
    if name.startswith("-"):
        raise InputError(f"{name!r} stands where the model or URL belongs; give it first, then the settings")
    if not is_url(name) and not is_run(name) and not catalog.HUB_ID.fullmatch(name):
        catalog.find_model(name)  # a misspelt name is refused before anything else
    if rest and rest[0].endswith(".py"):
        return name, settings.read_file(rest.pop(0)), rest
    if rest and is_run(rest[0]):
        return name, settings.read_run(rest.pop(0)), rest
    return name, settings.read_run(name) if is_run(name) else None, rest


def check_choices(words: Sequence[str], *, has_source: bool) -> None:
    """Refuse a `data.source:KIND` or `data.task:KIND` that does not exist, and no source at all."""
    named = set()
    for name, registry in (("source", SOURCES), ("task", TASKS)):
        for kind in (word.partition(":")[2] for word in words if word.startswith(f"data.{name}:")):
            named.add(name)
            if registry.resolve(kind) is None:
                near = suggest(kind.removesuffix(f"_{name}"), registry)
                raise InputError(f"data.{name}:{kind} does not exist: {near}")
        if name == "source" and not named and not has_source and not {*HELP, HELP_ALL} & set(words):
            raise InputError(
                "say which problems: give a config file, or data.source:KIND with its settings (known: "
                f"{', '.join(registry)})"
            )
