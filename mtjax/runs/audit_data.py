"""The data of an audit: read again and again, with planted truth and dates, and written as a repaired copy."""

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mtjax.data.conversion import convert
from mtjax.data.problem import OnError, Problem
from mtjax.data.selection.base import KEY
from mtjax.data.sources.base import FileSource
from mtjax.errors import InputError, suggest
from mtjax.io.files import write_text
from mtjax.io.hashing import random_order, unit
from mtjax.io.jsonl import json_of, read_lines
from mtjax.mistakes.checks import CHECKS, Flag, items_of
from mtjax.mistakes.checks.base import RIGHT, WRONG, label_of

Repair = Literal["none", "filter", "flip"]
FORMATS_OF_COPIES = ("solutions", "preference", "messages", "completion", "group")
"""Formats that a copy is written in: the first that has a place for all texts; of pairs, preference before others."""
_PART = re.compile(r"answer|(right|wrong)/\d+|pair/\d+/(chosen|rejected)")  # names of texts; see `Item`


class Row(NamedTuple):
    """One problem, with the record that it was read from."""

    problem: Problem
    record: Any = None  # without the fields that an audit reads; None where problems are not made record by record
    about: Mapping[str, Any] = {}  # these fields


@dataclasses.dataclass(frozen=True)
class AuditData:
    """Data that can be read several times, always in the same order."""

    source: Any  # The source.
    selections: tuple[Any, ...] = ()  # Of a config, applied before.
    on_error: OnError = "raise"  # A record that cannot be read: stop, or skip it.
    limit: int | None = None  # Look at the first problems only.
    fields: tuple[str, ...] = ()  # Fields of the records that are not part of the problem: planted truth, dates.

    @property
    def by_record(self) -> bool:
        """Whether each problem is made of one record of a file, which then can be kept as it is."""
        made_by_record = isinstance(self.source, FileSource) and type(self.source).parse is not FileSource.parse
        return made_by_record and not self.selections

    def rows(self) -> Iterator[Row]:
        """The problems with their records, one by one where the source can."""
        if self.fields and not self.by_record:
            raise InputError(
                f"--truth or --dates names a field, {self.fields[0]!r}, but these data are not made record by record; "
                "give a file of JSON lines with the keys id and truth, or id and date"
            )
        return itertools.islice(self._rows(), self.limit)

    def _rows(self) -> Iterator[Row]:
        if not self.by_record:
            problems: Iterable[Problem] = self.source.problems(self.on_error).items
            for selection in self.selections:
                problems = selection(list(problems), KEY).items
            yield from map(Row, problems)
            return
        last: tuple[Any, dict[str, Any]] = (None, {})

        def without_fields() -> Iterator[tuple[Any, str, str]]:
            nonlocal last
            for record, where, id in self.source.records():
                if not self.fields:
                    last = (record, {})
                    yield record, where, id
                    continue
                plain = json_of(record, where) if isinstance(record, bytes) else record
                taken = dict(plain) if isinstance(plain, dict) else plain
                about = {name: taken.pop(name) for name in self.fields if isinstance(taken, dict) and name in taken}
                last = (taken, about)
                yield taken, where, id

        stream = self.source.stream(self.on_error, rows=without_fields())
        for problem in stream.items:
            yield Row(problem, *last)
        stream.seen.check()

    def problems(self) -> Iterator[Problem]:
        """The problems one by one."""
        return (row.problem for row in self.rows())

    def attribute(self, name: str, key: str) -> dict[int, Any]:
        """A value for each problem by its number: that of the field `name`, or of the file `name` (id and `key`).

        InputError where no problem has one.
        """
        if name in self.fields:
            found = {number: row.about[name] for number, row in enumerate(self.rows()) if name in row.about}
        else:
            values = {}
            for line, text in read_lines(name):
                where = f"{name}:{line}"
                record = json_of(text, where)
                if not isinstance(record, dict) or not {"id", key} <= record.keys():
                    raise InputError(f"{where}: got {record!r:.80}; expected an object with the keys id and {key}")
                values[str(record["id"])] = record[key]
            found = {n: values[problem.id] for n, problem in enumerate(self.problems()) if problem.id in values}
        if not found:
            raise InputError(
                f"no problem has a {key} in {name!r}; {suggest(name, self.fields) if self.fields else 'check its ids'}"
            )
        return found


def fields_of(*names: str) -> tuple[str, ...]:
    """Those of the names that mean a field of the records, not a file."""
    return tuple(dict.fromkeys(name for name in names if name and not pathlib.Path(name).expanduser().is_file()))


def planted(values: Mapping[int, Any]) -> dict[int, frozenset[str]]:
    """Planted truth by number of the problem; see docs/audit.md. A true value is "*", a false one nothing."""
    found = {}
    for number, value in values.items():
        names = (
            [value] if isinstance(value, str) else value if isinstance(value, list) else ["*"] if value is True else []
        )
        if not all(isinstance(name, str) for name in names) or not isinstance(value, str | list | bool | None):
            raise InputError(f"truth {value!r:.60}: expected true, false, or names of checks or texts, such as right/0")
        names = [name for name in names if name]
        for name in names:
            if name not in ("*", *CHECKS) and not _PART.fullmatch(name):
                raise InputError(f"truth {name!r}: {suggest(name, [*CHECKS, 'right/0', 'pair/0/chosen', 'answer'])}")
        if names:
            found[number] = frozenset(names)
    return found


def repaired(problem: Problem, flags: Sequence[Flag], repair: Repair) -> Problem | None:
    """A problem without what is flagged (filter), or with other labels (flip); None if nothing of it is left.

    Flags without a proposed repair change nothing. A flag to drop is a drop in either case. Success rate and candidates
    that no longer hold are left out.
    """
    flags = [flag for flag in flags if flag.fix]
    if repair == "none" or not flags:
        return problem
    if any(not flag.part for flag in flags):
        return None
    answers = [flag for flag in flags if flag.part == "answer"]
    if answers and (repair == "filter" or not answers[0].to):
        return None
    flips = {flag.part for flag in flags if flag.fix == "flip" and repair == "flip"}
    gone = {flag.part for flag in flags} - flips
    sides: dict[str, list[str]] = {RIGHT: [], WRONG: []}
    for side, other in ((RIGHT, WRONG), (WRONG, RIGHT)):
        for n, text in enumerate(getattr(problem, side)):
            part = f"{side}/{n}"
            if part not in gone:
                sides[other if part in flips else side].append(text)
    pairs = []
    for n, pair in enumerate(problem.pairs):
        parts = {f"pair/{n}/chosen", f"pair/{n}/rejected"}
        if parts & flips and not parts & gone:
            pair = dataclasses.replace(
                pair, chosen=pair.rejected, rejected=pair.chosen,
                chosen_messages=pair.rejected_messages, rejected_messages=pair.chosen_messages,
                scores=None if pair.scores is None else pair.scores[::-1],
            )  # fmt: skip
        if not parts & gone:
            pairs.append(pair)
    if not (sides[RIGHT] or sides[WRONG] or pairs or (answers and answers[0].to)):
        return None
    answer, before = (answers[0].to, label_of(problem)) if answers else (problem.answer, "")
    if before:
        sides[RIGHT] = [answer if text.strip() == before else text for text in sides[RIGHT]]
        answer = answer if problem.answer else ""
    about: dict[str, Any] = {"answer": answer, "pairs": tuple(pairs), "candidates": (), "success_rate": None}
    return dataclasses.replace(problem, right=tuple(sides[RIGHT]), wrong=tuple(sides[WRONG]), **about)


def control_flags(data: AuditData, flags: Sequence[Flag], seed: int) -> list[Flag]:
    """As many flags on problems and on texts, drawn at random: what a repair without a check would do."""
    drawn = []
    of_all = [flag for flag in flags if flag.fix and not flag.part]
    of_texts = [flag for flag in flags if flag.fix and flag.part]
    if of_all:
        names = [row.problem.id for row in data.rows()]
        order = random_order(len(names), seed, 1)[: len({flag.number for flag in of_all})]
        drawn += [Flag(n, names[n], "drawn at random", "", None, "drop") for n in sorted(order.tolist())]
    if of_texts:
        rows = enumerate(data.rows())
        kinds = {flag.part == "answer" for flag in of_texts}
        items = [item for n, row in rows for item in items_of(n, row.problem) if (item.part == "answer") in kinds]
        labels = sorted({item.label for item in items})
        order = random_order(len(items), seed, 2)[: len({(flag.number, flag.part) for flag in of_texts})]
        fix: Any = of_texts[0].fix
        for place in sorted(order.tolist()):
            item = items[place]
            others = [label for label in labels if label != item.label] or [item.label]
            to = others[int(unit(seed, place) * len(others))]
            drawn.append(Flag(item.number, item.id, "drawn at random", item.part, None, fix, to))
    return drawn


class Copied(NamedTuple):
    """What a copy came to."""

    problems: int  # in the copy
    dropped: int  # left out
    changed: int  # with fewer texts or other labels
    form: str  # "records", kept byte for byte, or the format that they were written in


def write_copy(data: AuditData, flags: Sequence[Flag], repair: Repair, path: pathlib.Path) -> Copied | None:
    """Write the data with flagged problems and texts repaired.

    Where whole problems are dropped and nothing else, the records of a file stay as they were, byte for byte;
    otherwise all are written in one format. None, and no file, if nothing would be left.
    """
    by_number: dict[int, list[Flag]] = {}
    for flag in flags:
        by_number.setdefault(flag.number, []).append(flag)
    plain, kept, dropped, changed = data.by_record, 0, 0, 0
    for number, row in enumerate(data.rows()):
        made = repaired(row.problem, by_number.get(number, ()), repair)
        dropped, changed = dropped + (made is None), changed + (made is not None and made is not row.problem)
        kept += made is not None
        plain = plain and type(row.record) in (bytes, dict)
    if not kept:
        return None
    if plain and not changed:
        lines = []
        for number, row in enumerate(data.rows()):
            if repaired(row.problem, by_number.get(number, ()), repair) is not None:
                record = row.record
                lines.append(
                    record.decode().strip() if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False)
                )
        write_text(path, "".join(line + "\n" for line in lines))
        return Copied(kept, dropped, changed, "records")
    made_of = (repaired(row.problem, by_number.get(n, ()), repair) for n, row in enumerate(data.rows()))
    problems = [problem for problem in made_of if problem is not None]
    has_pairs = any(problem.pairs for problem in problems)
    for name in (*(["preference"] if has_pairs else []), *FORMATS_OF_COPIES):
        try:
            convert(problems, str(path), name)
            return Copied(kept, dropped, changed, name)
        except InputError as error:
            last = error
    raise InputError(f"no format of a copy has a place for these data ({last}); pass --fix=none")
