"""The programs that a plan compiles: the complete training step of a config, prefill, and the decoding of one token."""

import dataclasses
import math
import pathlib
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.batches import make_batches
from mtjax.data.problem import Candidate, Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import CompletionTask
from mtjax.data.tasks.templated import TemplateTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed import sharding
from mtjax.distributed.placement import split_by_rows
from mtjax.distributed.sharding import device_bytes
from mtjax.errors import InputError, suggest
from mtjax.io.plain_snapshot import has_snapshot
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.sizes import SIZES
from mtjax.objectives.base import needs_pass
from mtjax.optim import make_optimizer
from mtjax.planning.flops import dot_flops, model_flops
from mtjax.planning.topologies import Hardware
from mtjax.runs.mesh_checks import check_mesh
from mtjax.runs.start import fitted_to, kept_start
from mtjax.runs.step_settings import check_batch, fit_of, settled, with_chunk
from mtjax.training import step as stepping
from mtjax.training.fitting import AUTO, memory_limit
from mtjax.training.memory import new_memory, placement
from mtjax.training.reference import cached_reference, compared_part, frozen_reference, refresh_of
from mtjax.training.state import changing, init_state, state_shardings
from mtjax.types import Batch, LanguageModel

DECORATION = re.compile(r"^meta-|-(instruct|chat|base|hf|it|v0\.1|v0\.2|v0\.3)\b")
CARRIED = {"smollm2": "smollm2-135m"}  # models that come with a package
LENGTH = 512  # of the row that shows the shape of a batch


class Planned(NamedTuple):
    """A program, traced and lowered, and what it works on."""

    lowered: Any  # ready to compile
    shape: DecoderConfig
    parameters: int  # how many the decoder has
    flops: int  # of all devices, counted in the jaxpr
    parts: dict[str, Any]  # abstract arrays with their shardings, by what they are, such as "parameters"
    donated: tuple[str, ...]  # names of the parts whose memory the program reuses for its results
    batch: str  # what one call works on, in words
    tokens: int  # positions that one call computes
    useful_flops: float  # of all devices, without recomputation


def placed(tree: Any, places: Any) -> Any:
    """Abstract arrays that know where they will be; `places` is one sharding or a tree of them."""
    place = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
    return jax.tree.map(place, tree, jax.tree.broadcast(places, tree))


def _params(model: LanguageModel, mesh: Mesh) -> Any:
    return placed(jax.eval_shape(model.init, jax.random.key(0)), sharding.shardings(model.axes, mesh))


def plan_program(config: Config, mesh: Mesh, phase: str) -> Planned:
    """Trace and lower the phase "train", "prefill" or "decode" of `config` on `mesh`; nothing is compiled or computed.

    Raises InputError for a mesh that does not divide model or rows, with the numbers.
    """
    shape = model_shape(config)
    model = make_language_model(shape)
    check_mesh(model, mesh, config.data.sequence_length)
    check_batch(config, mesh)
    made = _train(config, model, mesh) if phase == "train" else _serve(config, model, mesh, phase)
    program, arguments, (parts, *rest) = made
    with jax.set_mesh(mesh):  # which has no devices, so nothing else may run in it
        traced = program.trace(*arguments)
        # An encoder reads a prompt when it is complete, which is rare among the tokens that are decoded.
        branch = min if phase == "decode" else max
        lowered, flops = traced.lower(), dot_flops(traced.jaxpr.jaxpr, windows=shape.windows, branch=branch)
    all_of_them = [parts["parameters"], parts.get("frozen base")]
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(all_of_them))
    return Planned(lowered, shape, parameters, flops, parts, *rest)


def chosen(config: Config, mesh: Mesh, hardware: Hardware) -> Config:
    """The config with what a run of it would choose on such devices where it says auto.

    Raises InputError for a mesh that does not divide model or rows, as `plan_program` does.
    """
    shape = model_shape(config)
    model = make_language_model(shape)
    check_mesh(model, mesh, config.data.sequence_length)
    check_batch(config, mesh)
    config = with_chunk(config, shape, mesh)
    if AUTO not in (shape.remat, config.micro_batches):
        return config
    draft = dataclasses.replace(config, micro_batches=1) if config.micro_batches == AUTO else config
    parts = _train(draft, model, mesh)[2][0]
    held, gradient = device_bytes(parts), device_bytes(parts["parameters"])
    limit = memory_limit(hardware.memory, hardware.platform)
    return settled(config, model, fit_of(config, shape, mesh, held, gradient, limit))[0]


Program = tuple[Any, tuple[Any, ...], tuple[Any, ...]]
"""A jitted function, its arguments, and the fields of `Planned` from `parts` on."""


def _train(config: Config, model: LanguageModel, mesh: Mesh) -> Program:
    optimizer = make_optimizer(config.optim, config.steps)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda key: init_state(model, optimizer, key), key)
    refresh = refresh_of(config.reference, config.objective)
    if refresh is not None:
        state = state._replace(reference=compared_part(model, state.params))
    state = placed(state, state_shardings(model, optimizer, mesh, refresh is not None))
    objective = settings.objective_of(config)
    if (memory := placement(objective, mesh)) is not None:  # of at most as many examples as the run can see
        most = config.batch_size * config.data.segments * config.steps
        like = jax.eval_shape(lambda: new_memory(objective, most))
        state = state._replace(memory=placed(like, memory))
    held = model.held(state.params)
    batch = placed(batch_shape(config), split_by_rows(mesh))
    tokens, length = math.prod(batch.tokens.shape), batch.tokens.shape[-1]
    gathers = needs_pass(objective)
    useful = model_flops(model.config, state.params, tokens, length, 3 + gathers, held)
    compared, other = reference_shape(config, model.config), None
    policy: Any = cached_reference if getattr(config.objective, "needs_reference", False) else None
    if compared is not None:
        reference = make_language_model(dataclasses.replace(compared, adapter=None))
        shared = bool(model.frozen) and config.reference.model in (None, config.init_from)
        own = held["base"] if shared else state.params if refresh else _params(reference, mesh)
        other, policy = None if shared else own, frozen_reference(reference, config.chunk_size)
        if refresh is not None:  # it has the policy's own shape, and its parameters are part of the state
            compared = dataclasses.replace(model.config, value_head=None)
            other, policy = None, frozen_reference(make_language_model(compared), config.chunk_size)
        elif shared:
            of_base = policy
            policy = lambda params: of_base(params["base"])
        useful += model_flops(compared, own, tokens, length, 1 + gathers)
    options: dict[str, Any] = {
        "micro_batches": config.micro_batch_count,
        "mesh": mesh,
        "reference": policy,
        "refresh": refresh,
        "chunk": config.chunk_size,
    }
    program = stepping.make_step_program(model, objective, optimizer, **options)
    sides = f"{batch.tokens.shape[1]} x " if batch.tokens.ndim == 3 else ""
    micro = f", in {config.micro_batch_count} micro-batches" if config.micro_batch_count > 1 else ""
    words = f"{config.batch_size} rows of {sides}{length:,} tokens{micro}"
    state = changing(model, state)
    parts = {"parameters": state.params, "optimizer state": state.opt_state, "reference": other, "batch": batch}
    parts |= {} if state.reference is None else {"reference": state.reference}
    parts |= {} if state.memory is None else {"memory of examples": state.memory}
    arguments: tuple[Any, ...] = (state, batch, key, other)
    if held:
        parts["frozen base"], arguments = held, (*arguments, held)
    return program, arguments, (parts, ("parameters", "optimizer state"), words, tokens, useful)


def _serve(config: Config, model: LanguageModel, mesh: Mesh, phase: str) -> Program:
    """Prefill reads half a row into the cache; decoding adds one token to a full cache."""
    model = make_language_model(dataclasses.replace(model.config, adapter=None))  # an adapter is merged to decode
    shape, rows, length = model.config, config.batch_size, config.data.sequence_length
    read = length // 2 if phase == "prefill" else 1
    params = _params(model, mesh)
    with jax.set_mesh(mesh):  # its platform decides about pages
        cache = jax.eval_shape(lambda: model.init_cache(rows, length))
    # Keys and values of a decoder, in pages; those of an encoder-decoder; the tokens of a prompt for an encoder.
    names = {6: ("layers", None, "batch", "kv_heads", None, None), 5: ("layers", "batch", None, "kv_heads", None)}
    place = lambda x: NamedSharding(mesh, sharding.spec_of(names.get(x.ndim, ("batch", None))))
    cache = placed(cache, jax.tree.map(place, cache))
    tokens = placed(jax.ShapeDtypeStruct((rows, read), jnp.int32), split_by_rows(mesh))

    def run(params: Any, cache: Any, tokens: Any, positions: Any) -> Any:
        hidden, cache = model.decode(params, cache, tokens, positions)
        return model.logits(params, hidden[:, -1]), cache

    places = jax.tree.map(lambda x: x.sharding, cache)
    program = jax.jit(run, donate_argnums=1, out_shardings=(split_by_rows(mesh), places))
    useful = model_flops(shape, params, rows * read, read if phase == "prefill" else 2 * length, 1)
    useful -= 2 * shape.width * shape.vocab_size * rows * (read - 1)  # only a row's last position meets the head
    words = f"{rows} rows, {read} new token{'s' * (read > 1)} each, a cache of {length:,}"
    parts = {"parameters": params, "cache": cache, "batch": tokens}
    return program, (params, cache, tokens, tokens), (parts, ("cache",), words, rows * read, useful)


def shape_of(name: str) -> DecoderConfig:
    """The shape of the model called `name`, without its weights; InputError for an unknown name.

    The `config.json` of a local folder has it, or the snapshot of a run; a hub id is looked up in the table of
    published sizes, without `meta-`, `-Instruct` and the like.

    >>> shape_of("meta-llama/Llama-3.1-8B-Instruct").layers
    32
    """
    folder = pathlib.Path(name).expanduser()
    if (folder / "config.json").is_file():
        return huggingface.read_config(folder)
    if has_snapshot(folder):
        kept = kept_start(folder)
        return model_shape(settings.read_run(folder), None if kept is None else kept.shape)
    plain = DECORATION.sub("", name.rsplit("/", 1)[-1].lower())
    plain = CARRIED.get(plain, plain)
    if plain not in SIZES:
        raise InputError(
            f"the shape of model {name!r} is not known here: give a folder with its config.json (no weights needed), "
            f"or a name in mtjax/model/sizes.py; {suggest(plain, SIZES)}"
        )
    return SIZES[plain]


def model_shape(config: Config, start: DecoderConfig | None = None) -> DecoderConfig:
    """The decoder that a run of `config` trains: as in `runs.warm_start.make_model`, without loading anything.

    `start` is the shape that its run folder keeps of the model in `init_from`.
    """
    if config.init_from is not None:
        own = {
            name: getattr(config.model, name)
            for name in ("remat", "dtype", "attention", "adapter", "value_head", "lm_infinite", "neftune_alpha")
        }
        return dataclasses.replace(start or shape_of(config.init_from), **own)
    if config.data.tokenizer is None:
        raise InputError("data.tokenizer is not set and no init_from to take it from; e.g. --data.tokenizer=bytes")
    tokenizer = load_tokenizer(config.data.tokenizer)
    return fitted_to(dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size), tokenizer, new=True)[0]


def reference_shape(config: Config, policy: DecoderConfig) -> DecoderConfig | None:
    """The decoder of the frozen reference; None where the objective needs none or log-probabilities are cached."""
    if not getattr(config.objective, "needs_reference", False) or config.reference.kind != "frozen":
        return None
    if config.reference.model is None:
        return policy
    shape = dataclasses.replace(shape_of(config.reference.model), dtype=config.model.dtype)
    if shape.vocab_size != policy.vocab_size:
        raise InputError(
            f"reference.model={config.reference.model!r} has {shape.vocab_size} tokens, the policy "
            f"{policy.vocab_size}; they must share a tokenizer"
        )
    return shape


def batch_shape(config: Config) -> Batch:
    """A complete batch as shapes: the run's own task and packing, applied to one problem made up here."""
    task: Any = config.data.task
    if task.is_chat:  # in the template of the bytes tokenizer; its batches hold the same
        task = dataclasses.replace(task, system="") if isinstance(task, TemplateTask) else CompletionTask()
    if task.name == "pair":
        task = dataclasses.replace(task, full_per_problem=1)
    pair = Pair("", "1", "2", "full")
    drawn = tuple(
        Candidate(text, float(text == "1"), ids=(ord(text),), logprobs=(0.0,), proposal_logprobs=(0.0,))
        for text in "12"
    )
    problem = Problem("made up", "q", right=("1",), wrong=("2",), pairs=(pair,), success_rate=0.5, candidates=drawn)
    row: dict[str, Any] = {"sequence_length": LENGTH, "max_segments": config.data.segments, "boundary": "allow"}
    data = dataclasses.replace(config.data, source=InMemory((problem,)), task=task, cache_dir=None, **row)
    made = make_batches(data, load_tokenizer("bytes"), batch_size=1, seed=0).batch_at(0)
    shaped = lambda x, last: jax.ShapeDtypeStruct((config.batch_size, *x.shape[1:-1], last), x.dtype)
    length = config.data.sequence_length
    columns = {name: x.shape[-1] if name.startswith("segment_") else length for name, x in made.extras.items()}
    extras = {name: shaped(x, columns[name]) for name, x in made.extras.items()}
    tokens, weights, segments = (shaped(x, length) for x in (made.tokens, made.weights, made.segments))
    if getattr(config.objective, "needs_reference", False) and config.reference.kind == "cached":
        extras["reference_logprob"] = jax.ShapeDtypeStruct(tokens.shape, jnp.float32)
    return Batch(tokens, weights, segments, extras)
