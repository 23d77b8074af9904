"""The training state: what it holds, where it lives, and how it is made."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Int, PRNGKeyArray

from mtjax.distributed import sharding
from mtjax.optim.averages import averaged
from mtjax.sharing import shared
from mtjax.training.memory import Memory
from mtjax.training.reference import compared_part
from mtjax.types import LanguageModel, Params, short_repr


@short_repr
class TrainState(NamedTuple):
    """All that training changes; the data position is the step."""

    step: Int[Array, ""] | Any  # updates done, int32
    params: Params | Any  # master parameters, float32; with an adapter, those of the base too, which stay as they are
    opt_state: Any  # the optimizer's state of what is trained, float32, split over the mesh like the parameters
    reference: Params | Any = None  # trained parameters of a reference that moves, placed like those; None without one
    memory: Memory | Any = None  # what an objective keeps of examples and as running statistics; None without one


def state_shardings(
    model: LanguageModel, optimizer: optax.GradientTransformation, mesh: Mesh, moving: bool = False
) -> TrainState:
    """Where each leaf of the training state lives: moments like their parameters, the rest on every device.

    `moving` says whether the state has a reference that moves.
    """
    params = model.trained(jax.eval_shape(model.init, jax.random.key(0)))
    placed, whole = sharding.shardings(model.axes, mesh), NamedSharding(mesh, jax.P())
    opt_state = sharding.follow(jax.eval_shape(optimizer.init, params), params, model.trained(placed), whole)
    return TrainState(whole, placed, opt_state, compared_part(model, placed) if moving else None)


def changing(model: LanguageModel, state: TrainState) -> TrainState:
    """The state with those parameters alone that training changes: what the step updates and a checkpoint holds."""
    return state._replace(params=model.trained(state.params))


def completed(model: LanguageModel, state: TrainState, params: Params) -> TrainState:
    """The reverse of `changing`: the state with the frozen parts of `params`."""
    return state._replace(params={**model.held(params), **state.params}) if model.frozen else state


def averaged_params(model: LanguageModel, state: TrainState) -> Params | None:
    """The average of the parameters that the optimizer keeps (`optim.averages`), complete; None where it keeps none."""
    found = averaged(state.opt_state, model.trained(state.params))
    return None if found is None else {**model.held(state.params), **found}


def params_to_use(model: LanguageModel, state: TrainState, optimizer: Any, weights: str = "auto") -> Params | None:
    """The parameters to measure, sample and export: as trained ("raw"), or their average; None where there is none.

    "auto" is the average where `optimizer` (the setting `optim.optimizer`) is schedule-free, else what was trained.
    """
    if weights == "average" or (weights == "auto" and getattr(optimizer, "is_average", False)):
        return averaged_params(model, state)
    return state.params


def init_state(
    model: LanguageModel,
    optimizer: optax.GradientTransformation,
    key: PRNGKeyArray,
    mesh: Mesh | None = None,
    params: Params | None = None,
) -> TrainState:
    """A fresh state at step 0: from `key`, or around given `params` (a warm start). Made where it lives.

    Frozen parts of `params` are shared and not copied, if they are on devices; of other parts, what they lack is made
    from `key`.
    """
    held = {} if params is None or not model.frozen else model.held(params)
    if not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(held)):
        places = None if mesh is None else model.held(state_shardings(model, optimizer, mesh).params)
        held = jax.device_put(held, places)
    program = _init_program(model, optimizer, mesh, bool(held))
    if not held:
        made: TrainState = program(key, params, held)
        return made
    return completed(model, program(key, model.trained(params), held), held)


@shared()
def _init_program(model: LanguageModel, optimizer: optax.GradientTransformation, mesh: Mesh | None, held: bool) -> Any:
    """The compiled part of `init_state`: `(key, params, held) -> state`; `held` says whether there are frozen parts."""

    def make(key: PRNGKeyArray, params: Params | None, held: Params) -> TrainState:
        if params is None:
            params = model.init(key)
        elif model.complete is not None:
            params = model.trained(model.complete(key, {**params, **held}))
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(model.trained(params)))

    places = None if mesh is None else state_shardings(model, optimizer, mesh)
    return jax.jit(make, out_shardings=changing(model, places) if held and places is not None else places)
