"""Measure a model on tasks of the Language Model Evaluation Harness (`lm-eval`): `python -m mtjax.harness MODEL`.

MODEL is a run folder, a Hugging Face folder, a hub id or `smollm2`. Tasks are those of the installed `lm-eval`, or YAML
files in the folder `--include_path`. Needs the extra `lm-eval`.
"""

import dataclasses
import json
import pathlib
import sys
from typing import Literal

import jax

from mtjax.distributed.hosts import check_one_host
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.harness import harness_model
from mtjax.io.command_line import command, split_options
from mtjax.io.files import write_text
from mtjax.runs.loading import load_any
from mtjax.validation import PositiveInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class HarnessConfig:
    """Options of the command."""

    tasks: tuple[str, ...] = ()  # Names of tasks or groups of lm-eval.
    include_path: str | None = None  # Folder with further tasks as YAML files.
    num_fewshot: int | None = None  # Examples in front of each question; None is as the task says.
    limit: PositiveInt | None = None  # Use only so many documents of each task.
    chat: bool = False  # Put every prompt into the chat template.
    rows: PositiveInt = 16  # Texts scored, and answers drawn, side by side.
    seed: int = 0  # Random seed, where a task samples.
    dtype: Literal["float32", "bfloat16"] | None = None  # Type to compute in; None is float32, or that of the run.
    step: int | Literal["best"] | None = None  # Checkpoint of a run: its step, "best" by held-out loss, or the newest.
    weights: Literal["auto", "raw", "average"] = "auto"  # Parameters of a run, as for `mtjax.evaluate`.
    tokenizer: str | None = None  # Tokenizer to use; None takes the model's own.
    mesh: MeshSpec = MeshSpec()  # Over which devices.
    output: str | None = None  # File for the results as JSON.


@command("MODEL --tasks NAME ... [--include_path=FOLDER] [options]", options=HarnessConfig, before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    config, rest = split_options(HarnessConfig, words, "python -m mtjax.harness MODEL")
    if len(rest) != 1:
        raise InputError(f"got {rest}: expected one model, such as python -m mtjax.harness smollm2 --tasks hellaswag")
    if not config.tasks:
        raise InputError("no task was given: name some, such as --tasks hellaswag gsm8k")
    mesh = make_mesh(config.mesh) if jax.device_count() > 1 else None
    loaded = load_any(
        rest[0], tokenizer=config.tokenizer, mesh=mesh, dtype=config.dtype, step=config.step, weights=config.weights
    )
    asked = harness_model(loaded.model, loaded.params, loaded.tokenizer, rows=config.rows, seed=config.seed)
    import lm_eval
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import make_table

    manager = TaskManager(include_path=config.include_path)
    unknown = [name for name in config.tasks if not manager.match_tasks([name])]
    if unknown:
        raise InputError(
            f"lm-eval has no task {unknown[0]!r}: see `lm_eval --tasks list`, or give --include_path the folder of its "
            "YAML file"
        )
    found = lm_eval.simple_evaluate(
        asked, tasks=list(config.tasks), num_fewshot=config.num_fewshot, limit=config.limit, task_manager=manager,
        apply_chat_template=config.chat, random_seed=config.seed, log_samples=False, bootstrap_iters=1000,
    )  # fmt: skip
    print(make_table(found))
    if config.output is not None:
        kept = {name: found[name] for name in ("results", "versions", "n-shot", "n-samples") if name in found}
        write_text(pathlib.Path(config.output).expanduser(), json.dumps(kept, indent=2, default=str) + "\n")
        print(f"wrote {config.output}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
