"""The output of an injection: the records, the manifest with yields and leak, TRL pairs, and the printed tables."""

import dataclasses
import hashlib
import json
import pathlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from mtjax.data.mistake_record import Mistake, read_mistakes, to_lines
from mtjax.io.files import atomic_file, write_text
from mtjax.io.journal import MANIFEST
from mtjax.mistakes.formats import to_trl
from mtjax.mistakes.injection import OUTCOMES, InjectConfig, Yields
from mtjax.mistakes.leakage import LIMIT, Leak, measure, pairs_in
from mtjax.reporting.report import Table, format_table

FILE = "mistakes.jsonl"  # Name of the file of records in its folder.
TRL_FILE = "trl.jsonl"  # Name of the file of preference pairs in TRL's format.


def is_complete(folder: pathlib.Path, manifest: dict[str, Any]) -> bool:
    """Whether the records are there and match the manifest's checksum."""
    path = folder / FILE
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == manifest.get("sha256")


def write_mistakes(
    folder: pathlib.Path, mistakes: Iterable[Mistake], yields: Yields, manifest: dict[str, Any]
) -> dict[str, Any]:
    """Write the records, then the manifest with their number, checksum and yields; returns the new manifest.

    `yields` are counted while the records are made, so they are read after the last record.
    """
    checksum, count = hashlib.sha256(), 0
    with atomic_file(folder / FILE) as temporary, temporary.open("wb") as out:
        for mistake in mistakes:
            line = to_lines([mistake]).encode("utf-8", "replace")
            out.write(line)
            checksum.update(line)
            count += 1
    counts = {name: {key: yields[name][key] for key in OUTCOMES} for name in sorted(yields)}
    kept = {key: value for key, value in manifest.items() if key != "leak"}
    return _write_manifest(folder, kept | {"records": count, "sha256": checksum.hexdigest(), "yields": counts})


def add_leak(folder: pathlib.Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Measure the leak of each kind of pair, to four decimals, and add it to the manifest; returns the new manifest."""
    mistakes = list(read_mistakes(str(folder / FILE)))
    found = {kind: measure(pairs_in(mistakes, kind)) for kind in ("step", "solution")}
    rounded = lambda leaks: {name: [round(x, 4) for x in leak] for name, leak in leaks.items()}
    return _write_manifest(
        folder, manifest | {"leak": {kind: rounded(leaks) for kind, leaks in found.items() if leaks}}
    )


def _write_manifest(folder: pathlib.Path, manifest: dict[str, Any]) -> dict[str, Any]:
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return manifest


def write_trl(folder: pathlib.Path) -> pathlib.Path:
    """Write the records that have a right side as preference pairs in TRL's format; returns the file."""
    path = folder / TRL_FILE
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for mistake in read_mistakes(str(folder / FILE)):
            if mistake.right_step:
                out.write(json.dumps(to_trl(mistake), ensure_ascii=False) + "\n")
    return path


def yield_rows(yields: Yields) -> list[list[str | int]]:
    """The counts as rows `[type, *OUTCOMES]`, with a last row of sums."""
    total = sum(yields.values(), Counter())
    return [[name, *(counts[key] for key in OUTCOMES)] for name, counts in [*yields.items(), ("all", total)]]


def report(manifest: dict[str, Any], settings: InjectConfig) -> str:
    """The yields and the leak as tables."""
    yields = {name: Counter(counts) for name, counts in manifest["yields"].items()}
    caption = "edits by type: made, taken by a filter, refuted (stayed right), not to be judged, proved wrong, kept"
    rows, total = yield_rows(yields), sum(yields.values(), Counter())
    shown = [name for name in OUTCOMES if name in ("made", "refuted", "unproved", "proved", "kept") or total[name]]
    columns = ["type", *(name.replace("_", " ") for name in shown)]
    cells = [[row[0], *(row[1 + OUTCOMES.index(name)] for name in shown)] for row in rows]
    judged = sum(total[verdict] for verdict in ("refuted", "unproved", "proved"))
    share = lambda name, of: f"{total[name] / max(of, 1):.1%}"
    parts = [
        format_table(Table(columns, cells, caption)),
        f"of {judged:,} edits judged {share('refuted', judged)} stayed right, {share('unproved', judged)} could not be "
        f"judged, {share('proved', judged)} were proved wrong; kept: {share('kept', total['made'])} of those made",
    ]
    never = sorted(dataclasses.asdict(settings.shares).keys() - {name for name in yields if yields[name]["kept"]})
    if never and settings.editor == "rules":
        parts.append(f"types that gave none: {', '.join(never)}")
    for kind, leaks in manifest.get("leak", {}).items():
        worst = max(max(leak) for name, leak in leaks.items() if name != "all")
        caption = (
            f"\nleak of the surface, {kind} pairs: share that a logistic regression gets right on unseen problems,\n"
            f"from one text alone and from both; 0.5 is chance; the worst feature reaches {worst:.3f} (limit {LIMIT})"
        )
        rows = [[name, *leak] for name, leak in leaks.items()]
        parts.append(format_table(Table(("feature", *Leak._fields), rows, caption)))
    return "\n".join(parts)
