"""The settings of a step that a run chooses where they are auto: `model.remat`, `micro_batches` and `chunk`."""

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh

from mtjax.config import Config
from mtjax.distributed import hosts
from mtjax.distributed.placement import row_shards
from mtjax.distributed.sharding import device_bytes, platform_of
from mtjax.errors import InputError
from mtjax.model.language_model import make_language_model
from mtjax.training.fitting import AUTO, Fit, chunk_for, counts_of, device_memory, fit, memory_limit
from mtjax.training.step import check_rows
from mtjax.training.workers import check_workers
from mtjax.types import LanguageModel


def check_batch(config: Config, mesh: Mesh, micro_batches: int | None = None) -> None:
    """InputError unless the devices, micro-batches and workers of a run divide its rows; auto is 1."""
    count = micro_batches or config.micro_batch_count
    check_rows(config.batch_size, count, mesh)
    if config.optim.compression is not None:
        check_workers(config.batch_size, count, config.optim.compression.workers, mesh)


def kept_if_possible(asked: Config, config: Config, mesh: Mesh) -> Config:
    """The config of a resumed run; micro-batches that it chose on other devices are chosen anew where they do not fit.

    `asked` is the config as the user gave it: a number there is never changed, and refused where it does not fit.
    """
    if asked.micro_batches == AUTO != config.micro_batches:
        try:
            check_batch(config, mesh)
        except InputError:
            return dataclasses.replace(config, micro_batches=AUTO)
    return config


def with_chunk(config: Config, shape: Any, mesh: Mesh) -> Config:
    """The config with a number as `chunk`, for a model of this shape (`DecoderConfig`)."""
    if config.chunk != AUTO:
        return config
    shards = row_shards(mesh)[1] * mesh.shape["context"] * mesh.shape["tensor"]
    positions = -(-_tokens(config) // shards)
    return dataclasses.replace(config, chunk=chunk_for(shape.vocab_size, positions, platform_of(mesh)))


def _tokens(config: Config) -> int:
    return config.batch_size * config.data.task.sides * config.data.sequence_length


def fit_of(config: Config, shape: Any, mesh: Mesh, held: int, gradient: int, limit: int) -> Fit:
    """The choice for a config whose `chunk` is a number; see `mtjax.training.fitting.fit`."""
    rows = config.batch_size // row_shards(mesh)[1]
    remats: Any = ("none", "dots", "full") if shape.remat == AUTO else (shape.remat,)
    counts = counts_of(rows, lambda count: check_batch(config, mesh, count), config.micro_batches)
    return fit(
        shape, _tokens(config), config.data.sequence_length, mesh,
        held=held, gradient=gradient, chunk=config.chunk_size,
        limit=limit, remats=remats, micro_batches=counts,
    )  # fmt: skip


def settle(config: Config, model: LanguageModel, mesh: Mesh, *held: Any) -> tuple[Config, LanguageModel, Fit]:
    """The config without auto, the model that it makes, and why.

    All hosts take what the first one chooses. `held` are trees of placed arrays that a step is called with, the
    parameters of the policy first; what several of them share counts once.
    """
    device = mesh.local_devices[0] if mesh.local_devices else jax.local_devices()[0]
    limit = memory_limit(device_memory(device), platform_of(mesh))
    leaves = {id(leaf): leaf for leaf in jax.tree.leaves(held)}
    sizes = device_bytes(list(leaves.values())), device_bytes(model.trained(held[0]))
    agreed: Any = hosts.on_first(lambda: list(fit_of(config, model.config, mesh, *sizes, limit)))
    found = Fit(*agreed)
    return *settled(config, model, found), found


def settled(config: Config, model: LanguageModel, found: Fit) -> tuple[Config, LanguageModel]:
    """Config and model with the settings of a choice."""
    own = dataclasses.replace(config.model, remat=found.remat)
    config = dataclasses.replace(config, model=own, micro_batches=found.micro_batches)
    if model.config.remat == found.remat:
        return config, model
    return config, make_language_model(dataclasses.replace(model.config, remat=found.remat))
