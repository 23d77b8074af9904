"""A model to use, by any name: the run folder of a training run, or whatever `mtjax.model.catalog` knows."""

import dataclasses
import pathlib
from typing import Literal, NamedTuple

import jax
from jax.sharding import Mesh, SingleDeviceSharding

from mtjax import config as settings
from mtjax.data.tokenizer import Tokenizer, load_tokenizer
from mtjax.errors import InputError
from mtjax.model import catalog
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.optim import make_optimizer
from mtjax.training.checkpoint import Unreadable, folders_of, read_state, saved_steps
from mtjax.training.step import TrainState, init_state, state_shardings
from mtjax.types import LanguageModel, Params
from mtjax.validation import refuse_address


class Loaded(NamedTuple):
    """A model that is ready to use."""

    model: LanguageModel  # its functions
    params: Params  # its parameters, float32
    tokenizer: Tokenizer
    end_ids: tuple[int, ...] = ()  # ids that end a text by the model's own files, besides the tokenizer's end token
    step: int | None = None  # which checkpoint of a run it is; None if it is not a run


def load_any(
    name: str,
    *,
    tokenizer: str | None = None,
    mesh: Mesh | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    step: int | Literal["best"] | None = None,
) -> Loaded:
    """The model called `name` with its tokenizer.

    Args:
        name: a run folder, a Hugging Face folder, a hub id, or `smollm2`.
        tokenizer: another tokenizer than the model's own.
        mesh: split the parameters over it; None puts them on the first device.
        dtype: type to compute in; None is float32, or what the run computed in.
        step: which checkpoint of a run; "best" is the one with the lowest held-out loss, None takes the newest.

    Raises:
        InputError: no such model; a run folder without (such a) checkpoint; a tokenizer with more ids than the model.
    """
    refuse_address("model", name)
    folder = pathlib.Path(name).expanduser()
    if _is_run(folder):
        shape, own, end_ids = _describe(str(folder))
        model = make_language_model(shape if dtype is None else dataclasses.replace(shape, dtype=dtype))
        its_tokenizer = load_tokenizer(tokenizer or own)
        params, taken = _read_params(folder, model, mesh, step)
        loaded = Loaded(model, params, its_tokenizer, end_ids, taken)
    elif step is not None:
        raise InputError(f"step={step}: only a run folder has steps, and {name!r} is none; leave --step out")
    else:
        model, params = catalog.load_model(name, mesh=mesh, dtype=dtype)
        loaded = Loaded(model, params, load_tokenizer(tokenizer or name), catalog.end_ids(name))
    rows = loaded.model.config.vocab_size
    if loaded.tokenizer.vocab_size > rows:
        raise InputError(
            f"tokenizer {loaded.tokenizer.name!r} has {loaded.tokenizer.vocab_size} ids, the model {name!r} {rows} "
            "rows: they do not belong together; choose another --tokenizer"
        )
    return loaded


def _is_run(folder: pathlib.Path) -> bool:
    return (folder / "config.py").is_file() and not (folder / "config.json").is_file()


def _describe(name: str) -> tuple[DecoderConfig, str, tuple[int, ...]]:
    """Shape, tokenizer and end ids of a model by name; a run that started from another model takes them from there."""
    folder = pathlib.Path(name).expanduser()
    if not _is_run(folder):
        return catalog.model_config(name), name, catalog.end_ids(name)
    config = settings.read_file(folder / "config.py")
    if config.init_from is not None:
        shape, own, end_ids = _describe(config.init_from)
        return dataclasses.replace(shape, dtype=config.model.dtype), config.data.tokenizer or own, end_ids
    if not config.data.tokenizer:
        raise InputError(f"{folder / 'config.py'} names no tokenizer; set data.tokenizer there")
    vocab_size = load_tokenizer(config.data.tokenizer).vocab_size
    return dataclasses.replace(config.model, vocab_size=vocab_size), config.data.tokenizer, ()


def _read_params(
    folder: pathlib.Path, model: LanguageModel, mesh: Mesh | None, step: int | Literal["best"] | None
) -> tuple[Params, int]:
    """The parameters of a run, and the step of their checkpoint."""
    config = settings.read_file(folder / "config.py")
    # The optimizer's state is restored too and dropped, because a checkpoint is read as a whole.
    optimizer = make_optimizer(config.optim, config.steps)
    like = jax.eval_shape(lambda: init_state(model, optimizer, jax.random.key(0)))
    one = SingleDeviceSharding(jax.local_devices()[0])
    places = jax.tree.map(lambda _: one, like) if mesh is None else state_shardings(model, optimizer, mesh)
    like = jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), like, places)
    newest, best = folders_of(folder, config.checkpoint.folder)
    checkpoints = best if step == "best" else newest
    # Looked up by name and only read, because the run may be going on: a folder counts once Orbax has renamed it.
    steps = saved_steps(checkpoints)
    if step == "best" and not steps:
        raise InputError(f"run folder {folder} has no best checkpoint: it measured no held-out loss; leave --step out")
    if not steps or (isinstance(step, int) and step not in steps):
        asked = "" if step is None else f"; got step={step}"
        raise InputError(f"run folder {folder} has checkpoints of steps {steps}{asked}; expected at least one")
    taken = step if isinstance(step, int) else steps[-1]
    try:
        state: TrainState = read_state(checkpoints, taken, like)
    except Unreadable as error:
        raise InputError(
            f"checkpoint {checkpoints / str(taken)} cannot be read ({error}); take another of the steps "
            f"{steps} with --step, or resume the run, which goes on from the one before"
        ) from error
    return state.params, taken
