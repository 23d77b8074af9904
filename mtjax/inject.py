"""Make mistakes from right solutions: `python -m mtjax.inject source:KIND [--source.path=...] [settings]`.

Plants one error of a known type in each problem, proves that it is one, and writes FOLDER/mistakes.jsonl with a
manifest of the settings and counts. The same command after a crash ends with the same files.
"""

import contextlib
import pathlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from mtjax import __version__, config
from mtjax.data.sources import SOURCES
from mtjax.errors import ExitCode, InputError, entry_point, suggest
from mtjax.io.command_line import enable_compilation_cache
from mtjax.io.journal import settle
from mtjax.io.lock import locked
from mtjax.io.progress import take_switches
from mtjax.io.short_help import HELP, HELP_ALL
from mtjax.io.words import as_registered
from mtjax.mistakes.injected_files import (
    FILE,
    add_leak,
    is_complete,
    nothing_made,
    report,
    write_mistakes,
    write_trl,
)
from mtjax.mistakes.injection import InjectConfig, Yields, inject, solvable
from mtjax.mistakes.self_edit import Editor, Generate, edit_problems, local_editor
from mtjax.validation import check_types


def run(settings: InjectConfig, log: Callable[[str], None] = print, generate: Generate | None = None) -> int:
    """Inject as the settings say; `generate` replaces the model of self-editing in tests.

    Raises:
        InputError: bad settings, no right solution, no mistake made, or a folder that holds another injection.
    """
    check_types(settings)

    # Problems with a right solution.
    try:
        found = settings.source.problems(settings.on_error)
    except InputError as error:  # the readers call the setting by its name in a training config
        raise InputError(str(error).replace("data.on_error", "--on_error")) from error
    problems = list(found.items[: settings.limit])
    for note in (*found.notes, *solvable(problems)):
        log(f"note: {note}")

    # The folder, and what it holds already.
    folder = pathlib.Path(settings.output).expanduser()
    depends = {"content": settings.source.fingerprint(), **settings.decides}
    editor = None
    if settings.editor == "self_edit":
        editor = Editor(generate, {"model": settings.model}) if generate else load_editor(settings)
        depends["policy"] = editor.about
    with contextlib.ExitStack() as stack:
        if not folder.exists():  # a folder without a file is not left behind
            stack.callback(remove_if_empty, folder)
        stack.enter_context(locked(folder))
        about = {"mtjax": __version__, "problems": len(problems)}
        manifest = settle(folder, (FILE,), depends, about, settings.overwrite)

        # Edit, verify, write.
        if not is_complete(folder, manifest):
            yields: Yields = {}
            if editor is None:
                mistakes = inject(problems, settings, yields)
            else:
                mistakes = edit_problems(settings, problems, folder / "self_edits", depends, editor, yields, log)
            manifest = write_mistakes(folder, mistakes, yields, manifest)
        if not manifest["records"]:  # made by an earlier version
            raise InputError(nothing_made({name: Counter(counts) for name, counts in manifest["yields"].items()}))
        if settings.leak and "leak" not in manifest:
            manifest = add_leak(folder, manifest)
        trl = write_trl(folder) if settings.format == "trl" else None

    # Report.
    log(report(manifest, settings))
    log(f"{manifest['records']:,} mistakes of {len(problems):,} problems in {folder / FILE}")
    if trl:
        log(f"preference pairs in TRL's format in {trl}")
    return ExitCode.DONE


def remove_if_empty(folder: pathlib.Path) -> None:
    """Remove a folder that holds nothing, if it is there."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def load_editor(settings: InjectConfig) -> Editor:
    """The model of self-editing."""
    from mtjax.model.fingerprint import fingerprint_of
    from mtjax.runs.loading import load_any

    enable_compilation_cache()
    name = settings.model or ""
    loaded = load_any(
        name, tokenizer=settings.tokenizer, dtype=settings.dtype, step=settings.step, weights=settings.weights
    )
    return local_editor(loaded, fingerprint_of(loaded[1]), settings)


def read_settings(argv: Sequence[str]) -> InjectConfig:
    """The settings of a command line.

    Raises:
        InputError: a word that is not understood, or a missing source.
    """
    argv = as_registered(argv, InjectConfig)
    given = [word for word in argv if word.startswith("source:")]
    if not given and not {*HELP, HELP_ALL} & set(argv):
        raise InputError(
            f"no source of right solutions: say source:KIND and its settings, such as source:arithmetic "
            f"--source.count=1000 (known: {', '.join(SOURCES)})"
        )
    for word in given:
        name = word.removeprefix("source:").replace("-", "_")
        if SOURCES.resolve(name) is None:
            raise InputError(f"unknown source '{name}'; {suggest(name, SOURCES)}")
    kind: Any = tyro.conf.CascadeSubcommandArgs[InjectConfig]
    return config.parse(tyro.MISSING_NONPROP, argv, "python -m mtjax.inject", kind)


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(read_settings(take_switches(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    sys.exit(main())
