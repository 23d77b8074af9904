"""The output of an injection: the records, the manifest with yields and leak, TRL pairs, and the printed tables."""

import dataclasses
import hashlib
import json
import pathlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mtjax.data.mistake_record import Mistake, read_mistakes, to_lines
from mtjax.errors import InputError
from mtjax.io.files import atomic_file, write_text
from mtjax.io.journal import MANIFEST
from mtjax.mistakes.formats import to_trl
from mtjax.mistakes.injection import FATES, OUTCOMES, InjectConfig, Yields
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

    `yields` are counted while the records are made, so they are read after the last record. InputError if there is no
    record; then nothing is written, and the manifest of the unfinished job is deleted.
    """
    checksum, count = hashlib.sha256(), 0
    with atomic_file(folder / FILE) as temporary, temporary.open("wb") as out:
        for mistake in mistakes:
            line = to_lines([mistake]).encode("utf-8", "replace")
            out.write(line)
            checksum.update(line)
            count += 1
        if not count:
            (folder / MANIFEST).unlink(missing_ok=True)
            raise InputError(nothing_made(yields))
    counts = {name: {key: yields[name][key] for key in OUTCOMES} for name in sorted(yields)}
    kept = {key: value for key, value in manifest.items() if key != "leak"}
    return _write_manifest(folder, kept | {"records": count, "sha256": checksum.hexdigest(), "yields": counts})


def nothing_made(yields: Yields) -> str:
    """Why an injection made no mistake, and the way out, in one sentence."""
    total = sum(yields.values(), Counter())
    if not total["made"]:
        return (
            "no mistake was made: the right solutions hold no number, equation or unit that an error type with a share "
            "above 0 could change; use other solutions, or let a model edit them with --editor=self_edit --model=MODEL"
        )
    fates = ", ".join(f"{total[name]:,} {name.replace('_', ' ')}" for name in FATES if total[name])
    ways = {
        "unproved": "arithmetic cannot prove the unproved ones wrong, --keep_unproved keeps them",
        "too_far": "--alpha is too small for those too far away",
        "unparsed": "the model did not close its edit: raise --max_new_tokens, or use another --model",
    }
    way = next((text for name, text in ways.items() if total[name]), "use other solutions or another --seed")
    return f"no mistake was kept of {total['made']:,} edits made ({fates}); {way}"


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
        over = [name for name, leak in leaks.items() if name != "all" and max(leak) > LIMIT]
        caption = (
            f"\nleak of the surface, {kind} pairs: share that a logistic regression gets right on unseen problems,\n"
            f"from one text alone and from both; 0.5 is chance; the worst feature reaches {worst:.3f} (limit {LIMIT})"
        )
        rows = [[name, *leak] for name, leak in leaks.items()]
        parts.append(format_table(Table(("feature", *Leak._fields), rows, caption)))
        if over:
            parts.append(f"warning: {', '.join(over)} of {kind} pairs above {LIMIT}: {_way_out(over, settings)}")
    return "\n".join(parts)


def _way_out(over: Sequence[str], settings: InjectConfig) -> str:
    """What leaking features mean, and what to do about them."""
    way = "raise --proposals, or lower the --shares of the types that shift it"
    if settings.editor != "rules":
        way = "use --editor=rules, which balances its edits"
    elif "equation_check" in over:
        way = "lower --false_equations, or give problems with a numeric answer, by which other errors can be proved"
    return f"a model can learn this instead of the mistakes; {way}"
