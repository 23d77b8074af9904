"""The model that a run begins or goes on with: of `init_from`, of what the run keeps of that, or new."""

import contextlib
import dataclasses
import pathlib
from typing import Any

import jax

from mtjax.config import Config
from mtjax.data.tokenizer import BUILT_IN, Tokenizer, load_tokenizer
from mtjax.errors import InputError, note
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.runs.adapters import BASE, fitted, with_bank
from mtjax.runs.loading import load_any
from mtjax.runs.start import Start, describe, fitted_to, kept_start, with_end_ids
from mtjax.training.checkpoint import folders_of, saved_steps
from mtjax.training.reference import refresh_of
from mtjax.types import LanguageModel, Params

OWN = ("remat", "attention", "adapter", "value_head", "lm_infinite", "neftune_alpha")
"""What a checkpoint does not say and the run does: what the backward pass computes again, kernel, adapter, noise."""


def make_model(config: Config, mesh: Any, resumes: bool = False) -> tuple[LanguageModel, Params | None, Tokenizer]:
    """The model, warm parameters if any, and the tokenizer.

    Args:
        resumes: whether the parameters that training changes will be read from a checkpoint of `config.run_dir`. A
            start or a tokenizer that is gone is then replaced by what the run keeps of it, without warm parameters.

    Raises:
        InputError: no such start, or it is gone and the run needs its weights.
    """
    kept = kept_start(config.run_dir) if resumes else None
    named = _tokenizer_here(config, kept)
    if config.init_from is not None:
        adapter: Any = config.model.adapter
        try:
            if kept is not None and kept.shape is not None:
                _check_shape(config, kept.shape)
            loaded = load_any(
                config.init_from, tokenizer=named, mesh=mesh, dtype=config.model.dtype, merge=False,
                storage="float32" if adapter is None else adapter.base_dtype,
            )  # fmt: skip
        except InputError as error:
            if kept is None or kept.shape is None:
                raise
            _check_not_needed(config, error)
            tokenizer = with_end_ids(named, kept.tokenizer, kept.end_ids)[0]
            shape, tokenizer = fitted_to(_with_own(config, kept.shape), tokenizer)
            return make_language_model(shape), None, tokenizer
        model = make_language_model(_with_own(config, loaded.model.config))
        params = fitted(model, loaded.model, loaded.params)
        if getattr(adapter, "bank", ()) and "adapter" not in params:
            with_adapter = lambda name: load_any(name, mesh=mesh, merge=False, storage=adapter.base_dtype)[:2]
            params = with_bank(model, params, jax.random.key(config.seed), with_adapter)
        return model, params, loaded.tokenizer
    if getattr(config.model.adapter, "bank", ()):
        raise InputError("model.adapter.bank: its LoRA belong to a base model; name it with --init_from")
    if named is None:
        raise InputError("data.tokenizer is not set and no init_from to take it from; e.g. --data.tokenizer=bytes")
    tokenizer = load_tokenizer(named)
    shape = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    shape, tokenizer = fitted_to(shape, tokenizer, new=True)
    return make_language_model(shape), None, tokenizer


def begin_from(model: LanguageModel, start: Params) -> Params:
    """Parameters to start from that a caller gave: those of the model, or those of the base of its adapter."""
    if not model.frozen or BASE in start:
        return start
    return {BASE: jax.tree.map(lambda x: x.astype(model.config.adapter.base_dtype), start)}


def _with_own(config: Config, shape: DecoderConfig) -> DecoderConfig:
    """The shape of a start with what the run says of it."""
    return dataclasses.replace(shape, dtype=config.model.dtype, **{name: getattr(config.model, name) for name in OWN})


def _tokenizer_here(config: Config, kept: Start | None) -> str | None:
    """`data.tokenizer`, or the folder that the run keeps of it where that name leads nowhere any more."""
    name = config.data.tokenizer
    if name is None or kept is None or name in BUILT_IN or pathlib.Path(name).is_dir():
        return name
    with contextlib.suppress(InputError):  # an id of the hub
        load_tokenizer(name)
        return name
    note(f"tokenizer {name!r} is not here any more; {config.run_dir} goes on with the one that it keeps")
    return kept.tokenizer


def _check_shape(config: Config, was: DecoderConfig) -> None:
    """InputError where the model in `init_from` has another shape than it had when the run began."""
    now = describe(str(config.init_from))[0]
    # The run's tokenizer says what closes the prompts of an encoder.
    one, other = (dataclasses.replace(_with_own(config, shape), encoder=None) for shape in (now, was))
    if one != other:
        raise InputError(f"{config.init_from} is a model of another shape than it was")


def _check_not_needed(config: Config, error: InputError) -> None:
    """InputError where a run that goes on needs the weights of its start, which cannot be loaded; else a note."""
    place = folders_of(config.run_dir, config.checkpoint.folder)[0].parent
    compared = getattr(config.objective, "needs_reference", False) and config.reference.model is None
    needed = None
    if config.model.adapter is not None:
        needed = None if saved_steps(place / BASE) else "the base of its adapter"
    elif compared and refresh_of(config.reference, config.objective) is None:
        needed = "its reference"
    if needed is not None:
        raise InputError(
            f"{config.run_dir} needs the model that it started from (init_from={config.init_from!r}) as {needed}, and "
            f"it cannot be loaded: {error}; bring it back"
        ) from error
    note(f"init_from cannot be loaded ({error}); {config.run_dir} goes on with what it keeps of that model")
