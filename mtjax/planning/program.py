"""The programs that a plan compiles: the whole training step of a config, prefill, and the decoding of one token."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from mtjax.config import Config
from mtjax.distributed import sharding
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.optim import make_optimizer
from mtjax.planning.flops import dot_flops, model_flops
from mtjax.planning.shapes import batch_shape, model_shape, reference_shape
from mtjax.runs.assembly import check_mesh
from mtjax.training import step as stepping
from mtjax.training.reference import cached_reference, frozen_reference
from mtjax.types import LanguageModel

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
    program = stepping.make_step_program(
        model,
        config.objective,
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
    gathers = hasattr(config.objective, "statistics")
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
