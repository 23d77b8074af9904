"""Commands and their settings: tyro reads the words; its errors become one line."""

import contextlib
import dataclasses
import functools
import gc
import io
import os
import pathlib
import re
import sys
import typing
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from mtjax.errors import ExitCode, InputError, entry_point
from mtjax.io.files import cache_folder
from mtjax.io.progress import take_switches
from mtjax.io.short_help import HELP, HELP_ALL, short_help
from mtjax.io.unknown_words import answer, unknown
from mtjax.io.words import CHOICE, Part, as_registered, as_switch, is_part, names_of, parts_of
from mtjax.registry import annotations_of
from mtjax.validation import check_types

NEGATED = re.compile(r"--(\w+\.)+no_\w+$")  # A switch of a part that is turned off.

Main = Callable[[list[str]], int]  # A command: from the words behind its name to the exit code.


def command(
    usage: str, *, options: type | None = None, before: Callable[[], None] | None = None, needs_words: bool = True,
    within: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Callable[..., Any]:  # fmt: skip
    """Decorator of the `main(words) -> exit code` of a module that is run with `python -m`.

    It prints usage and the module's docstring for `--help` and for no words (exit code 2; not without `needs_words`),
    turns exceptions into one line and an exit code (`errors.entry_point`), and keeps compiled programs on disk. `usage`
    follows the command's name, such as "CONFIG [overrides]"; the help lists the settings class `options` too; `before`
    is called first, and the command runs `within` a context, such as a session of many hosts.
    """

    def wrap(main: Main) -> Callable[..., int]:
        @entry_point
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            words = take_switches(sys.argv[1:] if argv is None else argv)
            module = sys.modules[main.__module__]
            name = module.__spec__.name if module.__spec__ else main.__module__
            if (needs_words and not words) or (words and words[0] in (*HELP, HELP_ALL)):
                print(f"usage: python -m {name} {usage}\n\n{(module.__doc__ or '').strip()}")
                if options is not None:  # as tyro explains them, without its usage line
                    said = io.StringIO()
                    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(said):
                        tyro.cli(options, args=["--help"], use_underscores=True)
                    print("\n" + said.getvalue().split("\n\n", 1)[-1], end="")
                return ExitCode.DONE if words else ExitCode.BAD_INPUT
            if before is not None:
                before()
            enable_compilation_cache()
            if argv is None:
                gc.freeze()  # what has been imported stays: the collector need not go through it again and again
            with within():
                return main(words)

        return run

    return wrap


def enable_compilation_cache() -> None:
    """Keep compiled programs on disk, in mtjax's cache folder unless `JAX_COMPILATION_CACHE_DIR` says otherwise."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "jax"))


def split_options(kind: Any, words: Sequence[str], prog: str) -> tuple[Any, list[str]]:
    """The options of a settings class among the words, in any place, and the words that are left over in their order.

    Raises:
        InputError: an option is missing, or its value is of a wrong type.
    """
    if HELP & set(words):
        print(f"{short_help(kind, prog)}\nThe other words are those of mtjax.train: settings of the config.")
        raise SystemExit(0)
    if HELP_ALL in words:  # then those of the config, by `parse`
        with contextlib.suppress(SystemExit):
            _call_tyro(kind, ["--help"], {}, prog=prog)
    own = dict(names_of(kind))
    name_of = lambda word: word[2:].split("=")[0] if word.startswith("--") else None
    given = [as_switch(word, own) if name_of(word) in own else word for word in words]
    found, rest = _call_tyro(kind, given, own, leave_rest=True, prog=prog)
    check_types(found)
    return found, rest


def parse(default: Any, overrides: Sequence[str], prog: str, kind: Any = None) -> Any:
    """`default` with overrides such as `--optim.learning_rate=1e-3` and choices such as `objective:nll`, in any order.

    Of a repeated setting the last counts. A switch is `--name`, `--no_name` or `--name=True`.

    Args:
        default: a dataclass, or tyro's mark that there is none.
        prog: what the help text calls the command.
        kind: the type, with tyro's marks; None is the default's own.

    Raises:
        InputError: a word that is not understood, with the nearest known one, or a value of a wrong type.
    """
    settings: Any = default
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        check_types(default)
        marked: Any = tyro.conf.CascadeSubcommandArgs
        kind = marked[type(default)] if kind is None else kind
    else:
        settings = next(part for part in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(part))
        annotations_of(settings)  # with what a config file has registered
    cls = settings if isinstance(settings, type) else type(settings)
    names = {**dict.fromkeys(parts_of(cls), Part), **dict(names_of(settings))}
    given = ["--help" if word == HELP_ALL else word for word in as_registered(overrides, cls, names)]
    if HELP & set(overrides):
        print(short_help(settings, prog, {word[1]: word[2] for word in map(CHOICE.fullmatch, given) if word}))
        raise SystemExit(0)
    # tyro wants a choice before the settings of what was chosen.
    chosen = [word for word in given if (found := CHOICE.fullmatch(word)) and is_part(found[1], names)]
    given = chosen + [word for word in given if word not in chosen]
    last = {word.split("=")[0]: word for word in given}
    given = [word for word in given if not re.match(r"--.*=", word) or last[word.split("=")[0]] is word]
    found, _ = _call_tyro(kind, given, names, prog=prog, default=default)
    check_types(found)
    return found


def output_file(option: str, path: str | None) -> pathlib.Path | None:
    """Where a command will write, looked at before it works for long; None if it was not asked to.

    Raises:
        InputError: the folder is missing, or the path is a folder.
    """
    if not path:
        return None
    file = pathlib.Path(path)
    if not file.absolute().parent.is_dir():
        raise InputError(f"{option}={path}: {file.parent} is not a folder; make it first")
    if file.is_dir():
        raise InputError(f"{option}={path} is a folder; expected a file, such as {file / 'report'}")
    return file


def _call_tyro(
    kind: Any, given: Sequence[str], names: dict[str, Any], *, leave_rest: bool = False, **options: Any
) -> tuple[Any, list[str]]:
    """The words as settings, and those that are none if `leave_rest`; InputError instead of what tyro prints.

    tyro would look for words like an unknown one in the comments of all settings, which takes seconds.
    """
    said = io.StringIO()
    # tyro finds the switch of a part that no word chooses by its plain name only, so `--a.b` goes before `--a.no_b`.
    args = [each for word in given for each in ([word.replace(".no_", ".")] if NEGATED.match(word) else []) + [word]]
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(action="ignore"):
            found, rest = tyro.cli(kind, args=args, use_underscores=True, return_unknown_args=True, **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        message = answer(said.getvalue(), given, names, kind)
    else:
        if leave_rest or not rest:
            return found, list(rest)
        message = unknown(rest[0], given, names, kind)
    chosen = [word for word in given if CHOICE.fullmatch(word)]
    if not message and chosen and chosen != given:
        _call_tyro(kind, chosen, names, **options)  # a misspelt choice is answered best without the other settings
    raise InputError(message or f"the options {given} are not understood; --help lists all")
