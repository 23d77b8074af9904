"""Commands and their settings: tyro reads the words; its errors become one line."""

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
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from mtjax.errors import ExitCode, InputError, entry_point, nearest, suggest
from mtjax.io.files import cache_folder
from mtjax.io.foreign_names import our_choice, our_setting
from mtjax.io.short_help import HELP, HELP_ALL, short_help
from mtjax.io.words import CHOICE, Part, as_registered, as_switch, is_part, names_of, parts_of
from mtjax.registry import refresh
from mtjax.validation import check_types

Main = Callable[[list[str]], int]  # A command: from the words behind its name to the exit code.


def command(usage: str, *, options: type | None = None, before: Callable[[], None] | None = None) -> Callable[..., Any]:
    """Decorator of the `main(words) -> exit code` of a module that is run with `python -m`.

    It prints usage and the module's docstring for no words (exit code 2) and for `--help`, turns exceptions into one
    line and an exit code (`errors.entry_point`), and keeps compiled programs on disk. `usage` follows the command's
    name, such as "CONFIG [overrides]"; the help lists the settings class `options` too; `before` is called first.
    """

    def wrap(main: Main) -> Callable[..., int]:
        @entry_point
        @functools.wraps(main)
        def run(argv: Sequence[str] | None = None) -> int:
            words = list(sys.argv[1:] if argv is None else argv)
            module = sys.modules[main.__module__]
            name = module.__spec__.name if module.__spec__ else main.__module__
            if not words or words[0] in (*HELP, HELP_ALL):
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
    found, rest = _call_tyro(kind, given, own, prog=prog, return_unknown_args=True)
    check_types(found)
    return found, list(rest)


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
        refresh(settings)
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
    found = _call_tyro(kind, given, names, prog=prog, default=default)
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
        raise InputError(f"{option}={path}: {file.parent} is no folder; make it first")
    if file.is_dir():
        raise InputError(f"{option}={path} is a folder; expected a file, such as {file / 'report'}")
    return file


def _call_tyro(kind: Any, given: Sequence[str], names: dict[str, Any], **options: Any) -> Any:
    """The words as settings; InputError instead of what tyro prints."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(action="ignore"):
            return tyro.cli(kind, args=given, use_underscores=True, **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
    answer = _answer(said.getvalue(), given, names)
    chosen = [word for word in given if CHOICE.fullmatch(word)]
    if not answer and chosen and chosen != given:
        _call_tyro(kind, chosen, names, **options)  # a misspelt choice is answered best without the other settings
    raise InputError(answer or f"the options {given} are not understood; --help lists all")


PLAIN = (
    (r"^(Value error |Invalid choice |Missing argument )?(Error parsing [A-Za-z][\w.]*: )?", ""),
    (r"invalid literal for int\(\) with base 10: ('.*?')", r"\1 is not a whole number"),
    (r"could not convert string to float: ('.*?')", r"\1 is not a number"),
    (r"no type matching (\S+) could be instantiated from \[(.*?)\]\. Got errors:.*", r"\2 is not \1"),
    (r"^Required options Missing from .*?: (--[\w.]+)(?: \{?\S+)? (.*?) \(required\).*", r"\1 is missing: \2"),
    (r"^Missing subcommand Expected one of \{(.*?)\}\.?", r"a choice is missing: expected one of \1"),
    (r"^Missing value for argument '(--[\w.]+)'.*", r"\1 needs a value: \1=..."),
)
"""What tyro says, and what it becomes."""


def _answer(said: str, given: Sequence[str], names: dict[str, Any]) -> str:
    """One plain sentence from what tyro prints in boxes."""
    lines = [line.strip("│╭╮╰╯─ \n") for line in said.splitlines()]
    text = re.sub(r"\s+", " ", " ".join(line for line in lines if set(line) - set("─- ")))
    # What the user can use begins after tyro's headline and ends before its pointer to the help text.
    text = re.split(r" Argument helptext:| For full helptext,", text)[0]
    if unknown := re.match(r"Unrecognized options Unrecognized options: (.*?)( Available subc| Perhaps you|$)", text):
        listed = re.search(r"Available subcommands: ([\w.:, ]*?)(?= Perhaps| Arguments similar|$)", text)
        near = re.search(
            r"(?:Perhaps you meant|Arguments similar to [^:]*(?:=\S*)?): (--.*?)(?= Arguments similar|$)", text
        )
        word, choices = unknown[1].split(", ")[0], listed[1].split(", ") if listed else []
        if word.startswith("-"):
            return _unknown_setting(word, near[1] if near else "", choices, names)
        return _unknown_word(word, choices, given, names)
    for pattern, plain in PLAIN:
        text = re.sub(pattern, plain, text)
    if choice := re.match(r"invalid choice '(.*?)' for argument '(--[\w.]+)'\. Expected one of \((.*?),?\)", text):
        known = re.findall(r"'(.*?)'", choice[3])
        return f"{choice[2]}={choice[1]}: {suggest(choice[1], known)}"
    if parsing := re.match(r"Error parsing --([\w.]+): (.*)", text):
        instead = f"; it is {names[parsing[1]]!r} without this option" if parsing[1] in names else ""
        return f"--{parsing[1]}: {parsing[2]}{instead}"
    return text


def _unknown_word(word: str, choices: Sequence[str], given: Sequence[str], names: dict[str, Any]) -> str:
    """The answer to a word without dashes that tyro does not know; `choices` are those that it knows."""
    part, colon, choice = word.replace("-", "_").partition(":")
    if not colon:
        if switch := next((other for other in given if other.endswith(f"={word}")), None):
            return f"{switch}: a switch takes True or False"
        name, equals, value = word.partition("=")
        if equals and is_part(name, names):
            return f"'{word}' is not an option; write " + (f"--{word}" if name in names else f"{name}:{value}")
        return f"'{word}' is not a setting: they are --name=value, or a choice such as objective:nll, or leave it out"
    if of_part := [other.partition(":")[2] for other in choices if other.startswith(f"{part}:")]:
        return f"unknown {part} '{choice}'; {_right_choice(part, word.partition(':')[2], of_part)}"
    if sum(other.startswith(f"{part}:") for other in given) > 1:
        return f"'{word}': {part} is chosen already; say it once"
    if is_part(part, names):
        if len(given) > 1:
            return ""
        inner = sorted(
            {other.removeprefix(f"{part}.").split(".")[0] for other in names if other.startswith(f"{part}.")}
        )
        near = our_setting(part, names.__contains__) or f"--{part}.{nearest(choice, inner) or inner[0]}"
        return f"{part} is a group of settings ({', '.join(inner)}); perhaps you meant {near}"
    parts = {other[: dot.start()] for other in names for dot in re.finditer(r"\.", other)}
    like = next((other for other in sorted(parts) if other.endswith(f".{part}")), nearest(part, parts))
    hint = f"; did you mean {like}:{choice}?" if like else "; --help lists all"
    return f"'{word}': nothing named {part} can be chosen{hint}"


def _right_choice(part: str, value: str, known: Sequence[str]) -> str:
    """The way out for a choice that is not registered: our name for it, the source of a file, or the nearest name."""
    if part.endswith("source") and "jsonl" in known and pathlib.PurePath(value).suffix in (".jsonl", ".json"):
        return f"a file of JSON lines is {part}:jsonl --{part}.path={value}"
    if ours := our_choice(part, value, known):
        return f"here it is {part}:{ours} (known: {', '.join(sorted(known))})"
    return suggest(value, known)


def _unknown_setting(word: str, near: str, choices: Sequence[str], names: dict[str, Any]) -> str:
    """The answer to a word with dashes that tyro does not know; `near` is its own suggestion."""
    name, _, value = word.partition("=")
    part = name.lstrip("-").replace("-", "_")
    if ":" in part and is_part(part.split(":")[0], names):
        return f"{name} is chosen by a word without dashes: {part}"
    if of_part := [other.partition(":")[2] for other in choices if other.startswith(f"{part}:")]:
        if value.lower() in of_part or not value:
            return f"{name} is chosen by a word without dashes: {part}:{value.lower() or of_part[0]}"
        return f"{name}={value}: {_right_choice(part, value, of_part)}"
    if name in near.split(" ")[0].split(",")[0] or f"{name}," in near or f"{name} " in near.split(" in ")[0]:
        of = re.search(r" in .*?((?:[\w.]+:\w+ )+)--help", near)
        name = re.sub(r"\bno_(?=\w+$)", "", name)
        return (
            f"{name} is a setting of another choice{f', {of[1].strip()}' if of else ''}: choose that, or leave it out"
        )
    if ours := our_setting(name, lambda other: other in names or is_part(other, names)):
        return f"unknown setting {name}; here it is {ours}"
    if near:
        near = re.sub(r" in [^-]*--help$| in python.*$", "", near)
        return f"unknown setting {name}. Perhaps you meant: {near}"
    last_words = {other.rpartition(".")[2]: other for other in sorted(names, reverse=True)}
    like = nearest(part, names, 0.7) or last_words.get(nearest(part.rpartition(".")[2], last_words, 0.7) or "")
    return f"unknown setting {name}; {f'did you mean --{like}?' if like else '--help lists all'}"
