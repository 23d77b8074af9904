"""One training step: the loss's sum and count over micro-batches and the mesh, one division, one update."""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray

from mtjax.distributed.placement import place_rows, row_shards
from mtjax.errors import InputError
from mtjax.model.policy import make_policy
from mtjax.optim.parameters import with_rest
from mtjax.sharing import shared
from mtjax.training.memory import gathered, recalled, renewed, running_of, size_of
from mtjax.training.reference import Refresh
from mtjax.training.state import TrainState, changing, completed, state_shardings
from mtjax.training.workers import check_workers, worker_gradients
from mtjax.types import Batch, LanguageModel, Mean, Objective, Params, Policy, add_means

RUNNING = "running"  # the running statistics of an objective with `pool`, among its metrics
Updated = tuple[TrainState, dict[str, Any]]  # the state after an update, and metrics
StepFn = Callable[..., Updated]
"""`(state, batch, key, reference_params=None) -> (state, metrics)`; the state is donated, the reference is not."""


def place_batch(batch: Batch, mesh: Mesh | None) -> Batch:
    """Put this host's rows of a batch (`placement.own_rows`) on the mesh, split over `data` and `fsdp`."""
    placed: Batch = place_rows(batch, mesh)
    return placed


def check_rows(rows: int, micro_batches: int, mesh: Mesh | None) -> None:
    """InputError unless a batch of so many rows can be split over micro-batches and the devices that split rows."""
    shards = row_shards(mesh)[1]
    if rows % (micro_batches * shards):
        raise InputError(
            f"batch_size={rows} must be a multiple of micro_batches={micro_batches} times the {shards} devices "
            "that split rows (data x fsdp x expert); change --batch_size, --micro_batches or --mesh"
        )


def present(values: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a step as numbers, without those of which the batch has nothing.

    They are left out, because 0 would read as a measured value: a log-probability of 0 is certainty.
    """
    numbers = {name: float(value) for name, value in values.items()}
    own = ("loss", "grad_norm")  # never hidden: a loss that is not finite stops the run
    absent = [name for name, value in numbers.items() if math.isnan(value) and name not in own]
    absent += ["loss"] if numbers.get("empty") else []
    return {name: value for name, value in numbers.items() if name not in absent}


def strided(batch: Batch, count: int) -> Batch:
    """`[B, ...] -> [count, B / count, ...]`: row i goes to micro-batch i mod count.

    Consecutive blocks would move rows between devices; strides leave every row where it is.
    """
    split = lambda x: jnp.swapaxes(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 0, 1)
    return jax.tree.map(split, batch)


@shared()
def make_step_program(
    model: LanguageModel,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    micro_batches: int = 1,
    mesh: Mesh | None = None,
    reference: Callable[[Any], Policy] | None = None,
    refresh: Refresh | None = None,
    chunk: int = 128,
) -> Any:
    """The jitted step of one objective, for batches that are where they belong; also for lowering with shapes alone.

    Formula: `gradient = sum_m grad(total_m) / sum_m count_m` over micro-batches m, so any split of a batch gives the
    same update. A count of 0 gives gradient 0 and the metric `empty` 1. What an objective may ask for beside is in
    `mtjax.types.Objective`.

    Args:
        micro_batches: splits of the batch that run one after another, to save memory; divides the rows.
        mesh: None runs on one device.
        reference: makes the reference policy of the `reference_params` that the step is called with, which are an
            argument so that they are split over the mesh and never part of the program; see `training.reference`.
        refresh: how the reference moves; its parameters are then `TrainState.reference`, and no argument.
        chunk: positions whose logits exist at a time.

    Returns:
        a jitted function of state (`changing`), batch, key, reference parameters and frozen parameters; metrics hold
        `loss`, `grad_norm` and `grad_norm_l1` (before clipping), `empty`, `target_tokens`, `tokens` and the objective's
        means divided, all float32 scalars. A metric of which the batch has nothing (a count of 0) is NaN; see
        `present`. The reference is made of its own parameters and of the frozen ones.
    """
    gather: Any = getattr(objective, "statistics", None)
    pool: Any = getattr(objective, "pool", None)
    buffer: Any = getattr(objective, "buffer", None)
    advance: Any = getattr(objective, "advance", None)
    of_workers: Any = optimizer
    workers: int = getattr(optimizer, "workers", 0)
    if workers and buffer is not None:
        raise InputError(
            "optim.compression: a regularizer with form='buffered' counts over all workers; set form='global'"
        )
    if workers and pool is not None:
        raise InputError(
            f"optim.compression: objective:{getattr(objective, 'name', 'this')} compares all examples of the batch, "
            "and a worker has its own alone; leave optim.compression out"
        )
    reference_of = lambda other: None if reference is None else reference(other)

    def policy_of(params: Params, held: Params, key: PRNGKeyArray | None = None) -> Policy:
        whole = {**held, **params} if held else params
        if key is not None and model.with_noise is not None:
            whole = model.with_noise(whole, jax.random.fold_in(key, 1))
        return make_policy(model, whole, chunk=chunk, targets_only=True)

    def statistics_of(params: Params, batch: Batch, other: Any, held: Params) -> Any:
        return gather(policy_of(jax.lax.stop_gradient(params), held), batch, reference=reference_of(other))

    def pooled_of(
        params: Params, parts: Batch, other: Any, held: Params, key: PRNGKeyArray, running: Any
    ) -> tuple[Any, Any]:
        """What the objective resolved of all micro-batches, an axis of them in front; its running statistics."""
        policy = policy_of(jax.lax.stop_gradient(params), held)
        one = lambda part: pool(policy, part, reference=reference_of(other))
        first = lambda: jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], parts)))
        found = first() if micro_batches == 1 else jax.lax.map(one, parts)
        running = advance(running, found) if running else {}
        given = {"running": running} if running else {}
        return jax.lax.stop_gradient((objective.resolve(found, key, **given), running))  # type: ignore[attr-defined]

    def gradient_of(
        params: Params, batch: Batch, key: PRNGKeyArray, other: Any, held: Params, extra: Any, size: Any, so_far: Any
    ) -> Any:
        def total_loss(params: Params) -> tuple[Array, Any]:
            against, policy, sums = reference_of(jax.lax.stop_gradient(other)), policy_of(params, held, key), so_far
            given = dict(extra)
            if buffer is not None:
                own = jax.lax.stop_gradient(buffer(policy, batch))
                sums = own if so_far is None else add_means(so_far, own)
                given["buffered"] = sums
            loss, metrics = objective(policy, batch, reference=against, key=key, **given)
            metrics = gathered(metrics, batch, size)
            return loss.total, ((loss, metrics), sums)

        (_, (means, sums)), gradient = jax.value_and_grad(total_loss, has_aux=True)(params)
        return (gradient, means), sums

    def over_micro_batches(fn: Callable[..., Any], *parts: Any) -> Any:
        """The sum of the first result of `fn` over micro-batches, each of which gets the second one of the last."""
        first = jax.tree.map(lambda x: x[0], parts)
        if micro_batches == 1:
            return fn(*first, None)[0]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda *x: fn(*x, None), *first))

        def one(carry: Any, part: Any) -> tuple[Any, None]:
            own, after = fn(*part, carry[1])
            return (add_means(carry[0], own), after), None

        return jax.lax.scan(one, zeros, parts)[0][0]

    def step(state: TrainState, batch: Batch, key: PRNGKeyArray, other: Any = None, held: Any = None) -> Updated:
        held = held or {}
        other = other if refresh is None else state.reference
        other = {**held, **(other or {})} if held else other
        batch = batch if state.memory is None else recalled(state.memory, batch)
        extra, made = dict[str, Any](), lambda part, _: (statistics_of(state.params, part, other, held), None)
        if gather is not None:
            extra = {"statistics": over_micro_batches(made, strided(batch, micro_batches))}
        extra |= {"step": state.step} if getattr(objective, "by_step", False) else {}
        running = running_of(state.memory)
        if running and pool is None:
            running = jax.lax.stop_gradient(advance(running, extra["statistics"]))
        extra |= {"running": running} if running else {}

        def of_rows(batch: Batch, key: PRNGKeyArray, params: Params, other: Any, held: Params, extra: Any) -> Any:
            parts, keys = strided(batch, micro_batches), jax.random.split(key, micro_batches)
            pooled, running = None, extra.get("running", {})
            if pool is not None:
                found, running = pooled_of(params, parts, other, held, key, running)
                pooled, extra = {"pooled": found}, extra | ({"running": running} if running else {})

            def one(part: Batch, key: PRNGKeyArray, own: Any, so_far: Any) -> Any:
                return gradient_of(params, part, key, other, held, extra | (own or {}), size_of(state.memory), so_far)

            gradient, (loss, metrics) = over_micro_batches(one, parts, keys, pooled)
            return gradient, (loss, metrics if pool is None else {**metrics, RUNNING: running})

        whole = (state.params, other, held, extra)
        if workers:
            gradient, (loss, metrics) = worker_gradients(of_rows, workers, batch, key, *whole)
        else:
            gradient, (loss, metrics) = of_rows(batch, key, *whole)
        live = loss.count != 0  # true of NaN too, which must come to light
        count = jnp.where(live, loss.count, 1) / max(workers, 1)
        gradient = jax.tree.map(lambda g: jnp.where(live, g / count, 0), gradient)
        mean = lambda params: jax.tree.map(lambda g: g / count, of_rows(batch, key, params, *whole[1:])[0])
        own = optax.with_extra_args_support(optimizer)
        more = {"gradient_of": with_rest(mean, state.params)}  # for optimizers that look around, such as sophia
        updates, opt_state = own.update(gradient, state.opt_state, state.params, **more)
        running = running if pool is None else metrics.pop(RUNNING)
        params, compared = optax.apply_updates(state.params, updates), state.reference
        compared = compared if refresh is None else refresh.after(state.step + 1, compared, params)
        new = TrainState(state.step + 1, params, opt_state, compared, renewed(state.memory, metrics, running))
        log = {name: mean.or_nan for name, mean in metrics.items() if isinstance(mean, Mean)}
        log |= {
            "loss": loss.value,
            "target_tokens": loss.count,
            "tokens": jnp.sum(batch.segments > 0, dtype=jnp.float32),
        }
        if workers:
            log |= of_workers.metrics(opt_state)
            gradient = of_workers.gradient(opt_state)  # that of the batch is on no worker
        log |= {"grad_norm": optax.tree.norm(gradient), "grad_norm_l1": optax.tree.norm(gradient, ord=1)}
        return new, log | {"empty": jnp.asarray(loss.count == 0, jnp.float32)}

    placed = None if mesh is None else state_shardings(model, optimizer, mesh, refresh is not None)
    places = None if placed is None else (changing(model, placed), None)
    return jax.jit(step, donate_argnums=0, out_shardings=places)


def make_train_step(
    model: LanguageModel,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    micro_batches: int = 1,
    mesh: Mesh | None = None,
    **options: Any,
) -> StepFn:
    """`make_step_program` (with its options), compiled once, as a function of batches from the host or on the mesh.

    Its states are complete ones; frozen parameters are neither donated nor copied, and what the reference shares with
    them is not passed twice.
    """
    program = make_step_program(model, objective, optimizer, micro_batches=micro_batches, mesh=mesh, **options)
    own_shards, shards = row_shards(mesh)

    def run(state: TrainState, batch: Batch, key: PRNGKeyArray, reference_params: Any = None) -> Updated:
        rows = batch.tokens.shape[0] * shards // own_shards
        check_rows(rows, micro_batches, mesh)
        if workers := getattr(optimizer, "workers", 0):
            check_workers(rows, micro_batches, workers, mesh)
        with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
            placed = place_batch(batch, mesh)
            if not model.frozen:
                return program(state, placed, key, reference_params)
            held = model.held(state.params)
            own = None if reference_params is None else not_shared(reference_params, held)
            new, metrics = program(changing(model, state), placed, key, own, held)
        return completed(model, new, held), metrics

    return run


def not_shared(reference_params: Params, held: Params) -> dict[str, Any]:
    """The parts of a reference's parameters that are not the policy's own frozen ones."""
    return {name: part for name, part in reference_params.items() if part is not held.get(name)}
