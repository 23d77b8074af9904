"""Show the batch of one update, token by token.

CONFIG is a config file or a run folder, to which nothing is written. The output has, for each text, the weight and loss
of each token and where chosen and rejected differ, and for the batch the objective's loss and metrics.
"""

import dataclasses
import os
import pathlib
import shutil
import sys
import tempfile
from typing import Annotated, Literal

import jax
from annotated_types import Ge

from mtjax import config as settings
from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import make_batches, unlimited
from mtjax.distributed.hosts import check_one_host
from mtjax.distributed.sharding import make_mesh, shardings, ways
from mtjax.errors import ExitCode, InputError
from mtjax.inspection.batch_view import score_batch, unpack_batch
from mtjax.inspection.explanation import Explanation, explain_batch
from mtjax.inspection.html import to_page
from mtjax.inspection.terminal import to_text
from mtjax.io.command_line import command, output_file, split_options
from mtjax.io.files import write_text
from mtjax.io.progress import progress
from mtjax.objectives import OBJECTIVES
from mtjax.runs.assembly import make_reference
from mtjax.runs.loading import load_any
from mtjax.runs.mesh_checks import check_mesh
from mtjax.runs.same_run import differences, listed, made_of
from mtjax.runs.step_settings import with_chunk
from mtjax.runs.warm_start import make_model
from mtjax.training.checkpoint import folders_of, read_about, saved_steps
from mtjax.training.live_filter import make_chooser
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """Options of `python -m mtjax.explain`; the other words are overrides of the config, as for `mtjax.train`."""

    step: PositiveInt = 1  # the update whose batch to show, numbered as in metrics.jsonl
    checkpoint: str = ""  # start, newest or a step; by default the newest checkpoint from before the update
    html: str | None = None  # also write a page with all numbers to this file
    examples: Annotated[int, Ge(0)] = 8  # how many examples to show; 0 shows all
    tokens: bool = False  # print all numbers of every token

    def __post_init__(self) -> None:
        check_types(self)


def explain(config: Config, wanted: ExplainConfig) -> Explanation:
    """Build the parts of a run that the batch of one update needs, and run the model over it once.

    Raises:
        InputError: invalid settings or data, or a checkpoint that the run folder does not have.
    """
    mesh = make_mesh(config.mesh)
    taken = which_checkpoint(pathlib.Path(config.run_dir), wanted, config.checkpoint)
    model, warm, tokenizer = make_model(config, mesh, resumes=taken is not None)
    check_mesh(model, mesh, config.data.sequence_length)
    config = with_chunk(config, model.config, mesh)
    rows = ways(mesh, "batch")
    if config.batch_size % rows:
        raise InputError(f"batch_size={config.batch_size} must be a multiple of the {rows} devices that split rows")
    seed, places = jax.random.key(config.seed), shardings(model.axes, mesh)
    start = warm if warm is not None else jax.jit(model.init, out_shardings=places)(seed)
    if model.complete is not None:
        start = jax.jit(model.complete, out_shardings=places)(seed, start)
    # A frozen reference gives the same numbers as a cached one, without building a cache.
    fixed = dataclasses.replace(config.reference, kind="frozen", refresh_every=None, mix=1.0)
    frozen = dataclasses.replace(config, reference=fixed)
    with tempfile.TemporaryDirectory() as folder:
        new = warm is None or "adapter" not in warm
        reference = make_reference(frozen, model, start, tokenizer, mesh, pathlib.Path(folder), new_adapter=new)
    newest, best = folders_of(config.run_dir, config.checkpoint.folder)
    place = newest if taken in saved_steps(newest) else best
    named: int | Literal["best"] | None = taken if place == newest else "best"
    params = (
        start if taken is None else load_any(config.run_dir, mesh=mesh, step=named, merge=False, weights="raw").params
    )
    batches = make_batches(unlimited(config.data), tokenizer, batch_size=config.batch_size, seed=config.seed)
    choose = make_chooser(config.live_filter, batches, model, config.objective, mesh, config.chunk_size)
    batch = choose(params, wanted.step - 1).batch
    objectives = {"own": config.objective}
    scores = score_batch(model, params, batch, objectives, mesh=mesh, chunk=config.chunk_size, reference=reference)
    parts = unpack_batch(batch, batches.ids)
    shape = " x ".join(map(str, batch.tokens.shape))
    objective = OBJECTIVES.name_of(config.objective) or type(config.objective).__name__
    facts = [
        ("run", f"{config.run_dir}, objective {objective}, task {config.data.task.name}"),
        ("batch", f"{shape} tokens, {len({part.name for part in parts})} examples; data: {batches.report}"),
        ("model", "the run's start" if taken is None else f"the checkpoint of step {taken}"),
    ]
    if taken is not None and wanted.checkpoint == "" and taken < wanted.step - 1:
        facts[-1] = (
            "model",
            f"{facts[-1][1]}, the last one kept from before the update: step {wanted.step - 1} has none",
        )
    was = {} if taken is None else read_about(place, taken).get("made_of", {})
    now = {name: value for name, value in made_of(tokenizer, batches.made_of, None, None, None).items() if name in was}
    if changed := differences({name: was[name] for name in now}, now):
        facts.append(("changed", f"this is not the batch that the run trained on: {listed(changed)}"))
    if reference.policy is not None:
        moved = "" if config.reference.refresh_every is None else ", where the run's own has moved on with the policy"
        facts.append(("reference", (config.reference.model or "the run's start") + moved))
    title = f"The batch of step {wanted.step}"
    return explain_batch(config, title, facts, parts, scores, tokenizer, most=wanted.examples)


def which_checkpoint(run: pathlib.Path, wanted: ExplainConfig, saved: CheckpointConfig | None = None) -> int | None:
    """The step of the checkpoint that scores the batch; None for the initial parameters.

    By default the nearest checkpoint from before the update, the best one included.

    Args:
        saved: how often the run is saved, and where; by default in its folder.

    Raises:
        InputError: no such checkpoint, or the run has deleted all from before the update.
    """
    newest, best = folders_of(run, None if saved is None else saved.folder)
    steps = sorted({*saved_steps(newest), *saved_steps(best)})
    if wanted.checkpoint == "start":
        return None
    if wanted.checkpoint == "":
        before = [step for step in steps if step < wanted.step]
        if steps and not before and saved is not None and saved.every < wanted.step:
            raise InputError(
                f"{run} has deleted the checkpoints from before step {wanted.step} (kept: {steps}): "
                f"--checkpoint={steps[0]} takes the nearest later one, --checkpoint=start the model before training"
            )
        return max(before, default=None)
    if wanted.checkpoint == "newest" and saved_steps(newest):
        return saved_steps(newest)[-1]
    if wanted.checkpoint.isdigit() and int(wanted.checkpoint) in steps:
        return int(wanted.checkpoint)
    raise InputError(
        f"checkpoint={wanted.checkpoint!r}: {newest} has steps {steps}; expected one of them, 'newest' or 'start'"
    )


@command("CONFIG [options] [overrides]", options=ExplainConfig, before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    wanted, overrides = split_options(ExplainConfig, words[1:], "python -m mtjax.explain CONFIG")
    run = pathlib.Path(words[0])
    config = settings.read_run(run) if run.is_dir() else settings.read_file(run)
    own = [f"--run_dir={run}"] if run.is_dir() else []
    config = settings.parse(config, [*own, *overrides], f"python -m mtjax.explain {run}")
    html = output_file("--html", wanted.html)
    with progress("scoring the batch", None):
        found = explain(config, wanted)
    if html:
        write_text(html, to_page(found))
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = shutil.get_terminal_size((100, 24)).columns
    print(to_text(found, width=width, colour=colour, tokens=wanted.tokens), flush=True, end="")
    if html:
        print(f"\nwrote {wanted.html}", flush=True)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
