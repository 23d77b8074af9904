"""The model or server that a command is given as MODEL: its name, its settings, and loading it."""

import contextlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import tyro

from mtjax import config as settings
from mtjax.data.sources import SOURCES
from mtjax.data.tasks import TASKS
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import InputError, suggest
from mtjax.mistakes.mining import MineConfig
from mtjax.mistakes.rethinking_evaluation import RethinkConfig
from mtjax.model import catalog
from mtjax.runs.loading import Loaded, load_any
from mtjax.sampling.server import Server
from mtjax.training.reference import fingerprint_of


def load_local(
    name: str, config: MineConfig | RethinkConfig, loaded: Loaded | None, stack: contextlib.ExitStack
) -> tuple[Loaded, dict[str, Any]]:
    """A model on this machine, and what its samples depend on besides how they are drawn, for the manifest.

    On a mesh, which `stack` sets, if there are several devices and the model is not `loaded` already.
    """
    mesh = make_mesh(config.mesh) if jax.device_count() > 1 and loaded is None else None
    if mesh is not None:
        stack.enter_context(jax.set_mesh(mesh))
    loaded = loaded or load_any(name, tokenizer=config.tokenizer, mesh=mesh, dtype=config.dtype, step=config.step)
    policy = {
        "kind": "local", "fingerprint": fingerprint_of(loaded.params), "tokenizer": loaded.tokenizer.fingerprint,
        "end_ids": list(loaded.end_ids), "dtype": str(loaded.model.config.dtype),
    }  # fmt: skip
    return loaded, {"policy": policy, "rows": config.rows, "mesh": None if mesh is None else dict(mesh.shape)}


def connect(
    name: str, config: MineConfig | RethinkConfig, say: Callable[[str], None], *, chat: bool
) -> tuple[Server, dict[str, Any], dict[str, Any]]:
    """The server at a URL, what its samples depend on, for the manifest, and what else a reader wants to know.

    The weights are not known, so the name of the model stands for them. InputError if the server's model is not clear.
    """
    server = Server(name, config.server, chat=chat, say=say)
    model = server.settle_model()
    policy = {"kind": "server", "model": model, "api": server.api}
    return server, {"policy": policy}, {"model": model, "url": server.base}


def is_url(name: str) -> bool:
    """Whether a policy's name is the URL of a server."""
    return name.startswith(("http://", "https://"))


def is_run(name: str) -> bool:
    """Whether a policy's name is the folder of a training run."""
    return (pathlib.Path(name).expanduser() / "config.py").is_file()


def read_settings(
    argv: Sequence[str], command: str, kind: Any, from_config: Callable[[settings.Config, str | None], Any]
) -> tuple[str, Any]:
    """The policy's name and the settings of a command, `MODEL [CONFIG] [overrides]`.

    Args:
        argv: the words of the command line.
        command: such as "mine", for the help text.
        kind: the settings class.
        from_config: default settings from a config file (given, or the run's own) and the name of its tokenizer, which
            is None if the run or the server knows its tokenizer.

    Raises:
        InputError: a word that is not understood; no source of problems.
    """
    name, file, rest = name_and_file(argv)
    default: Any = tyro.MISSING_NONPROP
    if file is not None:
        trained = settings.read_file(file)
        default = from_config(trained, None if is_url(name) or is_run(name) else trained.data.tokenizer)
    check_choices(rest, has_source=file is not None)
    marked: Any = tyro.conf.CascadeSubcommandArgs
    return name, settings.parse(default, rest, f"python -m mtjax.{command} {name}", marked[kind])


def name_and_file(argv: Sequence[str]) -> tuple[str, pathlib.Path | None, list[str]]:
    """The policy's name, the config file that is meant (given, or the run's own), and the overrides after them."""
    name, *rest = argv
    if name.startswith("-"):
        raise InputError(f"{name!r} stands where the model or URL belongs; give it first, then the settings")
    if not is_url(name) and not is_run(name) and not catalog.HUB_ID.fullmatch(name):
        catalog.find_model(name)  # a misspelt name is refused before anything else
    if rest and rest[0].endswith(".py"):
        return name, pathlib.Path(rest.pop(0)), rest
    return name, pathlib.Path(name).expanduser() / "config.py" if is_run(name) else None, rest


def check_choices(words: Sequence[str], *, has_source: bool) -> None:
    """Refuse a `data.source:KIND` or `data.task:KIND` that does not exist, and no source at all."""
    named = set()
    for name, registry in (("source", SOURCES), ("task", TASKS)):
        for kind in (word.partition(":")[2] for word in words if word.startswith(f"data.{name}:")):
            named.add(name)
            if registry.resolve(kind) is None:
                near = suggest(kind.removesuffix(f"_{name}"), registry)
                raise InputError(f"data.{name}:{kind} does not exist: {near}")
        if name == "source" and not named and not has_source and not {"-h", "--help"} & set(words):
            raise InputError(
                "say which problems: give a config file, or data.source:KIND with its settings (known: "
                f"{', '.join(registry)})"
            )
