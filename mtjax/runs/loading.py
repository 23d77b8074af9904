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
from mtjax.training.checkpoint import folders_of
from mtjax.training.step import TrainState, init_state, state_shardings
from mtjax.types import LanguageModel, Params


class Loaded(NamedTuple):
    """A model that is ready to use.

    Attributes:
        model: its functions.
        params: its parameters, float32.
        tokenizer: its tokenizer.
        end_ids: ids that end a text by the model's own files, beside the tokenizer's end token.
        step: which checkpoint of a run it is; None where it is no run.
    """

    model: LanguageModel
    params: Params
    tokenizer: Tokenizer
    end_ids: tuple[int, ...] = ()
    step: int | None = None


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
    folder = pathlib.Path(name).expanduser()
    if _is_run(folder):
        loaded = _load_run(folder, tokenizer, mesh, dtype, step)
    elif step is not None:
        raise InputError(f"step={step}: only a run folder has steps, and {name!r} is none; leave --step out")
    else:
        model, params = catalog.load_model(name, mesh=mesh, dtype=dtype)
        place = name if tokenizer is None else tokenizer
        loaded = Loaded(model, params, load_tokenizer(str(place)), catalog.end_ids(name))
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
    own = config.data.tokenizer or ""
    if not own:
        raise InputError(f"{folder / 'config.py'} names no tokenizer; set data.tokenizer there")
    return dataclasses.replace(config.model, vocab_size=load_tokenizer(own).vocab_size), own, ()


def _load_run(
    folder: pathlib.Path,
    tokenizer_name: str | None,
    mesh: Mesh | None,
    dtype: Literal["float32", "bfloat16"] | None,
    step: int | Literal["best"] | None,
) -> Loaded:
    """Model, parameters and tokenizer of a run, as its snapshot and its checkpoints say."""
    from mtjax.training.checkpoint import Unreadable, read_state, saved_steps

    config = settings.read_file(folder / "config.py")
    shape, own, end_ids = _describe(str(folder))
    tokenizer = load_tokenizer(tokenizer_name or own)
    model = make_language_model(shape if dtype is None else dataclasses.replace(shape, dtype=dtype))
    # The optimizer's state is restored too and dropped: the checkpoint is one whole.
    optimizer = make_optimizer(config.optim, config.steps)
    like = jax.eval_shape(lambda: init_state(model, optimizer, jax.random.key(0)))
    one = SingleDeviceSharding(jax.local_devices()[0])
    places = jax.tree.map(lambda _: one, like) if mesh is None else state_shardings(model, optimizer, mesh)
    like = jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), like, places)
    newest, best = folders_of(folder, config.checkpoint.folder)
    checkpoints = best if step == "best" else newest
    # Looked up by name and only read, since the run may be going on: a folder counts once Orbax has renamed it.
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
    return Loaded(model, state.params, tokenizer, end_ids, taken)
