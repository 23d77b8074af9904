"""Make mistakes out of right solutions: `python -m mtjax.inject source:KIND [--source.path=...] [settings]`.

One wrong step per problem, of a known type, proved wrong, in FOLDER/mistakes.jsonl, with a manifest that says from what
and how; run again after a kill, it ends with the same files.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tyro

from mtjax import __version__, config
from mtjax.data.mistake_record import Mistake, read_mistakes, to_lines
from mtjax.data.problem import Problem
from mtjax.data.sources import SOURCES
from mtjax.errors import ExitCode, InputError, entry_point, suggest
from mtjax.io.files import write_text
from mtjax.io.journal import MANIFEST, Journal, locked, settle
from mtjax.mistakes.inject_config import InjectConfig
from mtjax.mistakes.injection import OUTCOMES, Yields, inject, usable_solutions, yield_rows
from mtjax.mistakes.leakage import LIMIT, Leak, measure, pairs_in
from mtjax.mistakes.self_edit import PREFILL, Generate, plain_chat, self_edit
from mtjax.mistakes.self_edited import mistakes_of, requests_of
from mtjax.reporting.report import Table, format_table
from mtjax.runs.compiled import keep_compiled

FILE = "mistakes.jsonl"
"""What the records are called in their folder."""


def run(settings: InjectConfig, say: Callable[[str], None] = print, generate: Generate | None = None) -> int:
    """Inject as the settings say; `generate` stands in for the model of self-editing where it is given.

    Raises:
        InputError: bad settings, no right solution, a folder with another injection in it.
    """
    # What: problems with a right solution.
    try:
        found = settings.source.problems(settings.on_error)
    except InputError as error:  # the readers name the setting as a training config has it
        raise InputError(str(error).replace("data.on_error", "--on_error")) from error
    problems = list(found.items[: settings.limit])
    for note in found.notes:
        say(f"note: {note}")
    without = sum(not usable_solutions(problem) for problem in problems)
    if without == len(problems):
        raise InputError(f"none of {len(problems)} problems has a right solution to edit: check the source")
    if without:
        say(f"note: {without:,} of {len(problems):,} problems have no right solution to edit")

    # Where to: the folder, and what is there already.
    folder = pathlib.Path(settings.output).expanduser()
    depends = {"content": settings.source.fingerprint(), **settings.decides}
    policy = None
    if settings.editor == "self_edit":
        policy = (generate, {"model": settings.model}, plain_chat) if generate else load_policy(settings)
        depends["policy"] = policy[1]
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, locked(folder))
        about = {"mtjax": __version__, "problems": len(problems)}
        manifest = settle(folder, (FILE,), depends, about, settings.overwrite)

        # Edit, judge, write.
        if not finished(folder, manifest):
            yields: Yields = {}
            if policy is None:
                mistakes = inject(problems, settings.rules, yields)
            else:
                mistakes = self_edits(settings, problems, folder / "self_edits", depends, policy, yields, say)
            manifest |= save(folder / FILE, mistakes)
            manifest["yields"] = {name: {key: yields[name][key] for key in OUTCOMES} for name in sorted(yields)}
            manifest.pop("leak", None)
            write_text(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        if settings.leak and "leak" not in manifest:
            manifest["leak"] = leaks(folder / FILE)
            write_text(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")

    # Say what came of it.
    say(report(manifest, settings))
    say(f"{manifest['records']:,} mistakes of {len(problems):,} problems in {folder / FILE}")
    return ExitCode.DONE


def finished(folder: pathlib.Path, manifest: dict[str, Any]) -> bool:
    """Whether the records are there as the manifest says."""
    path = folder / FILE
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == manifest.get("sha256")


def save(path: pathlib.Path, mistakes: Iterable[Mistake]) -> dict[str, Any]:
    """Write records to a neighbour that is renamed when it is whole; how many there are, and their sha256."""
    neighbour, made, count = path.with_name(path.name + ".writing"), hashlib.sha256(), 0
    with neighbour.open("wb") as out:
        for mistake in mistakes:
            line = to_lines([mistake]).encode("utf-8", "replace")
            out.write(line)
            made.update(line)
            count += 1
    neighbour.replace(path)
    return {"records": count, "sha256": made.hexdigest()}


def leaks(path: pathlib.Path) -> dict[str, dict[str, list[float]]]:
    """What the surface tells, per kind of pair: `{kind: {feature: [alone, paired]}}`, to four decimals."""
    mistakes = list(read_mistakes(str(path)))
    found = {kind: measure(pairs_in(mistakes, kind)) for kind in ("step", "solution")}
    return {k: {name: [round(x, 4) for x in leak] for name, leak in told.items()} for k, told in found.items() if told}


def report(manifest: dict[str, Any], settings: InjectConfig) -> str:
    """The yields and the leak as tables."""
    yields = {name: Counter(counts) for name, counts in manifest["yields"].items()}
    caption = "edits by type: made, taken by a filter, refuted (stayed right), not to be judged, proved wrong, kept"
    rows = yield_rows(yields)
    always = ("made", "refuted", "unproved", "proved", "kept")
    shown = [k for k, name in enumerate(OUTCOMES, 1) if name in always or rows[-1][k]]
    columns = ["type", *(OUTCOMES[k - 1].replace("_", " ") for k in shown)]
    parts = [format_table(Table(columns, [[row[0], *(row[k] for k in shown)] for row in rows], caption))]
    total = sum(yields.values(), Counter())
    judged = sum(total[verdict] for verdict in ("refuted", "unproved", "proved"))
    share = lambda name, of: f"{total[name] / max(of, 1):.1%}"
    parts.append(
        f"of {judged:,} edits judged {share('refuted', judged)} stayed right, {share('unproved', judged)} could not be "
        f"judged, {share('proved', judged)} were proved wrong; kept: {share('kept', total['made'])} of those made"
    )
    never = sorted(dataclasses.asdict(settings.shares).keys() - {name for name in yields if yields[name]["kept"]})
    if never and settings.editor == "rules":
        parts.append(f"types that gave none: {', '.join(never)}")
    for kind, told in manifest.get("leak", {}).items():
        worst = max(max(leak) for name, leak in told.items() if name != "all")
        caption = (
            f"\nleak of the surface, {kind} pairs: what a logistic regression tells right on unseen problems,\n"
            f"from one text alone and from both; 0.5 is chance; the worst feature reaches {worst:.3f} (limit {LIMIT})"
        )
        rows = [[name, *leak] for name, leak in told.items()]
        parts.append(format_table(Table(("feature", *Leak._fields), rows, caption)))
    return "\n".join(parts)


def self_edits(
    settings: InjectConfig, problems: Sequence[Problem], folder: pathlib.Path, depends: dict[str, Any], policy: Any,
    yields: Yields, say: Callable[[str], None],
) -> Iterator[Mistake]:  # fmt: skip
    """Ask the model about every problem, chunk by chunk, each kept on disk; then the mistakes."""
    generate, about, render = policy
    asked = [requests_of(problem, settings.seed, settings.steps_per_problem) for problem in problems]
    journal = Journal(folder, "edits.jsonl", len(problems), depends, {}, overwrite=settings.overwrite)
    try:
        missing = set(journal.missing())
        if missing and len(missing) < len(problems):
            say(f"{len(problems) - len(missing):,} of {len(problems):,} problems are there already")
        for begin_at in range(0, len(problems), settings.chunk):
            numbers = range(begin_at, min(begin_at + settings.chunk, len(problems)))
            if not missing & set(numbers):
                continue
            # A chunk is decoded as a whole again: in another batch the same prompt may round otherwise.
            texts = iter(self_edit([one.request for n in numbers for one in asked[n]], generate, render))
            edits = {n: [next(texts) for _ in asked[n]] for n in numbers}
            journal.append((n, {"schema": 1, "number": n, "edits": edits[n]}) for n in numbers)
        journal.finish()
        with journal.file.open(encoding="utf-8") as lines:
            known = {"model": about.get("fingerprint", about["model"]), "decode": about.get("decode", {})}
            for problem, one, line in zip(problems, asked, lines, strict=True):
                yield from mistakes_of(problem, one, json.loads(line)["edits"], settings.rules, yields, known)
    finally:
        journal.close()


def load_policy(settings: InjectConfig) -> tuple[Generate, dict[str, Any], Callable[[str, str], str]]:
    """The model of self-editing: its greedy decoding, what the edits depend on, and how a request is rendered."""
    from mtjax.data.problem import Message
    from mtjax.runs.loading import load_any
    from mtjax.sampling.config import SamplingConfig
    from mtjax.sampling.texts import sample_texts
    from mtjax.training.reference import fingerprint_of

    keep_compiled()
    name = settings.model or ""
    loaded = load_any(name, tokenizer=settings.tokenizer, dtype=settings.dtype, step=settings.step)
    model, params, tokenizer, end_ids = loaded[:4]
    # The prompt's own fences stand in front of the answer, so the first one behind it closes the edit.
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=settings.max_new_tokens, stop=("```",))

    def generate(prompts: list[str]) -> list[str]:
        if not prompts:
            return []
        drawn = sample_texts(model, params, tokenizer, prompts, sampling, 0, rows=settings.rows, end_ids=end_ids)
        return [tokenizer.decode(list(samples[0].tokens)) for samples in drawn]

    def render(user: str, prefill: str) -> str:
        if tokenizer.chat_template is None:
            return plain_chat(user, prefill)
        return tokenizer.render_chat((Message(role="user", content=user),), True) + prefill

    decode = {"temperature": 0.0, "max_new_tokens": settings.max_new_tokens, "prefill": PREFILL}
    about = {"model": name, "fingerprint": fingerprint_of(params), "tokenizer": tokenizer.fingerprint}
    return generate, {**about, "decode": decode}, render


def read_settings(argv: Sequence[str]) -> InjectConfig:
    """The settings of a command line; InputError for what it does not understand."""
    given = [word for word in argv if word.startswith("source:")]
    if not given and not {"-h", "--help"} & set(argv):
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
    return run(read_settings(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
