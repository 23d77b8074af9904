"""From one format of records to another, with a count of what the other has no place for."""

import collections
import contextlib
import csv
import gzip
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mtjax.data.formats import FORMATS, Format, Reader
from mtjax.data.formats.base import all_pairs, solutions_of
from mtjax.data.problem import Pair, Problem
from mtjax.errors import InputError, suggest
from mtjax.io.containers import read_rows
from mtjax.io.files import atomic_file
from mtjax.io.jsonl import needs_pyarrow
from mtjax.io.progress import track

ALIASES = {"trl": "preference", "openai": "messages", "chat": "messages", "prm": "stepwise", "rewards": "group"}
"""Other names of formats to write."""
TEXTS = ("question", "conversation", "right solution", "wrong solution", "pair")  # Facts whose loss is an error.
TABLES = (".csv", ".parquet")  # Files with one column for each key.
SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", *TABLES)  # Names of files that can be written.


class Converted(NamedTuple):
    """What a conversion came to."""

    records: int  # written
    problems: int  # read
    lost: dict[str, int]  # problems that have something for which there is no place, by what it is


def target(name: str) -> type[Format]:
    """The format to write; InputError for an unknown name."""
    name = ALIASES.get(name, name)
    if name not in FORMATS:
        raise InputError(f"--to={name}: {suggest(name, [*ALIASES, *FORMATS])}")
    return FORMATS[name]


def facts(problem: Problem) -> set[tuple[str, Any]]:
    """All that a problem says, as (what, value), in a form that does not depend on how a format spells it."""
    found: set[tuple[str, Any]] = set()
    said = solutions_of(problem)
    spelt = lambda context: context if isinstance(context, str) else " ".join(map(repr, context))
    for context, text, right, _ in said:
        found.add(("wrong solution" if right is False else "right solution", (spelt(context), text)))
    if not (said or problem.pairs):
        found.add(("conversation" if problem.messages else "question", spelt(problem.messages or problem.question)))
    for pair in all_pairs(problem):
        found.add(("pair", _sides(problem, pair)))
        about: dict[str, Any] = {
            "kind of pair": pair.kind if pair.kind != "full" else "",
            "error type": pair.error_type,
        }
        found |= {(name, value) for name, value in (about | {"scores": pair.scores}).items() if value}
    for one in problem.candidates:
        graded = one.reward is not None and problem.right + problem.wrong == ()
        found |= {("rewards", (one.text, one.reward))} if graded else set()
        found |= {("labels of steps", (one.steps, one.labels))} if one.labels else set()
        drawn = (one.ids, one.logprobs, one.proposal_logprobs)
        found |= {("tokens and log-probabilities", (one.text, drawn))} if any(drawn) else set()
        found |= {("further numbers", (one.text, tuple(sorted(one.numbers.items()))))} if one.numbers else set()
    about = {"answer": problem.answer, "success rate": problem.success_rate, "options": problem.options}
    about |= {"difficulty": problem.difficulty}
    about |= {"source": problem.source, "tools": json.dumps(problem.tools, default=str) if problem.tools else ""}
    return found | {(name, value) for name, value in about.items() if value not in ("", None, ())}


def _sides(problem: Problem, pair: Pair) -> tuple[str, str, str]:
    """Prompt, chosen and rejected of a pair; the right steps so far belong to the prompt, on a line of their own."""
    context = " ".join(map(repr, problem.messages)) if problem.messages else problem.question
    gap = "" if not pair.context or context.endswith("\n") else "\n"
    sides = (pair.chosen_messages or pair.chosen, pair.rejected_messages or pair.rejected)
    return context + gap + pair.context, repr(sides[0]), repr(sides[1])


def write_problem(kind: type[Format], problem: Problem, number: int) -> tuple[list[dict[str, Any]], set[str]]:
    """The records of a problem in a format, and what they do not hold: found by reading them again."""
    records, back = kind().write(problem, number), set()
    for made in records:
        record = dict(made)
        back |= {("difficulty", record.pop("difficulty"))} if "difficulty" in record else set()
        for reader in (kind, *(FORMATS[name] for name in kind.same)):
            with contextlib.suppress(InputError):
                back |= facts(reader().read(dict(record), problem.place, problem.id))
    # Of two complete answers, both of which are there, only that they are a pair may be lost.
    plain = {_sides(problem, pair) for pair in all_pairs(problem) if not (pair.context or pair.chosen_messages)}
    missing = facts(problem) - back
    return records, {"pairing of the two sides" if value in plain else what for what, value in missing}


def holders(problem: Problem, number: int) -> list[str]:
    """The formats that have a place for all texts of a problem."""
    return [name for name, kind in FORMATS.items() if not {*TEXTS} & write_problem(kind, problem, number)[1]]


def convert(problems: Sequence[Problem], out: str, to: str, *, lossy: bool = False) -> Converted:
    """Write problems as records of the format `to` into the file `out`, all of them or none.

    Raises:
        InputError: an unknown format or kind of file, and unless `lossy` a text that the format has no place for.
    """
    kind, lost = target(to), collections.Counter[str]()
    path, count, first = pathlib.Path(out), 0, ""
    if not out.endswith(SUFFIXES):
        raise InputError(f"'{out}': expected a name that ends in {', '.join(SUFFIXES)}")

    def records() -> Iterator[dict[str, Any]]:
        nonlocal count, first
        for number, problem in enumerate(track(problems, "converting")):
            made, missing = write_problem(kind, problem, number)
            lost.update(missing)
            if not first and {*TEXTS} & missing:
                able = holders(problem, number)
                first = f"the first is {problem.place}"
                first += f", which the formats {', '.join(able)} hold" if able else ", which no single format holds"
            count += len(made)
            yield from made

    with atomic_file(path) as temporary:
        if out.endswith(TABLES):
            _write_table(temporary, list(records()), str(FORMATS.name_of(kind)), out)
        else:
            _write(temporary, records(), out)
        texts = [f"{lost[name]:,} with a {name}" for name in TEXTS if lost[name]]
        if texts and not lossy:
            raise InputError(
                f"the format '{FORMATS.name_of(kind)}' has no place for texts of {' and '.join(texts)} of "
                f"{len(problems):,} problems: {first}; choose another --to, or pass --lossy to leave them out"
            )
        if not count:
            raise InputError(
                f"no record of the format '{FORMATS.name_of(kind)}' can be made of these problems: {first}"
            )
    return Converted(count, len(problems), dict(lost))


def _write_table(path: pathlib.Path, rows: list[dict[str, Any]], kind: str, name: str) -> None:
    """Records of a format as rows, with a column for each key of any of them; a key that a record lacks is empty.

    InputError unless the rows are read as the records that they were made from.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if name.endswith(".parquet"):
        needs_pyarrow(name, "a Parquet file")
        import pyarrow
        import pyarrow.parquet

        try:
            columns = {key: pyarrow.array([row.get(key) for row in rows]) for key in keys}
        except pyarrow.ArrowException as error:
            raise InputError(
                f"'{name}': a column has values of several types ({error}); write a .jsonl file"
            ) from error
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    else:
        cell = lambda value: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(keys)
            writer.writerows(["" if row.get(key) is None else cell(row[key]) for key in keys] for row in rows)
    if not rows:
        return
    place = path.with_name(f"{path.name}{pathlib.Path(name).suffix}")
    place.hardlink_to(path)  # the reader knows a table by its name
    try:
        for record, (row, where, id) in zip(rows, read_rows(str(place)), strict=True):
            found: Any = None
            with contextlib.suppress(InputError):
                found = facts(Reader(kind).read(row, where, id))
            if found != facts(Reader(kind).read(record, where, id)):
                raise InputError(f"'{name}': {record!r:.100} reads otherwise as a row of a table; write a .jsonl file")
    finally:
        place.unlink()


def _write(path: pathlib.Path, records: Iterator[dict[str, Any]], name: str) -> None:
    """Records as JSON lines, or as a JSON list, packed where the name says so; equal records give equal bytes."""
    is_list = ".json" in pathlib.Path(name).suffixes
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(path.open("wb"))
        file: Any = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0)) if name.endswith(".gz") else raw
        opening, gap, end = ("[", ",\n", "]\n") if is_list else ("", "\n", "\n")
        for number, record in enumerate(records):
            file.write(((gap if number else opening) + json.dumps(record, ensure_ascii=False)).encode())
        file.write(end.encode())
