"""What a run is made of — data, tokenizer, reference — kept in its checkpoints and compared when it is used again."""

import dataclasses
from typing import Any

from etils import epath

from mtjax import config as settings
from mtjax.config import Config, objective_of
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.objectives import OBJECTIVES
from mtjax.training.checkpoint import read_about, saved_steps
from mtjax.training.memory import memory_names
from mtjax.training.monitors import HeldOutCoverage

Facts = dict[str, str]
"""Digests of what a run is made of, by name."""


def made_of(
    tokenizer: Tokenizer, data: Facts, held_out: Facts | None, coverage: HeldOutCoverage | None, reference: str | None
) -> Facts:
    """The facts of a run: tokenizer, examples and packing of each source, coverage problems, reference weights."""
    facts = {"tokenizer": tokenizer.identity[:16]}
    for name, own in (("data", data), ("held-out data", held_out or {})):
        facts |= {f"{name}, {part}".removesuffix(", "): value for part, value in own.items()}
    if coverage is not None:
        asked = digest(coverage.prompts, [problem.answer for problem in coverage.problems])
        facts["coverage data"] = f"{len(coverage.prompts):,} problems ({asked[:16]})"
    return facts | ({} if reference is None else {"reference": reference})


def differences(was: Facts, now: Facts) -> dict[str, tuple[str, str]]:
    """The facts that differ, with both values; the packing is named only where the examples are the same."""
    out = {
        name: (was.get(name, "absent"), now.get(name, "absent"))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    }
    return {name: pair for name, pair in out.items() if "packing" not in name} or out


def listed(differing: dict[str, tuple[str, str]]) -> str:
    """The differences as text."""
    return "; ".join(f"{name} was {was}, is {now}" for name, (was, now) in differing.items())


def check_memory(config: Config, folder: epath.Path, now: Facts) -> None:
    """InputError where the objective remembers examples by number, and others have these numbers now.

    `accept_changed_data` changes nothing: what is remembered would be said of other examples.
    """
    steps = saved_steps(folder) if memory_names(objective_of(config)) else []
    was = read_about(folder, steps[-1]).get("made_of") if steps else None
    if was is None:
        return
    examples = {name: value for name, value in was.items() if f"{name}, ".startswith("data, ")}
    same = {name: value for name, value in now.items() if f"{name}, ".startswith("data, ")}
    differing = {name: pair for name, pair in differences(examples, same).items() if "packing" not in name}
    if differing:
        what = "track_examples" if config.track_examples else f"objective:{OBJECTIVES.name_of(config.objective)}"
        raise InputError(
            f"{config.run_dir} remembers its examples by number ({what}), and they have changed: {listed(differing)}. "
            f"Restore them, or start another run from its weights: --init_from={config.run_dir} with another --run_dir"
        )


def resumed(config: Config, folder: epath.Path, step: int, now: Facts) -> list[dict[str, Any]]:
    """The changes of data that a run has accepted until it goes on from a step, with those of now.

    Raises:
        InputError: data, tokenizer or reference are not those of the checkpoint, and `accept_changed_data` is not set.
    """
    about = read_about(folder, step)
    was, changes = about.get("made_of"), list(about.get("changes", []))
    if was is None:
        print(f"note: the checkpoint of step {step} is of an earlier version, which kept no fingerprint of its data")
        return changes
    differing = differences(was, now)
    if "base" in differing:
        was, is_now = differing["base"]
        raise InputError(
            f"{config.run_dir}: the adapter was trained to step {step} on another base model than it would have now "
            f"(fingerprint was {was}, is {is_now}): bring back the model in init_from, or use another --run_dir"
        )
    if not differing:
        return changes
    if not config.accept_changed_data:
        raise InputError(
            f"{config.run_dir} was trained to step {step} on something else: {listed(differing)}. Restore it, use "
            "another --run_dir, or pass --accept_changed_data to go on with what is there now, which the run records"
        )
    print(f"note: from step {step + 1} on, {config.run_dir} trains on something else: {listed(differing)}")
    return [*changes, {"after_step": step, "changed": {name: list(pair) for name, pair in differing.items()}}]


def started(config: Config) -> Config:
    """The settings that a run keeps: without those that are for one start only."""
    return dataclasses.replace(config, overwrite=False, accept_changed_data=False)


def snapshot_of(config: Config) -> str:
    """The snapshot of a run."""
    return settings.snapshot(started(config))


def check_tokenizer(folder: epath.Path, step: int, tokenizer: Tokenizer) -> None:
    """InputError where a run's tokenizer is not the one that the checkpoint was trained with."""
    was = read_about(folder, step).get("made_of", {}).get("tokenizer")
    if was is not None and was != tokenizer.identity[:16]:
        raise InputError(
            f"tokenizer {tokenizer.name!r} has changed since {folder / str(step)} was trained with it (fingerprint was "
            f"{was}, is {tokenizer.identity[:16]}); restore it, or choose one on purpose with --tokenizer "
            "(--data.tokenizer in training)"
        )
