"""A run's model and batch as shapes: no weights, no data, no network."""

import dataclasses
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.batches import make_batches
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import ChatTask, CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError, suggest
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.sizes import SIZES
from mtjax.types import Batch

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
    if isinstance(task, ChatTask):  # needs a template that may be on the hub; its batches hold the same as these
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
