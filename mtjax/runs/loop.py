"""The training loop: a run from its first step, or its newest checkpoint, to its last step or a signal."""

import contextlib
import json
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.tokenizer import Tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.placement import read_whole
from mtjax.distributed.signals import stop_poll
from mtjax.errors import ExitCode, NonFiniteLoss
from mtjax.inspection.self_check import self_check
from mtjax.io.files import write_text
from mtjax.model import huggingface
from mtjax.model.attention import choice_for
from mtjax.runs.assembly import Run, assemble
from mtjax.runs.folder import begin, check_shared, locked_run, snapshot_elsewhere
from mtjax.runs.same_run import resumed, snapshot_of
from mtjax.training import step as stepping
from mtjax.training.alarms import Alarms, read_log
from mtjax.training.checkpoint import Checkpoints, abstract_state, folders_of, read_about, saved_steps
from mtjax.training.metrics_log import MetricsLog, Progress, cut_back, flops_per_token, peak_flops
from mtjax.types import LanguageModel, Params

MEASURED = {"held_out_loss", "coverage/pass@1"}
"""What is measured now and then, and logged whenever it is."""


class Result(NamedTuple):
    """What a run ended with."""

    state: stepping.TrainState
    model: LanguageModel
    tokenizer: Tokenizer
    exit_code: ExitCode  # `ExitCode.DONE`, or why it stopped early


def train(
    config: Config,
    *,
    start: Params | None = None,
    programs: dict[Any, Any] | None = None,
    watch: Callable[[int, Params], bool] | None = None,
) -> Result:
    """Run `config` to its last step, or to a signal; resumes what is in `run_dir`.

    Args:
        config: the settings of the run.
        start: parameters to start from, in place of `init_from`; pass the same ones again to resume the run.
        programs: compiled training steps by the settings they depend on. Runs of one process that share this dict
            compile a step once.
        watch: called with the step and the parameters after each step; the run is saved and ends if it returns True.
            The next step overwrites the parameters, so copy what must outlive the call.

    Raises:
        InputError: bad settings, data or checkpoint. Nothing has been written then, and nothing deleted.
        NonFiniteLoss: names the step and its examples; the last checkpoint stays as it was.
    """
    with locked_run(config):
        return _train(assemble(config, start, programs), watch)


def _train(run: Run, watch: Callable[[int, Params], bool] | None) -> Result:
    """Train an assembled run whose folder is locked."""
    config, folder, mesh, model, reference = run.config, run.folder, run.mesh, run.model, run.reference
    state, batches, held_out, coverage = run.state, run.batches, run.held_out, run.coverage

    # The newest checkpoint, or a fresh start, whose first batch is checked before anything is written.
    places, made_by = folders_of(folder, config.checkpoint.folder), settings.flatten(config.objective, "objective")
    anew = config.overwrite or not hosts.on_first(lambda: saved_steps(places[0]))
    if anew:
        announce(run, 0)
        if config.self_check:
            batch = run.choose(state.params, 0).batch
            print(self_check(config, model, state.params, run.tokenizer, batches, batch, reference, mesh), flush=True)
        hosts.barrier()  # a host whose rows are refused stops all
        hosts.on_first(lambda: begin(config))
    check_shared(config)
    checkpoints = Checkpoints(places[0], config.checkpoint.keep, made_by)
    best = Checkpoints(places[1], 1, made_by)
    found = None if anew else checkpoints.restore_latest(abstract_state(state))
    first, state = found or (0, state)
    changes = []
    if found:
        changes = hosts.on_first(lambda: resumed(config, places[0], first, run.made_of))
        announce(run, first)
    about = {"made_of": run.made_of, "changes": changes, "snapshot": snapshot_of(config)}
    if hosts.index() == 0:
        for snapshot in filter(None, (folder / "config.py", snapshot_elsewhere(config))):
            write_text(snapshot, about["snapshot"])
        if changes:
            write_text(folder / "changes.json", json.dumps(changes, indent=1) + "\n")
        cut_back(folder / "metrics.jsonl", first)

    # The loop. A step's numbers are read while the next one runs; none is saved before it is known to be finite.
    log, logged = MetricsLog(folder, config.tensorboard, first), read_log(folder) if hosts.index() == 0 else []
    alarms = Alarms(logged)
    shape = model.config
    count = sum(x.size for x in jax.tree.leaves(state.params)) - (0 if shape.tied else shape.vocab_size * shape.width)
    flops = flops_per_token(count, shape.layers, shape.heads, shape.head_dim, config.data.sequence_length)
    progress = Progress(config.steps, first, flops, peak_flops(list(mesh.devices.flat)))
    measured = [line.get("held_out_loss", float("inf")) for line in logged]
    if not anew:  # the log may have lost lines
        measured += [read_about(places[1], n).get("held_out_loss", float("inf")) for n in best.steps() if n <= first]
        if hosts.index() == 0 and first - (last := logged[-1]["step"] if logged else 0) >= config.log_every:
            print(f"note: {folder / 'metrics.jsonl'} has no lines of steps {last + 1} to {first}")
    lowest = hosts.on_first(lambda: min(measured, default=float("inf")))
    waiting: tuple[int, Any, Any] | None = None

    def note(number: int, values: dict[str, float], wall: dict[str, float]) -> None:
        """Log a line, with the alarms that it raises."""
        raised, told = alarms.see(number, values)
        log.write(number, values | raised | wall)
        for message in told:
            print(message, flush=True)

    def settle() -> None:
        """Read the waiting step's metrics, refuse a non-finite one, and log it."""
        nonlocal waiting
        if waiting is None:
            return
        number, values, examples = waiting
        values = {name: float(value) for name, value in jax.device_get(values).items()}
        waiting = None
        if not np.isfinite([values["loss"], values["grad_norm"]]).all():
            there = dict.fromkeys(examples.ravel().tolist())  # a pair stands there twice
            ids = ", ".join([batches.ids[example] for example in there if example >= 0][:8])
            saved = checkpoints.steps()
            raise NonFiniteLoss(
                f"step {number}: loss={values['loss']}, grad_norm={values['grad_norm']}; examples {ids}; {folder} "
                + (f"keeps the checkpoint of step {saved[-1]}" if saved else "has no checkpoint yet")
                + ": lower optim.learning_rate, or look at these examples"
            )
        wall = progress.update(number, values["loss"], config.batch_size * config.data.sequence_length)
        if number % config.log_every == 0 or number == config.steps or not values.keys().isdisjoint(MEASURED):
            note(number, values, wall)

    exit_code = ExitCode.DONE
    with stop_poll() as should_stop:
        try:
            if coverage and anew:
                note(0, coverage.measure(state.params), {})
            for number in range(first + 1, config.steps + 1):
                batch, chosen_by = run.choose(state.params, number - 1)
                state, values = run.update(state, batch, jax.random.fold_in(run.seed, number), reference.params)
                settle()
                values = values | chosen_by
                if coverage and coverage.due(number, config.steps):
                    values |= coverage.measure(state.params)
                waiting = (number, values, batch.extras["segment_id"])
                due = config.held_out is not None and number % config.held_out.every == 0
                stop = should_stop(number)
                if watch is not None and watch(number, state.params):
                    stop = stop or signal.SIGTERM
                if held_out and (due or number == config.steps):
                    loss = held_out.measure(state.params)
                    waiting = (number, values | {"held_out_loss": loss}, batch.extras["segment_id"])
                    if loss < lowest:
                        settle()
                        lowest = loss
                        best.save(number, state, about | {"held_out_loss": loss})
                if number % config.checkpoint.every == 0 or number == config.steps or stop:
                    settle()
                    log.sync()
                    checkpoints.save(number, state, about)
                if stop:
                    exit_code = ExitCode.DONE if stop == signal.SIGTERM else ExitCode.INTERRUPTED
                    break
            settle()
        finally:
            with contextlib.ExitStack() as closing:  # each is closed, whatever the others raise
                if hosts.count() == 1 or isinstance(sys.exception(), NonFiniteLoss | None):  # or a host may not come
                    closing.callback(best.close)
                    closing.callback(checkpoints.close)
                closing.callback(log.close)
                closing.callback(progress.close)
    if exit_code == ExitCode.DONE and config.export and int(state.step) >= config.steps:
        params = state.params if hosts.count() == 1 else read_whole(state.params)
        if hosts.index() == 0:
            huggingface.save(config.export, model, params, tokenizer=run.tokenizer)
        print(f"exported to {config.export}")
    if int(state.step) < config.steps:
        print(f"stopped  step {int(state.step)} is saved; the same command goes on from there")
    return Result(state, model, run.tokenizer, exit_code)


def announce(run: Run, first: int) -> None:
    """Print devices, model, data and the steps to come."""
    config, model, mesh = run.config, run.model, run.mesh
    count = sum(np.prod(x.shape) for x in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))
    kind = jax.devices()[0].device_kind
    of = f" on {hosts.count()} hosts" if hosts.count() > 1 else ""
    print(f"devices  {mesh.size} x {kind}{of}, mesh {dict(mesh.shape)}")
    kernel = choice_for(model.config, config.data.sequence_length, mesh)
    print(f"model    {int(count):,} parameters, {model.config.dtype} compute, {kernel.name} attention ({kernel.why})")
    for name, data in (("data", run.batches), ("held out", run.held_out and run.held_out.batches)):
        if data:
            print(f"{name:<8} {data.report}", *data.report.notes, sep="\n         ")
    what = f"steps {first + 1} to {config.steps}" if first < config.steps else f"all {first} steps are done"
    print(f"run      {config.run_dir}, {what}", flush=True)
