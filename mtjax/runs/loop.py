"""The training loop: a run from its first step, or its newest checkpoint, to its last step or a signal."""

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.tokenizer import Tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.placement import read_whole
from mtjax.distributed.signals import stop_poll
from mtjax.errors import ExitCode, NonFiniteLoss
from mtjax.inspection.self_check import self_check
from mtjax.io.files import write_text
from mtjax.io.progress import progress, say
from mtjax.objectives.base import needs_pass
from mtjax.optim import learning_rate_at
from mtjax.runs.adapters import BASE, keep_base
from mtjax.runs.announcement import announce
from mtjax.runs.assembly import Run, assemble
from mtjax.runs.export import card_of, export_model
from mtjax.runs.folder import begin, check_shared, keep_log, locked_run, snapshot_elsewhere
from mtjax.runs.loading import decoding_of
from mtjax.runs.same_run import check_memory, resumed, snapshot_of, started
from mtjax.runs.start import copy_start, keep_start
from mtjax.training import step as stepping
from mtjax.training.alarms import Alarms, read_log
from mtjax.training.checkpoint import Checkpoints, abstract_state, folders_of, read_about, saved_steps
from mtjax.training.early_stopping import BestSoFar, measured
from mtjax.training.goodput import Goodput
from mtjax.training.memory import write_memory
from mtjax.training.metrics_log import MetricsLog, Progress, StepFlops, Work, cut_back, peak_flops
from mtjax.training.monitors import HeldOutCoverage, HeldOutLoss
from mtjax.training.reference import reference_params
from mtjax.training.state import TrainState, averaged_params, changing, completed, params_to_use
from mtjax.training.trace import Trace
from mtjax.training.trackers import Tracked
from mtjax.training.trackers.tensorboard import TensorBoard
from mtjax.types import LanguageModel, Params, short_repr

MEASURED = ("held_out", "coverage/", "average/")
"""How the names of what is measured now and then begin; it is logged whenever it is measured."""


@short_repr
class Result(NamedTuple):
    """What a run ended with."""

    state: TrainState
    model: LanguageModel
    tokenizer: Tokenizer
    exit_code: ExitCode  # `DONE` at the last step or where `watch` ended it; else `STOPPED` or `INTERRUPTED`


def train(
    config: Config,
    *,
    start: Params | None = None,
    watch: Callable[[int, Params], bool] | None = None,
) -> Result:
    """Run `config` to its last step, or to a signal; resumes what is in `run_dir`.

    Runs of one process with equal settings share their compiled programs (`mtjax.sharing`).

    Args:
        config: the settings of the run.
        start: parameters to start from, in place of `init_from`; pass the same ones again to resume the run.
        watch: called with the step and the parameters after each step; the run is saved and ends if it returns True.
            The next step overwrites the parameters, so copy what must outlive the call.

    Raises:
        InputError: bad settings, data or checkpoint. Nothing has been written then, and nothing deleted.
        NonFiniteLoss: names the step and its examples; the last checkpoint stays as it was.
    """
    spent = Goodput()
    with locked_run(config):
        return _train(assemble(config, start), watch, spent)


def _train(run: Run, watch: Callable[[int, Params], bool] | None, spent: Goodput) -> Result:
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
            with progress("checking the first batch", None):
                begun = reference._replace(params=reference_params(model, state, reference.params))
                said = self_check(config, model, state.params, run.tokenizer, batches, batch, begun, mesh)
            del begun  # the first update overwrites the parameters of a reference that moves
            say(str(said))
        hosts.barrier()  # a host whose rows are refused stops all
        hosts.on_first(lambda: begin(config))
    check_shared(config)
    if anew and run.keeps_base:
        keep_base(places[0].parent, state.params[BASE])
    checkpoints = Checkpoints(places[0], config.checkpoint.keep, made_by)
    best = Checkpoints(places[1], 1, made_by)
    kept = lambda state: changing(model, state)  # without the base of an adapter
    hosts.on_first(lambda: None if anew else check_memory(config, places[0], run.made_of))
    found = None if anew else checkpoints.restore_latest(abstract_state(kept(state)))
    first, state = (found[0], completed(model, found[1], state.params)) if found else (0, state)
    changes = []
    if found:
        changes = hosts.on_first(lambda: resumed(config, places[0], first, run.made_of))
        announce(run, first)
    about: dict[str, Any] = {"made_of": run.made_of, "changes": changes, "snapshot": snapshot_of(config)}
    if hosts.index() == 0:
        elsewhere = snapshot_elsewhere(config)
        for place in (folder, *([] if elsewhere is None else [elsewhere.parent])):
            settings.write_snapshot(place, started(config))
        keep_start(folder, config, run.tokenizer, anew)
        if elsewhere is not None:
            copy_start(epath.Path(folder), elsewhere.parent)
        if changes:
            write_text(folder / "changes.json", json.dumps(changes, indent=1) + "\n")
        later = cut_back(folder / "metrics.jsonl", first if found else -1)
        spent.lose(later if found else [], first)

    # The loop. A step's numbers are read while the next one runs; none is saved before it is known to be finite.
    trackers = [*([TensorBoard()] if config.tensorboard else []), *([config.tracker] if config.tracker else [])]
    log = MetricsLog(Tracked(folder, settings.flatten(config), first), list(dict.fromkeys(trackers)))
    logged = read_log(folder) if hosts.index() == 0 else []
    alarms, rate_at = Alarms(logged), learning_rate_at(config.optim, config.steps)
    about["tokens"] = _tokens_before(places[0], first, logged)
    flops, gathers = StepFlops(), bool(config.regularizers) or needs_pass(config.objective)
    flops.add(model.config, state.params, 3 + gathers, frozen=model.held(state.params))
    if reference.shape is not None:
        flops.add(reference.shape, reference_params(model, state, reference.params), 1 + gathers)
    shown = Progress(config.steps, first, peak_flops(list(mesh.devices.flat)))
    so_far = _best_so_far(config, logged, best, places[1], first)
    trace = Trace(config.profile, folder)
    waiting: tuple[int, Any, Any, Work] | None = None

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
        number, values, examples, work = waiting
        with spent.of("compiling" if number == first + 1 else "steps"):  # until the slowest host has compiled
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
        about["tokens"] += values.pop("tokens")
        values = stepping.present(values) | {"data/tokens": about["tokens"]}
        wall = shown.update(number, values.get("loss"), work)
        is_measured = any(name.startswith(MEASURED) for name in values)
        if number % config.log_every == 0 or number == config.steps or is_measured:
            note(number, values, wall)

    exit_code = ExitCode.DONE
    rate_at(first + 1)  # within the loop its program would wait for the first step
    spent.started()
    with stop_poll() as should_stop:
        try:
            if anew and (coverage or held_out):
                with spent.of("measuring"):
                    start_values = measured_by(coverage, model, state) if coverage else {}
                    start_values |= measured_by(held_out, model, state) if held_out else {}
                so_far.see(0, start_values)
                note(0, start_values, {})
            for number in range(first + 1, first if so_far.ended else config.steps + 1):
                waited = batches.waited()
                batch, chosen_by = run.choose(state.params, number - 1)
                waited = batches.waited() - waited
                spent.spent["waiting for data"] += waited
                with trace.step(number, state), spent.step():
                    state, values = run.update(state, batch, jax.random.fold_in(run.seed, number), reference.params)
                trace.end(number, values)
                settle()
                values = values | chosen_by | ({} if config.live_filter else batches.seen_at(number - 1))
                if coverage and coverage.due(number, config.steps):
                    with spent.of("measuring"):
                        values |= measured_by(coverage, model, state)
                due = config.held_out is not None and number % config.held_out.every == 0
                stop, ended = should_stop(number), watch is not None and watch(number, state.params)
                if held_out and (due or number == config.steps):
                    with spent.of("measuring"):
                        values |= measured_by(held_out, model, state)
                work = flops.work(np.asarray(batch.segments), config.batch_size)._replace(waited=waited)
                values = values | {"learning_rate": rate_at(number)}
                waiting = (number, values, batch.extras["segment_id"], work)
                if number == first + 1:
                    settle()
                if so_far.see(number, values):
                    settle()
                    best.save(number, kept(state), about | {so_far.metric: float(values[so_far.metric])})
                ended = ended or bool(so_far.ended)
                if number % config.checkpoint.every == 0 or number == config.steps or stop or ended:
                    settle()
                    log.sync()
                    with spent.of("saving"):
                        checkpoints.save(number, kept(state), about)
                        if hosts.index() == 0:
                            keep_log(config)
                if stop == signal.SIGINT:
                    exit_code = ExitCode.INTERRUPTED
                elif stop and not ended and number < config.steps:
                    exit_code = ExitCode.STOPPED
                if stop or ended:
                    break
            settle()
        finally:
            with contextlib.ExitStack() as closing:  # each is closed, whatever the others raise
                closing.enter_context(spent.of("saving"))
                if hosts.count() == 1 or isinstance(sys.exception(), NonFiniteLoss | None):  # or a host may not come
                    closing.callback(best.close)
                    closing.callback(checkpoints.close)
                closing.callback(trace.close)
                closing.callback(log.close)
                closing.callback(shown.close)
                closing.callback(batches.close)
    say(str(spent))
    if state.memory is not None:
        write_memory(folder / "examples.jsonl", state.memory, batches.ids)
    if so_far.ended:
        print(f"early    stop at step {int(state.step)}: {so_far.ended}")
    finished = bool(so_far.ended) or int(state.step) >= config.steps
    if exit_code == ExitCode.DONE and config.export and finished:
        last, of = state, ""
        if so_far.ended and so_far.best and so_far.best[0] in saved_steps(places[1]):
            of = f"step {so_far.best[0]}, the best, "
            restored = best.restore(so_far.best[0], abstract_state(kept(state)))
            last = completed(model, restored, state.params)
        params: Any = params_to_use(model, last, config.optim.optimizer)
        params = params if hosts.count() == 1 else read_whole(params)
        if hosts.index() == 0:
            step = so_far.best[0] if of and so_far.best else int(state.step)
            card, decoding = card_of(config, step), decoding_of(config, run.tokenizer)
            export_model(config.export, model, params, decoding, run.origin, card, config.export_dtype)
        print(f"exported {of}to {config.export}")
    if not finished:
        print(f"stopped  step {int(state.step)} is saved; the same command goes on from there")
    return Result(state, model, run.tokenizer, exit_code)


def measured_by(monitor: HeldOutLoss | HeldOutCoverage, model: LanguageModel, state: TrainState) -> dict[str, float]:
    """What a monitor measures on the parameters and, as `average/NAME`, on the average that the optimizer keeps."""
    compared = () if isinstance(monitor, HeldOutCoverage) else (reference_params(model, state, None), state.memory)
    values, average = monitor.measure(state.params, *compared), averaged_params(model, state)
    if average is not None:
        values |= {f"average/{name}": value for name, value in monitor.measure(average, *compared).items()}
    return values


def _tokens_before(place: epath.Path, first: int, logged: Sequence[Mapping[str, Any]]) -> float:
    """Tokens that the run was trained on up to the step that it goes on from: of the checkpoint, else of the log."""
    if not first:
        return 0.0
    last = logged[-1].get("data/tokens", 0.0) if logged else 0.0
    return float(hosts.on_first(lambda: read_about(place, first).get("tokens", last)))


def _best_so_far(
    config: Config, logged: Sequence[Mapping[str, Any]], best: Checkpoints, place: epath.Path, first: int
) -> BestSoFar:
    """The measurements up to step `first`: those of the log, and of the best checkpoint if its line is lost."""
    metric = BestSoFar(config.early_stopping).metric
    kept = {step: read_about(place, step).get(metric) for step in best.steps() if step <= first}
    found = {step: value for step, value in kept.items() if value is not None} | dict(measured(logged, metric))
    last = logged[-1]["step"] if logged else 0
    if hosts.index() == 0 and first - last >= config.log_every:
        print(f"note: {config.run_dir}/metrics.jsonl has no lines of steps {last + 1} to {first}")
    return BestSoFar(config.early_stopping, hosts.on_first(lambda: sorted(found.items())))
