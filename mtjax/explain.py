"""Look at a batch: `python -m mtjax.explain CONFIG [overrides]`.

CONFIG is a config file or a run folder. Shows the batch of one update, text by text: which tokens are trained and by
how much, what each costs, where chosen and rejected differ, and the objective's loss and metrics. Writes nothing to the
run.
"""

import dataclasses
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import jax

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.batches import make_batches
from mtjax.distributed.sharding import make_mesh, shardings, ways
from mtjax.errors import ExitCode, InputError, entry_point
from mtjax.inspection.batch_view import score_batch, unpack_batch
from mtjax.inspection.explanation import Explanation, explain_batch
from mtjax.inspection.html import to_page
from mtjax.inspection.terminal import to_text
from mtjax.io.command_line import output_file
from mtjax.io.files import write_text
from mtjax.objectives import OBJECTIVES
from mtjax.runs.assembly import check_mesh, make_model, make_reference
from mtjax.runs.compiled import keep_compiled
from mtjax.runs.loading import load_any
from mtjax.training.live_filter import make_chooser

OPTIONS = {
    "--step": "which update's batch, as metrics.jsonl numbers them (1)",
    "--checkpoint": "whose losses: start, newest or a step; by default the newest from before that update",
    "--html": "also write a page with everything in it to this file",
    "--examples": "show so many examples; 0 shows all (8)",
    "--tokens": "print all numbers of every token",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """What to show of a run."""

    step: int = 1
    """The batch of which update, as `metrics.jsonl` numbers them."""
    checkpoint: str = ""
    """Whose losses: "start", "newest", a step, or "" for the newest checkpoint from before that update."""
    html: str | None = None
    """File to write a page to."""
    examples: int = 8
    """Most examples to show; 0 shows all."""
    tokens: bool = False
    """Print all numbers of every token."""

    def __post_init__(self) -> None:
        if self.step < 1 or self.examples < 0:
            raise InputError(f"step={self.step}, examples={self.examples}: expected at least 1 and at least 0")


def explain(config: Config, wanted: ExplainConfig) -> Explanation:
    """Make the run's parts, take the batch of one update, and run the model over it once.

    Raises:
        InputError: bad settings or data; a checkpoint that the run folder does not have.
    """
    mesh = make_mesh(config.mesh)
    model, warm, tokenizer = make_model(config, mesh)
    check_mesh(model, mesh, config.data.sequence_length)
    rows = ways(mesh, "batch")
    if config.batch_size % rows:
        raise InputError(f"batch_size={config.batch_size} must be a multiple of the {rows} devices that split rows")
    seed, places = jax.random.key(config.seed), shardings(model.axes, mesh)
    start = warm if warm is not None else jax.jit(model.init, out_shardings=places)(seed)
    # Frozen whatever the run does: the numbers are the same, and no cache is built for a look.
    frozen = dataclasses.replace(config, reference=dataclasses.replace(config.reference, kind="frozen"))
    with tempfile.TemporaryDirectory() as folder:
        reference = make_reference(frozen, model, start, tokenizer, mesh, pathlib.Path(folder))
    taken = which_checkpoint(pathlib.Path(config.run_dir), wanted)
    params = start if taken is None else load_any(config.run_dir, mesh=mesh, step=taken).params
    batches = make_batches(config.data, tokenizer, batch_size=config.batch_size, seed=config.seed)
    choose = make_chooser(config.live_filter, batches, model, config.objective, mesh, config.chunk)
    batch = choose(params, wanted.step - 1).batch
    objectives = {"own": config.objective}
    scores = score_batch(model, params, batch, objectives, mesh=mesh, chunk=config.chunk, reference=reference)
    parts = unpack_batch(batch, batches.ids)
    shape = " x ".join(map(str, batch.tokens.shape))
    objective = OBJECTIVES.name_of(config.objective) or type(config.objective).__name__
    facts = [
        ("run", f"{config.run_dir}, objective {objective}, task {config.data.task.name}"),
        ("batch", f"{shape} tokens, {len({part.name for part in parts})} examples; data: {batches.report}"),
        ("model", "the run's start" if taken is None else f"the checkpoint of step {taken}"),
    ]
    if reference.policy is not None:
        facts.append(("reference", config.reference.model or "the run's start"))
    title = f"The batch of step {wanted.step}"
    return explain_batch(config, title, facts, parts, scores, tokenizer, most=wanted.examples)


def which_checkpoint(run: pathlib.Path, wanted: ExplainConfig) -> int | None:
    """The step of the checkpoint to take the model from; None for the run's start."""
    folder = run / "checkpoints"
    steps = sorted(int(entry.name) for entry in folder.glob("*") if entry.name.isdigit())
    if wanted.checkpoint == "start":
        return None
    if wanted.checkpoint == "":
        return max((step for step in steps if step < wanted.step), default=None)
    if wanted.checkpoint == "newest" and steps:
        return steps[-1]
    if wanted.checkpoint.isdigit() and int(wanted.checkpoint) in steps:
        return int(wanted.checkpoint)
    raise InputError(
        f"checkpoint={wanted.checkpoint!r}: {folder} has steps {steps}; expected one of them, 'newest' or 'start'"
    )


def read_words(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The command's own options, and the overrides that are left for the config."""
    own: dict[str, str] = {}
    rest = []
    words = list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name not in OPTIONS:
            rest.append(word)
            continue
        if name == "--tokens":
            own["tokens"] = value or "True"
        elif equals or words:
            own[name.removeprefix("--")] = value if equals else words.pop(0)
        else:
            raise InputError(f"{name} needs a value: {OPTIONS[name]}")
    return own, rest


def read_wanted(own: dict[str, str]) -> ExplainConfig:
    """The settings of the command; InputError for a value that is no number where one is needed."""
    values: dict[str, Any] = dict(own)
    for name in ("step", "examples"):
        if name in values and not values[name].lstrip("-").isdigit():
            raise InputError(f"--{name}={values[name]}: expected a whole number; {OPTIONS[f'--{name}']}")
    values |= {name: int(values[name]) for name in ("step", "examples") if name in values}
    if values.get("tokens", "True") not in ("True", "False"):
        raise InputError(f"--tokens={values['tokens']}: expected nothing, True or False")
    values |= {"tokens": values["tokens"] == "True"} if "tokens" in values else {}
    return ExplainConfig(**values)


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m mtjax.explain CONFIG [overrides]\n\n{(__doc__ or '').split(chr(10), 2)[2]}")
        print("\n".join(f"  {name:<13} {said}" for name, said in OPTIONS.items()))
        print("\nOther words are overrides of the config, as for `python -m mtjax.train CONFIG --help`.")
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    own, rest = read_words(argv[1:])
    wanted = read_wanted(own)
    run = pathlib.Path(argv[0])
    file = run / "config.py" if run.is_dir() else run
    config = settings.load(file, [*([f"--run_dir={run}"] if run.is_dir() else []), *rest])
    keep_compiled()
    html = output_file("--html", wanted.html)
    found = explain(config, wanted)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = shutil.get_terminal_size((100, 24)).columns
    if html:
        write_text(html, to_page(found))
    try:
        print(to_text(found, width=width, colour=colour, tokens=wanted.tokens), flush=True, end="")
        if wanted.html:
            print(f"\nwrote {wanted.html}", flush=True)
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
