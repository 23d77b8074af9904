"""Commands and their settings: tyro reads the words; what it does not understand gets an answer of one line."""

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import re
import sys
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tyro

from mtjax.errors import ExitCode, InputError, entry_point, nearest, suggest
from mtjax.io.files import cache_folder
from mtjax.io.validation import check_types
from mtjax.registry import refresh, resolve

Main = Callable[[list[str]], int]
"""A command: from the words behind its name to the exit code."""


def command(usage: str, *, options: type | None = None, before: Callable[[], None] | None = None) -> Callable[..., Any]:
    """Decorator of the `main(words) -> exit code` of a module that is run with `python -m`.

    It prints usage and the module's docstring for no words (exit code 2) and for `--help`, turns exceptions into one
    line and an exit code (`errors.entry_point`), and keeps compiled programs on disk.

    Args:
        usage: what follows the command's name, such as "CONFIG [overrides]".
        options: settings class of options that the command reads besides; the help lists them.
        before: called before anything else, such as a check of the environment.
    """

    def wrap(main: Main) -> Callable[..., int]:
        @entry_point
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            words = list(sys.argv[1:] if argv is None else argv)
            module = sys.modules[main.__module__]
            name = module.__spec__.name if module.__spec__ else main.__module__
            if not words or words[0] in ("-h", "--help"):
                print(f"usage: python -m {name} {usage}\n\n{(module.__doc__ or '').strip()}")
                if options is not None:
                    print()
                    _print_options(options, f"python -m {name} {usage}")
                return ExitCode.DONE if words else ExitCode.BAD_INPUT
            if before is not None:
                before()
            enable_compilation_cache()
            return main(words)

        return run

    return wrap


def _print_options(kind: type, prog: str) -> None:
    """The options of a settings class as tyro explains them."""
    with contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], prog=prog, use_underscores=True, add_help=True)


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
    said = io.StringIO()
    own = dict(_class_names(kind))
    for name, equals, value in (word.removeprefix("--").partition("=") for word in words if word.startswith("--")):
        if equals and isinstance(own.get(name), bool) and value.lower() not in ("true", "false"):
            raise InputError(f"--{name}={value}: a switch takes True or False")
    words = [
        _as_switch(word, own) if word.startswith("--") and word[2:].split("=")[0] in own else word for word in words
    ]
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(action="ignore"):
            found, rest = tyro.cli(kind, args=words, prog=prog, use_underscores=True, return_unknown_args=True)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        answer = _answer(said.getvalue(), words, own)
        raise InputError(answer or f"the options {list(words)} are not understood; --help lists all") from None
    check_types(found)
    return found, list(rest)


def parse(default: Any, overrides: Sequence[str], prog: str, kind: Any = None) -> Any:
    """`default` with overrides such as `--optim.learning_rate=1e-3` and choices such as `objective:nll`, in any order.

    Args:
        default: a dataclass, or tyro's mark that there is none.
        overrides: the words; of a repeated setting the last counts. A switch is `--name`, `--no_name` or `--name=True`.
        prog: what the help text calls the command.
        kind: the type, with tyro's marks; None is the default's own.

    Raises:
        InputError: a word that is not understood, with the nearest known one, or a value of a wrong type.
    """
    names: dict[str, Any] = {}
    for settings in {type(default), *_dataclasses_of(kind)}:
        if dataclasses.is_dataclass(settings):
            refresh(settings)
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        check_types(default)
        names = dict(_names(default))
        marked: Any = tyro.conf.CascadeSubcommandArgs
        kind = marked[type(default)] if kind is None else kind
    else:
        names = dict(_class_names(kind))

    given = [_as_switch(word, names) for word in overrides]
    given = [_as_choice(word, names) for word in given]
    # tyro wants a choice before the settings of what was chosen.
    chosen = [
        word for word in given if re.fullmatch(r"[a-z][\w.]*:[\w-]*", word) and _is_part(word.split(":")[0], names)
    ]
    given = chosen + [word for word in given if word not in chosen]
    last = {word.split("=")[0]: word for word in given}
    given = [word for word in given if not re.match(r"--.*=", word) or last[word.split("=")[0]] is word]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(action="ignore"):
            return tyro.cli(kind, default=default, args=given, prog=prog, use_underscores=True)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        answer = _answer(said.getvalue(), given, names)
        if not answer and chosen and chosen != given:
            parse(default, chosen, prog, kind)  # a misspelt choice is answered best without the settings behind it
        raise InputError(answer or f"the options {given} are not understood; --help lists all") from None


def _as_switch(word: str, names: dict[str, Any]) -> str:
    """A switch as tyro reads it: `--overwrite=True` becomes `--overwrite`, `--data.leak=False` `--data.no_leak`."""
    found = re.fullmatch(r"--((?:\w+\.)*)(\w+)=((?i:true|false))", word)
    if not found or not isinstance(names.get(found[1] + found[2], True), bool):
        return word
    return f"--{found[1]}{'no_' if found[3].lower() == 'false' else ''}{found[2]}"


def _as_choice(word: str, names: dict[str, Any]) -> str:
    """A choice with its registered name: `data.task:chat-task` and `--data.task=chat` become `data.task:chat`."""
    found = re.fullmatch(r"--([a-z][\w.]*)=([A-Za-z][\w-]*)", word)
    chosen = found and names.get(found[1])
    if found and (found[1] not in names or dataclasses.is_dataclass(chosen)) and _is_part(found[1], names):
        word = f"{found[1]}:{found[2]}"
    part, colon, choice = word.partition(":")
    return f"{part}:{resolve(choice)}" if colon and re.fullmatch(r"[a-z][\w.]*:[\w-]*", word) else word


def _dataclasses_of(kind: Any) -> Iterator[type]:
    """The settings class in a type with tyro's marks."""
    return (
        part for part in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(part) and isinstance(part, type)
    )


def output_file(option: str, path: str | None) -> pathlib.Path | None:
    """Where a command will write, looked at before it works for long; None if it was not asked to.

    Raises:
        InputError: the folder is missing, or the path is a folder.
    """
    if not path:
        return None
    file = pathlib.Path(path)
    if not file.absolute().parent.is_dir():
        raise InputError(f"{option}={path}: {file.parent} is no folder; make it first")
    if file.is_dir():
        raise InputError(f"{option}={path} is a folder; expected a file, such as {file / 'report'}")
    return file


def _is_part(choice: str, names: dict[str, Any]) -> bool:
    """Whether `choice`, as in `objective:nll`, is of a part that has settings, or would have if it were chosen."""
    name = choice.split(":")[0]
    return name in names or any(other.startswith(f"{name}.") for other in names)


def _names(settings: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of each setting in a tree of dataclasses."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type) and dataclasses.fields(value):
            yield from _names(value, before if _is_embedded(field) else f"{before}{field.name}.")
        else:  # a dataclass without fields is a choice without settings
            yield before + field.name, value


def _is_embedded(field: dataclasses.Field) -> bool:
    """Whether the options of a part have no prefix: its field is annotated with `tyro.conf.arg(name="")`."""
    return any(getattr(mark, "name", None) == "" for mark in getattr(field.type, "__metadata__", ()))


def _class_names(kind: Any) -> Iterator[tuple[str, Any]]:
    """As `_names`, of a class without an instance, perhaps inside tyro's marks; what must be given is left out."""
    settings = next((part for part in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(part)), None)
    for field in dataclasses.fields(settings) if settings else ():
        made = field.default_factory
        value = field.default if made is dataclasses.MISSING else made()
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _names(value, "" if _is_embedded(field) else f"{field.name}.")
        elif value is not dataclasses.MISSING:
            yield field.name, value


def _answer(said: str, given: Sequence[str], names: dict[str, Any]) -> str:
    """One plain sentence from what tyro prints in boxes."""
    lines = [line.strip("│╭╮╰╯─ \n") for line in said.splitlines()]
    text = " ".join(line for line in lines if line and not set(line) <= set("─- "))
    # What the user can use begins behind tyro's headline and ends before its pointer to the help text.
    text = re.split(r" Argument helptext:| For full helptext,", re.sub(r"\s+", " ", text))[0]
    unknown = re.match(
        r"Unrecognized options Unrecognized options: (.*?)( Available subcommands:| Perhaps you|$)", text
    )
    if unknown:
        listed = re.search(r"Available subcommands: ([\w.:, ]*?)(?= Perhaps| Arguments similar|$)", text)
        near = re.search(
            r"(?:Perhaps you meant|Arguments similar to [^:]*(?:=\S*)?): (--.*?)(?= Arguments similar|$)", text
        )
        choices = listed[1].split(", ") if listed else []
        return _unknown(unknown[1].split(", ")[0], near[1] if near else "", choices, given, names)
    text = re.sub(r"^(Value error |Invalid choice |Missing argument )?(Error parsing [A-Za-z][\w.]*: )?", "", text)
    text = re.sub(r"invalid literal for int\(\) with base 10: ('.*?')", r"\1 is not a whole number", text)
    text = re.sub(r"could not convert string to float: ('.*?')", r"\1 is not a number", text)
    text = re.sub(r"no type matching (\S+) could be instantiated from \[(.*?)\]\. Got errors:.*", r"\2 is not \1", text)
    missing = re.match(r"Missing value for argument '(--[\w.]+)'", text)
    if missing:
        return f"{missing[1]} needs a value: {missing[1]}=..."
    choice = re.match(r"invalid choice '(.*?)' for argument '(--[\w.]+)'\. Expected one of \((.*?),?\)", text)
    if choice:
        known = re.findall(r"'(.*?)'", choice[3])
        return f"{choice[2]}={choice[1]}: {suggest(choice[1], known)}"
    parsing = re.match(r"Error parsing --([\w.]+): (.*)", text)
    if parsing:
        instead = f"; it is {names[parsing[1]]!r} without this option" if parsing[1] in names else ""
        return f"--{parsing[1]}: {parsing[2]}{instead}"
    return text


def _unknown(word: str, near: str, choices: Sequence[str], given: Sequence[str], names: dict[str, Any]) -> str:
    """What to say of a word that tyro does not know; `near` is its own suggestion, `choices` what could be chosen."""
    name, _, value = word.partition("=")
    part = name.lstrip("-").replace("-", "_")
    of_part = [choice.partition(":")[2] for choice in choices if choice.startswith(part.partition(":")[0] + ":")]
    if not name.startswith("-") and ":" in name:
        part, _, choice = part.partition(":")
        if of_part:
            return f"unknown {part} '{choice}'; {suggest(choice, of_part)}"
        if sum(other.startswith(f"{part}:") for other in given) > 1:
            return f"'{word}': {part} is chosen already; say it once"
        if not _is_part(part, names):
            parts = {other[: dot.start()] for other in names for dot in re.finditer(r"\.", other)}
            like = next((other for other in sorted(parts) if other.endswith(f".{part}")), nearest(part, parts))
            return f"'{word}': nothing named {part} can be chosen" + (
                f"; did you mean {like}:{choice}?" if like else "; --help lists all"
            )
        return "" if len(given) > 1 else f"'{word}' is no choice; {suggest(word, choices)}"
    if not name.startswith("-"):
        switches = [other for other in given if other.endswith(f"={word}")]
        of_switch = lambda other: isinstance(names.get(other[2:].partition("=")[0]), bool)
        switch = next(filter(of_switch, switches), switches[0] if switches else None)
        if switch:
            return f"{switch}: a switch takes True or False"
        return f"'{word}' is no setting: they are --name=value, or a choice such as objective:nll, or leave it out"
    if ":" in part and _is_part(part, names):
        return f"{name} is chosen by a word without dashes: {part}"
    if of_part:
        return f"{name} is chosen by a word without dashes, such as {part}:{value if value in of_part else of_part[0]}"
    if near.split(" ")[0].split(",")[0] == name:
        of = re.search(r" in .*?((?:[\w.]+:\w+ )+)--help", near)
        return (
            f"{name} is a setting of another choice{f', {of[1].strip()}' if of else ''}: choose that, or leave it out"
        )
    if not near:
        like = nearest(part, names)
        return f"unknown setting {name}; {f'did you mean --{like}?' if like else '--help lists all'}"
    return f"unknown setting {name}. Perhaps you meant: {re.sub(r' in [^-]*--help$| in python.*$', '', near)}"
