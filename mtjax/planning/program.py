"""The programs that a plan compiles: the whole training step of a config, prefill, and the decoding of one token."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.batches import make_batches
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed import sharding
from mtjax.errors import InputError, suggest
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.sizes import SIZES
from mtjax.objectives import with_regularizers
from mtjax.optim import make_optimizer
from mtjax.planning.flops import dot_flops, model_flops
from mtjax.runs.assembly import check_mesh
from mtjax.training import step as stepping
from mtjax.training.reference import cached_reference, frozen_reference
from mtjax.types import Batch, LanguageModel

PHASES = ("train", "prefill", "decode")


class Planned(NamedTuple):
    """A program, traced and lowered, and what it works on.

    Attributes:
        lowered: ready to compile.
        shape: the decoder.
        parameters: how many it has.
        parts: abstract arrays by what they are, such as "parameters"; with their shardings.
        donated: names of the parts whose memory the program reuses for its results.
        batch: what one call works on, in words.
        tokens: positions that one call computes.
        flops: of all devices, counted in the jaxpr.
        useful_flops: of all devices, without recomputation.
    """

    lowered: Any
    shape: DecoderConfig
    parameters: int
    parts: dict[str, Any]
    donated: tuple[str, ...]
    batch: str
    tokens: int
    flops: int
    useful_flops: float


def placed(tree: Any, places: Any) -> Any:
    """Abstract arrays that know where they will be; `places` is one sharding or a tree of them."""
    if isinstance(places, NamedSharding):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=places), tree)
    return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree, places)


def plan_program(config: Config, mesh: Mesh, phase: str) -> Planned:
    """Trace and lower one of `PHASES` of `config` on `mesh`; nothing is compiled or computed.

    Raises:
        InputError: a mesh that does not divide model or rows, with the numbers.
    """
    shape = model_shape(config)
    model = make_language_model(shape)
    check_mesh(model, mesh, config.data.sequence_length)
    stepping.check_rows(config.batch_size, config.micro_batches, mesh)
    return _train(config, model, mesh) if phase == "train" else _serve(config, model, mesh, phase)


def _traced(program: Any, mesh: Mesh, windows: Sequence[int], *arguments: Any) -> tuple[Any, int]:
    """The program lowered, and the FLOPs counted in its jaxpr. Nothing else may run in the mesh: it has no devices."""
    with jax.set_mesh(mesh):
        traced = program.trace(*arguments)
        return traced.lower(), dot_flops(traced.jaxpr.jaxpr, windows=windows)


def _train(config: Config, model: LanguageModel, mesh: Mesh) -> Planned:
    shape = model.config
    optimizer = make_optimizer(config.optim, config.steps)
    state = stepping.state_shardings(model, optimizer, mesh)
    params = jax.eval_shape(model.init, jax.random.key(0))
    like = stepping.TrainState(jax.ShapeDtypeStruct((), jnp.int32), params, jax.eval_shape(optimizer.init, params))
    like = placed(like, state)
    rows = NamedSharding(mesh, sharding.spec_of(("batch",)))
    batch = placed(batch_shape(config), rows)
    compared, other, policy = reference_shape(config, shape), None, None
    if compared is not None:
        reference = make_language_model(compared)
        other = placed(jax.eval_shape(reference.init, jax.random.key(0)), sharding.shardings(reference.axes, mesh))
        policy = frozen_reference(reference, config.chunk)
    elif getattr(config.objective, "needs_reference", False):
        policy = cached_reference
    objective = with_regularizers(config.objective, config.regularizers)
    program = stepping.make_step_program(
        model,
        objective,
        optimizer,
        micro_batches=config.micro_batches,
        mesh=mesh,
        reference=policy,
        chunk=config.chunk,
    )
    lowered, flops = _traced(
        program, mesh, shape.windows, like, batch, jax.eval_shape(lambda: jax.random.key(0)), other
    )
    tokens, length = math.prod(batch.tokens.shape), batch.tokens.shape[-1]
    gathers = hasattr(objective, "statistics")
    useful = model_flops(shape, params, tokens, length, 3 + gathers)
    if compared is not None:
        useful += model_flops(compared, other, tokens, length, 1 + gathers)
    parts = {"parameters": like.params, "optimizer state": like.opt_state, "reference": other, "batch": batch}
    sides = f"{batch.tokens.shape[1]} x " if batch.tokens.ndim == 3 else ""
    return Planned(
        lowered,
        shape,
        _count(params),
        parts,
        ("parameters", "optimizer state"),
        f"{config.batch_size} rows of {sides}{length:,} tokens"
        + (f", in {config.micro_batches} micro-batches" if config.micro_batches > 1 else ""),
        tokens,
        flops,
        useful,
    )


def _serve(config: Config, model: LanguageModel, mesh: Mesh, phase: str) -> Planned:
    """Prefill reads a row of half the sequence length into the cache; decoding adds one token to a full cache."""
    shape = model.config
    rows, length = config.batch_size, config.data.sequence_length
    read = length // 2 if phase == "prefill" else 1
    params = placed(jax.eval_shape(model.init, jax.random.key(0)), sharding.shardings(model.axes, mesh))
    axes = sharding.spec_of(("layers", "batch", None, "kv_heads", "head_dim"))
    cache = placed(jax.eval_shape(lambda: model.init_cache(rows, length)), NamedSharding(mesh, axes))
    split = NamedSharding(mesh, sharding.spec_of(("batch",)))
    tokens = placed(jax.ShapeDtypeStruct((rows, read), jnp.int32), split)

    def run(params: Any, cache: Any, tokens: Any, positions: Any) -> Any:
        hidden, cache = model.decode(params, cache, tokens, positions)
        return model.logits(params, hidden[:, -1]), cache

    places = jax.tree.map(lambda x: x.sharding, cache)
    program = jax.jit(run, donate_argnums=1, out_shardings=(split, places))
    lowered, flops = _traced(program, mesh, shape.windows, params, cache, tokens, tokens)
    head = 2 * shape.width * shape.vocab_size
    body = model_flops(shape, params, rows * read, read if phase == "prefill" else 2 * length, 1)
    return Planned(
        lowered,
        shape,
        _count(params),
        {"parameters": params, "cache": cache, "batch": tokens},
        ("cache",),
        f"{rows} rows, {read} new token{'s' * (read > 1)} each, a cache of {length:,}",
        rows * read,
        flops,
        body - head * rows * (read - 1),  # only the last position of a row meets the head
    )


def _count(params: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


CARRIED = {"smollm2": "smollm2-135m"}


DECORATION = re.compile(r"^meta-|-(instruct|chat|base|hf|it|v0\.1|v0\.2|v0\.3)\b")


LENGTH = 512


def shape_of(name: str) -> DecoderConfig:
    """The shape of the model called `name`, without its weights.

    A local folder says it in its `config.json`, a run in its snapshot; a hub id is looked up in the table of published
    sizes, with `meta-`, `-Instruct` and the like left out.

    >>> shape_of("meta-llama/Llama-3.1-8B-Instruct").layers
    32

    Raises:
        InputError: a name that is neither.
    """
    folder = pathlib.Path(name).expanduser()
    if (folder / "config.json").is_file():
        return huggingface.read_config(folder)
    if (folder / "config.py").is_file():
        return model_shape(settings.read_file(folder / "config.py"))
    plain = DECORATION.sub("", name.rsplit("/", 1)[-1].lower())
    plain = CARRIED.get(plain, plain)
    if plain not in SIZES:
        raise InputError(
            f"the shape of model {name!r} is not known here: give a folder with its config.json (no weights needed), "
            f"or a name in mtjax/model/sizes.py; {suggest(plain, SIZES)}"
        )
    return SIZES[plain]


def model_shape(config: Config) -> DecoderConfig:
    """The decoder that a run of `config` trains: as `assembly.make_model` has it, without loading anything."""
    if config.init_from is not None:
        shape = shape_of(config.init_from)
        own = {name: getattr(config.model, name) for name in ("remat", "dtype", "attention")}
        return dataclasses.replace(shape, **own)
    if config.data.tokenizer is None:
        raise InputError("data.tokenizer is not set and no init_from to take it from; e.g. --data.tokenizer=bytes")
    return dataclasses.replace(config.model, vocab_size=load_tokenizer(config.data.tokenizer).vocab_size)


def reference_shape(config: Config, policy: DecoderConfig) -> DecoderConfig | None:
    """The decoder of the frozen reference; None where the objective needs none or log-probs are kept."""
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
    """A whole batch as shapes: made by the run's own task and packing from one problem made up here."""
    task: Any = config.data.task
    if task.is_chat:  # needs a template that may be on the hub; its batches hold the same as these
        task = CompletionTask()
    pair = Pair("", "1", "2", "full")
    problem = Problem("made up", "q", right=("1",), wrong=("2",), pairs=(pair,), success_rate=0.5)
    data = dataclasses.replace(
        config.data,
        source=InMemory((problem,)),
        task=task,
        sequence_length=LENGTH,
        max_segments=config.data.segments,
        boundary="allow",
        cache_dir=None,
    )
    if task.sides == 2:
        task = dataclasses.replace(task, full_per_problem=1)
        data = dataclasses.replace(data, task=task)
    made = make_batches(data, load_tokenizer("bytes"), batch_size=1, seed=0).batch_at(0)
    rows, length = config.batch_size, config.data.sequence_length

    def whole(x: Any, last: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *x.shape[1:-1], last), x.dtype)

    extras = {name: whole(x, x.shape[-1] if name.startswith("segment_") else length) for name, x in made.extras.items()}
    tokens, weights, segments = (whole(x, length) for x in (made.tokens, made.weights, made.segments))
    if getattr(config.objective, "needs_reference", False) and config.reference.kind == "cached":
        extras["reference_logprob"] = jax.ShapeDtypeStruct(tokens.shape, jnp.float32)
    return Batch(tokens, weights, segments, extras)
