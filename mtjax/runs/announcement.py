"""What a run prints at its start: devices, model, data and the steps to come."""

import jax
import numpy as np

from mtjax.data.overlap import overlap
from mtjax.data.selection import select
from mtjax.distributed import hosts
from mtjax.io.progress import say
from mtjax.model.adapters import ADAPTERS
from mtjax.model.attention import choice_for
from mtjax.optim import describe_schedule
from mtjax.runs.assembly import Run

COMPARED = 1_000_000  # Most training examples that are compared with the held-out ones at a start; `inspect` does all.


def announce(run: Run, first: int) -> None:
    """Print devices, model, data and the steps to come."""
    config, model, mesh = run.config, run.model, run.mesh
    count = sum(np.prod(x.shape) for x in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))
    kind = jax.devices()[0].device_kind
    of = f" on {hosts.count()} hosts" if hosts.count() > 1 else ""
    say(f"devices  {mesh.size} x {kind}{of}, mesh {dict(mesh.shape)}")
    kernel = choice_for(model.config, config.data.sequence_length, mesh)
    trained = sum(np.prod(x.shape) for x in jax.tree.leaves(model.trained(run.state.params)))
    said = f"{int(count):,} parameters"
    if model.frozen:
        said += f", {int(trained):,} of them trained ({ADAPTERS.name_of(model.config.adapter)})"
    say(f"model    {said}, {model.config.dtype} compute, {kernel.name} attention ({kernel.why})")
    for name, data in (("data", run.batches), ("held out", run.held_out and run.held_out.batches)):
        if data:
            say("\n         ".join([f"{name:<8} {data.report}", *data.report.notes]))
    if config.held_out is not None and first == 0 and hosts.index() == 0 and len(run.batches.ids) <= COMPARED:
        shared = overlap(select(config.data.source, config.data.selections), config.held_out.source)
        if shared.shared:
            say(f"note     {shared}; data.selections=(Decontaminate(...),) drops them")
    say(f"step     logits of {config.chunk_size:,} positions at a time, {run.fit}")
    if note := getattr(config.objective, "note", ""):
        say(f"note     {note}")
    if first < config.steps:
        say("rate     " + "\n         note: ".join(describe_schedule(config.optim, config.steps, first + 1)))
    what = f"steps {first + 1} to {config.steps}" if first < config.steps else f"all {first} steps are done"
    say(f"run      {config.run_dir}, {what}")
