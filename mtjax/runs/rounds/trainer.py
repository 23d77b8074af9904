"""The policy of a run of rounds: its state in memory, and the updates of one round on given problems."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.config import objective_of
from mtjax.data.batches import Batches, make_batches
from mtjax.data.index import NothingLeft
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.distributed import hosts
from mtjax.distributed.placement import own_rows
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import InputError, NonFiniteLoss
from mtjax.model.fingerprint import fingerprint_of
from mtjax.optim import make_optimizer
from mtjax.runs.adapters import BASE, kept_base
from mtjax.runs.assembly import make_reference
from mtjax.runs.folder import saved_in
from mtjax.runs.loading import decoding_of
from mtjax.runs.mesh_checks import check_mesh
from mtjax.runs.rounds.config import Rounds
from mtjax.runs.step_settings import settle, with_chunk
from mtjax.runs.warm_start import begin_from, make_model
from mtjax.training.checkpoint import Checkpoints, abstract_state, folders_of
from mtjax.training.reference import compared_part
from mtjax.training.state import TrainState, changing, completed, init_state, params_to_use
from mtjax.training.step import check_rows, make_train_step, present
from mtjax.types import Params

Log = Callable[[int, dict[str, float]], None]
"""Called with the number of an update, counted over all rounds, and its metrics."""


class Trained(NamedTuple):
    """What the training of one round came to."""

    updates: int  # updates that were made
    tokens: float  # tokens of their batches, padding not counted
    examples: int  # examples that the round's problems gave
    epochs: float  # passes over them
    left_out: int  # problems that cannot be tokenised, and examples that are too long
    means: dict[str, float]  # each metric, averaged over the updates that have it


NONE = Trained(0, 0.0, 0, 0.0, 0, {})


def closing(*all_of_them: Checkpoints) -> Callable[..., None]:
    """What a stack of contexts closes checkpoints with: not where another host may not come."""

    def leave(_: Any, error: BaseException | None, trace: Any) -> None:
        for checkpoints in all_of_them if hosts.count() == 1 or isinstance(error, NonFiniteLoss | None) else ():
            checkpoints.close()

    return leave


class Halted(Exception):
    """A signal came while a round was trained; what it did is dropped."""


class Trainer:
    """Model, optimizer, reference and state of a run; compiled programs are shared over rounds and runs.

    `start` are parameters to begin with in place of the config's. Raises InputError for settings that do not fit.
    """

    def __init__(self, config: Rounds, start: Params | None = None):
        c = config.train
        self.config, self.mesh = config, make_mesh(c.mesh)
        check_rows(c.batch_size, c.micro_batch_count, self.mesh)
        if c.optim.compression is not None:
            raise InputError("train.optim.compression is for many workers, which rounds do not have; leave it out")
        resumes = bool(saved_in(c)) and config.begin != "base"  # which begins each round with the weights of the start
        self.model, warm, self.tokenizer = make_model(c, self.mesh, resumes)
        warm = warm if start is None else begin_from(self.model, start)
        check_mesh(self.model, self.mesh, c.data.sequence_length)
        c = with_chunk(c, self.model.config, self.mesh)
        self.decoding = decoding_of(c, self.tokenizer)
        steps = config.total_updates or c.optim.schedule_steps or 1
        self.optimizer = make_optimizer(c.optim, steps)
        self.key = jax.random.key(c.seed)
        state = init_state(self.model, self.optimizer, self.key, self.mesh, warm)
        self.keeps_base = bool(self.model.frozen) and (c.init_from is None or start is not None)
        place = folders_of(c.run_dir, c.checkpoint.folder)[0].parent
        if self.keeps_base and not c.overwrite:
            held = kept_base(place, abstract_state(state.params[BASE]))
            state = state if held is None else state._replace(params={**state.params, BASE: held})
        new = warm is None or "adapter" not in warm
        folder = pathlib.Path(c.run_dir)
        reference = make_reference(c, self.model, state.params, self.tokenizer, self.mesh, folder, new_adapter=new)
        if reference.refresh is not None:
            state = state._replace(reference=compared_part(self.model, reference.params))
        self.reference = reference
        self.compared: Any = None if reference.refresh else reference.params
        self.base = None
        if config.begin == "base":
            self.base = jax.tree.map(jnp.copy, self.model.trained(state.params))
        self.state, self.updates = state, 0
        self.facts = {"tokenizer": self.tokenizer.identity[:16]}
        self.facts |= {BASE: fingerprint_of(state.params[BASE])} if self.model.frozen else {}
        c, self.model, self.fit = settle(c, self.model, self.mesh, state.params, state, reference.params)
        self.update = make_train_step(
            self.model, objective_of(c), self.optimizer, micro_batches=c.micro_batch_count, mesh=self.mesh,
            reference=reference.policy, refresh=reference.refresh, chunk=c.chunk_size,
        )  # fmt: skip

    @property
    def params(self) -> Params:
        """The parameters to sample and measure with, as they are in training: nothing is copied."""
        return params_to_use(self.model, self.state, self.config.train.optim.optimizer)  # type: ignore[return-value]

    @contextlib.contextmanager
    def on_mesh(self) -> Iterator[None]:
        """Sampling happens on all devices of the mesh."""
        with contextlib.nullcontext() if self.mesh.size == 1 else jax.set_mesh(self.mesh):
            yield

    def saved(self) -> TrainState:
        """The state as a checkpoint keeps it."""
        return changing(self.model, self.state)

    def restore(self, state: TrainState, updates: int) -> None:
        """Go on from the state of a checkpoint, after so many updates."""
        self.state, self.updates = completed(self.model, state, self.state.params), updates

    def begin_round(self) -> None:
        """Begin anew from the start model, or with a new state of the optimizer, where the settings say so."""
        if not self.config.starts_anew:
            return
        params = self.model.trained(self.state.params) if self.base is None else jax.tree.map(jnp.copy, self.base)
        held = self.model.held(self.state.params)
        fresh = init_state(self.model, self.optimizer, self.key, self.mesh, {**held, **params})
        self.state = fresh._replace(reference=self.state.reference)

    def own_reference(self) -> Params:
        """The part of the reference's parameters that renewing it changes."""
        return compared_part(self.model, self.compared)

    def renew_reference(self, params: Params | None = None) -> None:
        """Make the reference these parameters, or the policy as it is now."""
        own = jax.tree.map(jnp.copy, compared_part(self.model, self.state.params)) if params is None else params
        self.compared = {**self.compared, **own}

    def batches_of(self, problems: Sequence[Problem], number: int) -> Batches | None:
        """The training data of a round; None where the task finds nothing in them."""
        c = self.config.train
        # What the policy wrote may hold text that the tokenizer cannot write again: it is left out and counted.
        data = dataclasses.replace(
            c.data, source=InMemory(tuple(problems)), selections=(), cache_dir=None, max_repeats=1 << 30, workers=1,
            on_error="skip",
        )  # fmt: skip
        rows = own_rows(self.mesh, c.batch_size)
        seed = (c.seed * 1_000_003 + number) % 2**31
        repeat = self.config.updates is not None
        try:
            return make_batches(data, self.tokenizer, batch_size=c.batch_size, seed=seed, rows=rows, repeat=repeat)
        except NothingLeft:
            return None

    def train(self, problems: Sequence[Problem], number: int, log: Log, stopped: Callable[[], Any]) -> Trained:
        """The updates of round `number`; raises `Halted` when `stopped()`, and NonFiniteLoss.

        Raises:
            InputError: an objective that takes texts for drawn by the policy as it is would get several updates on
                them.
        """
        self.begin_round()
        batches = self.batches_of(problems, number) if problems else None
        if batches is None:
            return NONE
        each = batches.steps_per_epoch
        updates = self.config.updates or each * self.config.passes
        self._check_on_policy(updates)
        found: dict[str, list[float]] = {}
        waiting: tuple[int, Any, Any] | None = None

        def settle() -> None:
            nonlocal waiting
            if waiting is None:
                return
            at, values, examples = waiting
            waiting, values = None, {name: float(value) for name, value in jax.device_get(values).items()}
            if not np.isfinite([values["loss"], values["grad_norm"]]).all():
                there = [example for example in dict.fromkeys(examples.ravel().tolist()) if example >= 0]
                ids = ", ".join(batches.ids[example] for example in there[:8])
                raise NonFiniteLoss(
                    f"round {number}, update {at}: loss={values['loss']}, grad_norm={values['grad_norm']}; examples "
                    f"{ids}: lower train.optim.learning_rate, or look at these examples"
                )
            values = present(values)
            for name, value in values.items():
                found.setdefault(name, []).append(value)
            log(at, values)

        for step in range(updates):
            if stopped():
                raise Halted
            batch = batches.batch_at(step if self.config.updates else step % each)
            self.updates += 1
            key = jax.random.fold_in(self.key, self.updates)
            self.state, values = self.update(self.state, batch, key, self.compared)
            settle()
            waiting = (self.updates, values, batch.extras["segment_id"])
        settle()
        batches.close()
        tokens = sum(found.pop("tokens", []))
        means = {name: float(np.mean(values)) for name, values in found.items()}
        counts = batches.report.counts
        left_out = counts.skipped + counts.dropped
        return Trained(updates, tokens, len(batches.ids), updates / each, left_out, means)

    def _check_on_policy(self, updates: int) -> None:
        objective: Any = self.config.train.objective
        if updates > 1 and getattr(objective, "old", None) == "current":
            raise InputError(
                f"a round makes {updates} updates, but train.objective.old='current' is right for the first one alone; "
                "raise train.batch_size until the groups of a round fit into one batch, or set "
                "train.objective.old=recorded and train.data.task.logprobs=own"
            )
