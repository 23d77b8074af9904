"""A run made from its config: `assemble` builds every part of it in the order in which they depend on each other."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mtjax.config import Config, flatten, objective_of
from mtjax.data.ahead import read_ahead
from mtjax.data.arrays import Index
from mtjax.data.batches import Batches, make_batches
from mtjax.data.batches import fingerprint_of as fingerprint_of_data
from mtjax.data.tasks.base import written_settings
from mtjax.data.tokenizer import Tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.placement import own_rows
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import InputError
from mtjax.io.files import write_text
from mtjax.io.hashing import digest
from mtjax.io.progress import progress
from mtjax.model import huggingface
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import make_language_model
from mtjax.model.value_head import VALUE
from mtjax.optim import make_optimizer
from mtjax.optim.averages import averages
from mtjax.runs.adapters import BASE, kept_base
from mtjax.runs.folder import prepare_folder, saved_in
from mtjax.runs.loading import decoding_of, load_any
from mtjax.runs.mesh_checks import check_mesh
from mtjax.runs.same_run import made_of
from mtjax.runs.start import is_run, origin_of
from mtjax.runs.step_settings import check_batch, kept_if_possible, settle, with_chunk
from mtjax.runs.warm_start import begin_from, make_model
from mtjax.training.checkpoint import abstract_state, folders_of
from mtjax.training.fitting import Fit
from mtjax.training.live_filter import make_chooser
from mtjax.training.memory import new_memory
from mtjax.training.monitors import HeldOutCoverage, HeldOutLoss
from mtjax.training.reference import (
    Reference,
    cached_reference,
    compared_part,
    frozen_reference,
    reference_params,
    refresh_of,
)
from mtjax.training.reference_cache import Cache, make_scorer
from mtjax.training.state import TrainState, init_state
from mtjax.training.step import make_train_step
from mtjax.types import LanguageModel, Params, short_repr

REFERENCE = "reference.json"  # The file of a run folder with the fingerprint of the reference.


@short_repr
class Run(NamedTuple):
    """A training run, assembled and not started."""

    config: Config  # its settings, with the end of the schedule and what it has chosen
    fit: Fit  # how a step fits into the memory of a device
    folder: pathlib.Path  # its run folder
    mesh: Mesh  # the devices
    model: LanguageModel
    tokenizer: Tokenizer
    state: TrainState  # before the first step
    seed: jax.Array  # the key that every step's key is folded from
    reference: Reference  # what the objective compares with
    batches: Batches  # the training data as packed batches
    choose: Callable[[Params, int], Any]  # `(params, step) -> (batch, metrics)` of a step, after the live filter
    update: Callable[..., tuple[TrainState, dict[str, Any]]]  # see `training.step.make_train_step`
    held_out: HeldOutLoss | None  # measures loss and metrics on the held-out source
    coverage: HeldOutCoverage | None  # measures pass@k on a held-out source
    origin: huggingface.Origin | None  # what an export keeps of the checkpoint that the run starts from
    made_of: dict[str, str]  # digests of data, tokenizer, reference and base, by name
    keeps_base: bool  # whether the run folder must hold the base of its adapter, which no name leads to


def assemble(config: Config, start: Params | None = None) -> Run:
    """Every part of the run that `config` describes; nothing is written but caches.

    `start` is that of `mtjax.runs.loop.train`.

    Raises:
        InputError: bad settings or data, a run folder with another run, hosts that disagree.
    """
    # Devices and folder. All hosts must agree on them before anything compiles.
    mesh = make_mesh(config.mesh)
    hosts.agree(facts_of(config))
    check_batch(config, mesh)
    asked, (folder, config) = config, prepare_folder(config)
    config = kept_if_possible(asked, config, mesh)

    # Model, optimizer and the state before the first step.
    resumes = bool(saved_in(config))
    with progress("loading the model", None):
        model, warm, tokenizer = make_model(config, mesh, resumes)
    warm = warm if start is None else begin_from(model, start)
    hosts.agree({"tokenizer": tokenizer.fingerprint})
    check_mesh(model, mesh, config.data.sequence_length)
    config = with_chunk(config, model.config, mesh)
    origin = None
    if config.export:
        huggingface.check_place(config.export, model)
        begun = config.run_dir if resumes and is_run(config.run_dir) else config.init_from
        origin = None if begun is None else origin_of(begun)
    optimizer = make_optimizer(config.optim, config.steps)
    seed = jax.random.key(config.seed)
    state = init_state(model, optimizer, seed, mesh, warm)
    keeps_base = bool(model.frozen) and (config.init_from is None or start is not None)
    if keeps_base and not config.overwrite:  # a run that goes on has the base that it began with
        place = folders_of(folder, config.checkpoint.folder)[0].parent
        held = kept_base(place, abstract_state(state.params[BASE]))
        state = state if held is None else state._replace(params={**state.params, BASE: held})

    # What the objective compares with, data, monitors, step.
    new = warm is None or "adapter" not in warm
    lost = warm is None and config.init_from is not None
    reference = make_reference(config, model, state.params, tokenizer, mesh, folder, new_adapter=new, lost=lost)
    if reference.refresh is not None:  # its parameters are part of what training changes
        moving = compared_part(model, reference.params)
        state, reference = state._replace(reference=moving), reference._replace(params=None)
    rows = own_rows(mesh, config.batch_size)
    batches = read_ahead(
        make_batches(
            config.data, tokenizer, batch_size=config.batch_size, seed=config.seed, rows=rows, also=reference.also
        )
    )
    objective = objective_of(config)
    if (memory := new_memory(objective, len(batches.ids), mesh)) is not None:
        state = state._replace(memory=memory)
    config, model, fit = settle(config, model, mesh, state.params, state, reference.params)
    update = make_train_step(
        model, objective, optimizer,
        micro_batches=config.micro_batch_count, mesh=mesh, reference=reference.policy, refresh=reference.refresh,
        chunk=config.chunk_size,
    )  # fmt: skip
    held_out = coverage = None
    if config.held_out is not None:
        data = dataclasses.replace(config.data, source=config.held_out.source)
        unseen = make_batches(
            data, tokenizer, batch_size=config.batch_size, seed=0, rows=rows, repeat=False, also=reference.also_held_out
        )
        held_out = HeldOutLoss(
            model, config.objective, unseen, config.held_out.batches, mesh, config.chunk_size, reference
        )
    if config.coverage is not None:
        coverage = HeldOutCoverage(config.coverage, model, decoding_of(config, tokenizer), mesh, config.data.on_error)
    if config.early_stopping is not None:
        compared = reference_params(model, state, None)
        known = [*(held_out.names(state.params, compared) if held_out else ()), *(coverage.names if coverage else ())]
        known += [f"average/{name}" for name in known] if averages(state.opt_state) else []
        config.early_stopping.check(known)
    choose = make_chooser(config.live_filter, batches, model, config.objective, mesh, config.chunk_size)
    unseen_of = None if held_out is None else held_out.batches.made_of
    facts = made_of(tokenizer, batches.made_of, unseen_of, coverage, reference.fingerprint)
    facts |= {BASE: fingerprint_of(state.params[BASE])} if model.frozen else {}
    parts = (config, fit, folder, mesh, model, tokenizer, state, seed, reference, batches, choose)
    return Run(*parts, update, held_out, coverage, origin, facts, keeps_base)


def facts_of(config: Config) -> dict[str, str]:
    """What all hosts of a run must mean alike, by name: every setting, the data, the devices."""
    data = {"data": fingerprint_of_data(config.data)}
    for name, part in (("held-out data", config.held_out), ("coverage data", config.coverage)):
        data |= {} if part is None else {name: part.source.fingerprint()}
    settings = {name: value if len(value) < 200 else digest(value) for name, value in flatten(config).items()}
    return settings | data | hosts.device_facts()


def make_reference(
    config: Config, model: LanguageModel, start: Params, tokenizer: Tokenizer, mesh: Any, folder: pathlib.Path,
    new_adapter: bool = True, lost: bool = False,
) -> Reference:  # fmt: skip
    """What the objective compares with: the run's start or another model, as a frozen copy or as cached log-probs.

    The run folder keeps its fingerprint. A reference that has the base of the policy's adapter shares its arrays.

    Args:
        new_adapter: whether the adapter in `start`, if any, is fresh: then the base alone is the start.
        lost: whether `start` stands for a model that is gone, of which a reference that moves needs nothing.

    Raises:
        InputError: a resumed run would get another reference than it began with; another size of vocabulary.
    """
    if not getattr(config.objective, "needs_reference", False):
        return Reference()
    if VALUE in start:  # which no reference asks for
        start = {name: part for name, part in start.items() if name != VALUE}
        model = make_language_model(dataclasses.replace(model.config, value_head=None))
    params, adapted, adapter = start, bool(model.frozen), cast(Any, config.model.adapter)
    refresh = refresh_of(config.reference, config.objective)
    if config.reference.model is not None:
        try:
            loaded = load_any(
                config.reference.model, tokenizer=config.data.tokenizer and tokenizer.name, mesh=mesh,
                dtype=config.model.dtype, merge=not adapted, storage=adapter.base_dtype if adapted else "float32",
            )  # fmt: skip
        except InputError as error:
            raise InputError(
                f"the model that the objective compares with, reference.model={config.reference.model!r}, cannot be "
                f"loaded: {error}; bring it back"
            ) from error
        if loaded.model.config.vocab_size != model.config.vocab_size:
            raise InputError(
                f"reference.model={config.reference.model!r} has {loaded.model.config.vocab_size} tokens, the policy "
                f"{model.config.vocab_size}; they must share a tokenizer"
            )
        model, params = loaded.model, loaded.params
        if adapted:  # the policy's own base is not kept twice
            params = params if model.frozen else {BASE: params}
            same = fingerprint_of(params[BASE]) == fingerprint_of(start[BASE])
            params = {**params, BASE: start[BASE]} if same else params
    elif adapted and new_adapter and refresh is None:
        model = make_language_model(dataclasses.replace(model.config, adapter=None))
        params = {BASE: start[BASE]}
    elif adapted:
        params = {**jax.tree.map(jnp.copy, model.trained(start)), BASE: start[BASE]}
    if refresh is not None and jax.tree.map(jnp.shape, dict(params)) != jax.tree.map(jnp.shape, dict(start)):
        raise InputError(
            f"reference.model={config.reference.model!r} has parameters of other shapes than the policy, by which "
            "reference.refresh_every would renew it; leave reference.model out, or name a model of the same shape and "
            "adapter"
        )
    alone = adapted and not model.frozen
    own = params[BASE] if alone else params
    fingerprint = _kept_fingerprint(folder / REFERENCE) if lost and refresh is not None else fingerprint_of(own)
    hosts.on_first(lambda: _keep_fingerprint(folder / REFERENCE, fingerprint))
    if config.reference.kind == "frozen":
        # A copy, because the step reuses the buffers of the state.
        params = jax.tree.map(jnp.copy, params) if params is start else params
        policy = frozen_reference(model, config.chunk_size)
        of_base = lambda params: policy(params[BASE])
        return Reference(
            of_base if alone else policy, params, fingerprint=fingerprint, shape=model.config, refresh=refresh
        )
    belongs_to = {
        "weights": fingerprint,
        "precision": model.config.dtype,
        "tokenizer": tokenizer.fingerprint,
        "task": config.data.task.name,
        # One by one, so that a refusal names the one that differs, such as task.template.
        **{f"task.{name}": repr(value) for name, value in written_settings(config.data.task).items()},
    }
    score = make_scorer(model, own, mesh, config.chunk_size)

    def logprobs(kind: str, index: Index) -> dict[str, Any]:
        cache = Cache(pathlib.Path(config.reference.cache_dir) / kind, belongs_to)
        shape = {"rows": config.batch_size, "length": config.data.sequence_length, "pad_id": tokenizer.pad_id}
        return {"reference_logprob": cache.logprobs(index, score, **shape)}

    return Reference(cached_reference, None, partial(logprobs, "train"), partial(logprobs, "held_out"), fingerprint)


def _keep_fingerprint(file: pathlib.Path, fingerprint: str) -> None:
    """Keep the reference's fingerprint in the run folder, or refuse another one."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"weights": fingerprint}))
        return
    if (kept := _kept_fingerprint(file)) != fingerprint:
        raise InputError(
            f"{file} says that this run began with a reference of fingerprint {kept}, but it is {fingerprint} now: the "
            "model it started from has changed; bring that back, or start again with another --run_dir"
        )


def _kept_fingerprint(file: pathlib.Path) -> str:
    """The fingerprint in a file that `_keep_fingerprint` wrote."""
    try:
        return str(json.loads(file.read_text())["weights"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} cannot be read ({error!r:.80}); expected the fingerprint of the reference that this run began "
            "with: if the model it started from is unchanged, delete this file, and it is written again"
        ) from error
