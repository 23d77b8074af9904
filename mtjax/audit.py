"""Check data before training: duplicates, contamination, wrong labels and answers, shortcuts, membership, hardness.

SOURCE is a file, folder or pattern of records in any format of docs/data.md, mined solutions, mistake records, a config
file (.py) or a run folder, whose training data are checked (against its held-out data), or source:KIND with its
settings. Writes flagged records with reasons, a repaired copy, and a report; docs/audit.md describes all checks.
"""

import pathlib
import sys

from mtjax.data.sources import SOURCES
from mtjax.errors import ExitCode, InputError
from mtjax.io.command_line import command, split_options
from mtjax.io.journal import settle
from mtjax.mistakes.checks import CHECKS
from mtjax.registry import plain_settings
from mtjax.reporting.report import to_text
from mtjax.runs.audit import FILES, make_report, run_checks, settings_of, write_audit
from mtjax.runs.audit_data import Copied, control_flags, fields_of, write_copy
from mtjax.runs.audit_settings import AuditConfig, open_data, subject_of
from mtjax.runs.start import is_run


@command("SOURCE [--checks ...] [options]", options=AuditConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    name = words[0]
    wanted, rest = split_options(AuditConfig, words[1:], "python -m mtjax.audit SOURCE")
    chosen = wanted.checks or [name for name, check in CHECKS.items() if check.by_default]
    checks = {key: getattr(wanted, key) for key in chosen if CHECKS.find(key)}
    data, other, model = open_data(name, rest, wanted, fields_of(wanted.truth, wanted.dates))
    uses_model = any("score" in check.needs for check in checks.values()) or wanted.model is not None
    try:
        count = sum(1 for _ in data.rows())
    except InputError as error:  # the readers call the settings by their names in a training config
        raise InputError(str(error).replace("--data.source.", "--").replace("data.on_error", "--on_error")) from error
    subject = subject_of(data, other, model if uses_model else None, wanted)

    folder = pathlib.Path(wanted.output or (f"{name}/audit" if is_run(name) else "audit")).expanduser()
    given = plain_settings(wanted) | {"data": data.source.fingerprint(), "checks": settings_of(checks)}
    left_out = {"output", "overwrite", *CHECKS}
    depends = {key: value for key, value in given.items() if key not in left_out}
    folder.mkdir(parents=True, exist_ok=True)
    files = (*FILES, *(f"{key}.jsonl" for key in CHECKS))
    settle(folder, files, depends, {"source": name, "problems": count}, wanted.overwrite)

    outcome = run_checks(checks, subject)
    copies: dict[str, Copied] = {}
    if wanted.fix != "none" and any(flag.fix for flag in outcome.flags):
        sets = {"clean.jsonl": outcome.flags}
        sets |= {"control.jsonl": control_flags(data, outcome.flags, wanted.seed)} if wanted.control else {}
        for file, flags in sets.items():
            if (copied := write_copy(data, flags, wanted.fix, folder / file)) is not None:
                copies[file] = copied
            else:
                print(f"note: no {file}, because nothing would be left in it")
    about = [f"{count:,} problems of `{name}`, read by the source {SOURCES.name_of(data.source)}."]
    about += [f"Compared with: {wanted.against or 'the held-out data of the config'}."] if other is not None else []
    about += [f"Model: `{model}`."] if uses_model and model else []
    report = make_report(f"Audit of {pathlib.PurePath(name).name}", about, outcome, copies)
    flagged = {flag.number for flag in outcome.flags}
    where = {number: problem.where for number, problem in enumerate(data.problems()) if number in flagged}
    write_audit(folder, report, outcome, where)
    print(to_text(report), end="")
    print(f"\nwrote {folder}/flags.jsonl, report.md, report.html" + "".join(f", {file}" for file in copies))
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
