"""A model to use, by any name: the run folder of a training run, or whatever `mtjax.model.catalog` knows."""

import dataclasses
import pathlib
from typing import Any, Literal, NamedTuple

import jax
from jax.sharding import Mesh, SingleDeviceSharding

from mtjax import config as settings
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.progress import progress
from mtjax.model import catalog
from mtjax.model.decoder import DecoderConfig
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import can_merge, make_language_model, without_adapter
from mtjax.optim import make_optimizer
from mtjax.runs.adapters import BASE, check_base, fitted, kept_base
from mtjax.runs.same_run import check_tokenizer
from mtjax.runs.start import describe, fitted_to, is_run, with_end_ids
from mtjax.sampling.decoding import Decoding
from mtjax.training.checkpoint import Unreadable, folders_of, read_state, saved_shapes, saved_steps
from mtjax.training.memory import placement
from mtjax.training.reference import refresh_of, with_moving_reference
from mtjax.training.state import TrainState, changing, completed, init_state, params_to_use, state_shardings
from mtjax.types import LanguageModel, Params, short_repr
from mtjax.validation import refuse_address

Storage = Literal["float32", "bfloat16"]  # type of parameters
Weights = Literal["auto", "raw", "average"]
Step = int | Literal["best"] | None  # of a run; None is the newest


@short_repr
class Loaded(NamedTuple):
    """A model that is ready to use."""

    model: LanguageModel  # its functions
    params: Params  # its parameters, float32
    tokenizer: Tokenizer  # its `end_ids` are all that end a text: its own, and those of the model's files
    end_ids: tuple[int, ...] = ()  # ids that end a text by the model's own files
    step: int | None = None  # which checkpoint of a run it is; None if it is not a run
    task: Task | None = None  # the task that a run was trained with; None if it is not a run
    stop: tuple[str, ...] = ()  # texts that end an answer of a run

    @property
    def decoding(self) -> Decoding:
        """How the model is asked, and what ends its answers."""
        return Decoding(self.tokenizer, self.task, self.stop)


def load_any(
    name: str,
    *,
    tokenizer: str | None = None,
    mesh: Mesh | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    step: int | Literal["best"] | None = None,
    merge: bool = True,
    storage: Storage = "float32",
    weights: Weights = "auto",
) -> Loaded:
    """The model called `name` with its tokenizer.

    Args:
        name: a run folder, a Hugging Face folder, one of a PEFT adapter, a hub id, or `smollm2`.
        tokenizer: another tokenizer than the model's own.
        mesh: split the parameters over it; None puts them on the first device.
        dtype: type to compute in; None is float32, or what the run computed in.
        step: which checkpoint of a run; "best" is the one with the lowest held-out loss, None takes the newest.
        merge: whether an adapter is merged into its base; otherwise the model has it, and parameters of both.
        storage: type of the parameters of a base, see `huggingface.load`.
        weights: of a run, the parameters that were trained or the average that the run keeps of them; "auto" is the
            average where the optimizer is schedule-free, else what was trained.

    Raises:
        InputError: no such model; a run folder without (such a) checkpoint; a tokenizer with more ids than the model.
    """
    refuse_address("model", name)
    with progress(f"loading {name}", None):
        return _load(name, tokenizer, mesh, dtype, step, merge, storage, weights)


def _load(
    name: str, tokenizer: str | None, mesh: Mesh | None, dtype: Literal["float32", "bfloat16"] | None,
    step: int | Literal["best"] | None, merge: bool, storage: Storage, weights: Weights,
) -> Loaded:  # fmt: skip
    folder = pathlib.Path(name).expanduser()
    if is_run(folder):
        shape, own, end_ids = describe(str(folder))
        its_tokenizer, end_ids = with_end_ids(tokenizer, own, end_ids)
        shape, its_tokenizer = fitted_to(shape, its_tokenizer)
        own_tokenizer = None if tokenizer else its_tokenizer
        model, params, taken = _read_run(folder, shape, mesh, dtype, step, own_tokenizer, weights)
        loaded = Loaded(model, params, its_tokenizer, end_ids, taken)
    elif step is not None:
        raise InputError(f"step={step}: only a run folder has steps, and {name!r} is none; leave --step out")
    elif weights != "auto":
        raise InputError(f"weights={weights}: {name!r} is not a run folder and has no average; leave --weights out")
    else:
        model, params = catalog.load_model(name, mesh=mesh, dtype=dtype, storage=storage)
        its_tokenizer, end_ids = with_end_ids(tokenizer, catalog.tokenizer_of(name), catalog.end_ids(name))
        shape, its_tokenizer = fitted_to(model.config, its_tokenizer)
        loaded = Loaded(make_language_model(shape), params, its_tokenizer, end_ids)
    if merge and can_merge(loaded.model):
        model, params = without_adapter(loaded.model, loaded.params)
        loaded = loaded._replace(model=model, params=params)
    rows = loaded.model.config.vocab_size
    if loaded.tokenizer.vocab_size > rows:
        raise InputError(
            f"tokenizer {loaded.tokenizer.name!r} has {loaded.tokenizer.vocab_size} ids, the model {name!r} {rows} "
            "rows: they do not belong together; choose another --tokenizer"
        )
    if loaded.step is not None:
        config = settings.read_run(folder)
        loaded = loaded._replace(task=config.data.task, stop=config.stop)
    return loaded


def decoding_of(config: settings.Config, tokenizer: Tokenizer) -> Decoding:
    """How the run of a config decodes; its tokenizer knows the end tokens of the model that it starts from."""
    return Decoding(tokenizer, config.data.task, stop=config.stop)


def named_step(name: str, step: Step = None) -> tuple[str, Step]:
    """The model and the step that a name means: `RUN/checkpoints/500` is step 500 of RUN; InputError for two steps."""
    path = pathlib.Path(name).expanduser()
    inside = path.name.isdigit() and path.parent.name in ("checkpoints", "best") and is_run(str(path.parent.parent))
    if not inside:
        return name, step
    if step is not None:
        raise InputError(f"{name} names a step already; leave --step={step} out")
    return str(path.parent.parent), "best" if path.parent.name == "best" else int(path.name)


def _weights(name: str, mesh: Mesh | None, dtype: Any, storage: Storage) -> tuple[LanguageModel, Params]:
    """Model and parameters of a start, with its adapter if it has one."""
    folder = pathlib.Path(name).expanduser()
    if not is_run(folder):
        return catalog.load_model(name, mesh=mesh, dtype=dtype, storage=storage)
    return _read_run(folder, describe(name)[0], mesh, dtype, None, None)[:2]


def _read_run(
    folder: pathlib.Path, shape: DecoderConfig, mesh: Mesh | None, dtype: Any, step: int | Literal["best"] | None,
    tokenizer: Tokenizer | None, weights: Weights = "auto",
) -> tuple[LanguageModel, Params, int]:  # fmt: skip
    """Model and parameters of a run, and the step of their checkpoint; its tokenizer is checked where one is given."""
    config = settings.read_run(folder)
    model = make_language_model(shape if dtype is None else dataclasses.replace(shape, dtype=dtype))
    # The optimizer's state is restored too and dropped, because a checkpoint is read as a whole.
    optimizer = make_optimizer(config.optim, config.steps)
    moving = refresh_of(config.reference, config.objective) is not None
    begun = lambda: init_state(model, optimizer, jax.random.key(0))
    like = jax.eval_shape(lambda: with_moving_reference(model, begun()) if moving else begun())
    one = SingleDeviceSharding(jax.local_devices()[0])
    places = jax.tree.map(lambda _: one, like) if mesh is None else state_shardings(model, optimizer, mesh, moving)
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
    # What the objective keeps is read too and dropped; the size of a memory of examples is that of the data.
    # A run of a version whose objective kept nothing has none.
    memory = placement(settings.objective_of(config), mesh)
    saved = {} if memory is None else saved_shapes(checkpoints)
    if memory is not None and all(f"memory/{name}" in saved for name in memory):
        like = like._replace(
            memory={
                name: jax.ShapeDtypeStruct(saved[f"memory/{name}"], "float32", sharding=at or one)
                for name, at in memory.items()
            }
        )
    if tokenizer is not None:
        check_tokenizer(checkpoints, taken, tokenizer)
    try:
        state: TrainState = read_state(checkpoints, taken, changing(model, like))
        held = kept_base(newest.parent, like.params[BASE]) if model.frozen else None
    except Unreadable as error:
        raise InputError(
            f"checkpoint {checkpoints / str(taken)} cannot be read ({error}); take another of the steps "
            f"{steps} with --step, or resume the run, which goes on from the one before"
        ) from error
    if model.frozen:
        if held is None:
            if config.init_from is None:
                raise InputError(
                    f"run folder {folder} lacks {newest.parent / BASE}, the base of its adapter; bring it back"
                )
            adapter: Any = config.model.adapter
            try:
                base = _weights(config.init_from, mesh, dtype, adapter.base_dtype)
            except InputError as error:
                raise InputError(
                    f"run folder {folder} holds an adapter, whose base is the model that it started from "
                    f"(init_from={config.init_from!r}), and that cannot be loaded: {error}; bring it back"
                ) from error
            held = fitted(model, *base)[BASE]
        check_base(checkpoints, taken, fingerprint_of(held), config.init_from or str(newest.parent / BASE))
        state = completed(model, state, {BASE: held})
    params = params_to_use(model, state, config.optim.optimizer, weights)
    if params is None:
        raise InputError(
            f"weights=average: run folder {folder} keeps no average of its parameters; leave --weights out, or "
            "train with optim.average:ema"
        )
    return model, params, taken
