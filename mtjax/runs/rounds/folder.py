"""The run folder of rounds: which settings it may be started with again, and what is in it."""

import dataclasses
import json
import pathlib
import shutil
from typing import Any

from mtjax import config as settings
from mtjax.data.tasks.chat import SIGNS
from mtjax.distributed import hosts
from mtjax.errors import InputError
from mtjax.io.config_file import as_kept
from mtjax.io.files import write_text
from mtjax.io.hashing import digest
from mtjax.io.journal import MANIFEST, settle
from mtjax.io.lock import LOCK
from mtjax.runs.folder import check_shared
from mtjax.runs.rounds import attempts, helping, measuring
from mtjax.runs.rounds.config import Rounds
from mtjax.training.checkpoint import folders_of

LINES = "rounds.jsonl"
"""One line for each round, the start being round 0; equal, byte by byte, in a run that was killed and resumed."""

SUMMARY = "rounds.json"
"""Why the run ended, and its last round; there once it has ended."""

TIMES = "times.jsonl"
"""Seconds of each round by phase, as they were: of this machine, and not repeated by another run."""

MAY_CHANGE = (
    *("rounds", "stop", "train.run_dir", "train.overwrite", "train.steps", "train.checkpoint", "train.mesh"),
    *("train.micro_batches", "train.chunk", "train.tensorboard", "train.tracker", "train.log_every"),
    *("train.self_check", "train.min_target_share", "train.accept_changed_data", "train.data.workers"),
    *("train.data.cache_dir", "train.data.cache_gb", "train.data.source", "measure.source"),
    *("curation.teacher.url", "curation.teacher.recorded", "curation.teacher.server"),
    *("serving.url", "serving.folder", "serving.reload", "serving.command", "serving.server"),
)
"""Settings that a resumed run may have otherwise; of sources the content is compared."""

LATER = {
    "measure.metrics": "()",
    "serving": "None",
    "train.data.task.after": "''",
    "train.data.task.failed_calls": "'train'",
    "train.data.task.error_signs": repr(SIGNS),
}
"""Settings that runs of earlier versions did not have, with the value that they stand for."""

WRITTEN = (LINES, TIMES, "metrics.jsonl", MANIFEST, "config.py", "report.html", "report.md", SUMMARY)


def depends_on(config: Rounds) -> dict[str, str]:
    """What the bytes of a run depend on, by dotted name."""
    flat = settings.flatten(as_kept(config))
    kept = {
        name: value if len(value) < 200 else digest(value)
        for name, value in flat.items()
        if not any(name == free or name.startswith(f"{free}.") for free in MAY_CHANGE) and LATER.get(name) != value
    }
    kept["problems content"] = config.train.data.source.fingerprint()
    if config.measure is not None:
        kept["held-out content"] = config.measure.source.fingerprint()
    return kept


def with_schedule(config: Rounds) -> Rounds:
    """The config with the end of its schedule: that of the first start, which raising `rounds` does not stretch."""

    def found() -> int | None:
        file = pathlib.Path(config.train.run_dir) / MANIFEST
        if not file.is_file() or config.train.overwrite:
            return config.train.optim.schedule_steps or config.total_updates
        try:
            end: int | None = json.loads(file.read_text())["about"]["schedule_steps"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{file}' cannot be read ({error!r:.100}); use another run_dir, or overwrite") from error
        return end

    end = hosts.on_first(found)
    optim = dataclasses.replace(config.train.optim, schedule_steps=end)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, optim=optim))


def open_folder(config: Rounds) -> dict[str, str]:
    """Make the run folder ready, or refuse it; returns what its attempts depend on, for their journals.

    Raises:
        InputError: it holds a run of other settings, or a training run; hosts that disagree.
    """
    depends = depends_on(config)
    own = {"rounds": digest(sorted(depends.items()))}
    hosts.agree({"settings and data": own["rounds"], **hosts.device_facts()})
    hosts.on_first(lambda: _begin(config, depends))
    check_shared(config.train)
    return own


def _begin(config: Rounds, depends: dict[str, str]) -> None:
    train, folder = config.train, pathlib.Path(config.train.run_dir)
    held = (folder / "config.py").is_file() or any(place.name not in (LOCK,) for place in folder.iterdir())
    if held and not (folder / MANIFEST).is_file():
        what = "a training run" if (folder / "config.py").is_file() else "other files"
        raise InputError(f"run_dir '{folder}' holds {what}, not rounds; choose another --train.run_dir")
    if train.overwrite:
        kept = folders_of(folder, train.checkpoint.folder)
        own = [folder / part.FOLDER for part in (attempts, helping, measuring)]
        for place in (*own, *kept, kept[0].parent / "references"):
            shutil.rmtree(place, ignore_errors=True)
        for name in WRITTEN:
            (folder / name).unlink(missing_ok=True)
    settle(folder, (LINES,), depends, {"schedule_steps": train.optim.schedule_steps}, False)


def write_settings(config: Rounds) -> None:
    """Keep the settings: config.py is that of the training, so that other commands load the folder as a run."""
    if hosts.index():
        return
    folder = pathlib.Path(config.train.run_dir)
    train = dataclasses.replace(config.train, overwrite=False)
    settings.write_snapshot(folder, train)


def read_lines(folder: pathlib.Path, last: int) -> list[dict[str, Any]]:
    """The lines of the rounds up to `last`."""
    file = folder / LINES
    text = hosts.on_first(lambda: file.read_text(encoding="utf-8") if file.is_file() else "")
    return [line for line in map(json.loads, text.splitlines()) if line["round"] <= last]


def write_lines(folder: pathlib.Path, lines: list[dict[str, Any]]) -> None:
    """Write the lines of all rounds so far, atomically."""
    hosts.on_first(lambda: write_text(folder / LINES, "".join(json.dumps(line) + "\n" for line in lines)))
