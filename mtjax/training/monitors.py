"""Measurements during a run besides the training loss: loss and pass@k on held-out sources."""

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt
from jaxtyping import Int

from mtjax.data.batches import Batches
from mtjax.data.examples import encode_prompt
from mtjax.data.problem import OnError
from mtjax.data.sources import AnySource
from mtjax.errors import InputError
from mtjax.evaluation.coverage import pass_at_k
from mtjax.evaluation.grading import check_gold, grade
from mtjax.model.policy import make_policy
from mtjax.objectives.dco import dco_weight
from mtjax.objectives.sequences import confidence
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoding import Decoding
from mtjax.sampling.texts import sample_texts
from mtjax.sharing import shared
from mtjax.training.memory import Memory, running_names
from mtjax.training.reference import Reference
from mtjax.training.step import place_batch
from mtjax.types import LanguageModel, Mean, Objective, Params
from mtjax.validation import PositiveInt, check_types

LONGEST = 256  # longest answer in tokens, where the settings do not say


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverageConfig:
    """On which problems pass@k is measured during a run, and how."""

    source: AnySource  # Where the problems come from, never trained on; their prompts are those of the run's own task.
    every: PositiveInt = 200  # Steps between measurements, besides one before the first step and one after the last.
    samples: PositiveInt = 16  # Answers drawn per problem.
    ks: tuple[int, ...] = ()
    """For which k to log pass@k, each at most `samples`; 1 is always among them. Empty gives 1 and `samples`."""
    max_tokens: PositiveInt | None = None  # Longest answer in tokens; None takes 256, or what the model has room for.
    temperature: Annotated[float, Gt(0)] = 1.0  # Sampling temperature.
    limit: PositiveInt | None = 100  # Use the first so many problems; None takes all.
    rows: PositiveInt = 256  # Answers that are drawn side by side.
    seed: int = 0  # Random seed, the same at every measurement, so that measurements differ by the model alone.

    def __post_init__(self) -> None:
        check_types(self, "coverage")
        if beyond := [k for k in self.ks if not 1 <= k <= self.samples]:
            raise InputError(f"coverage.ks={beyond[0]}: expected 1 to coverage.samples={self.samples}; raise samples")

    @property
    def all_ks(self) -> tuple[int, ...]:
        """The k that are logged, ascending."""
        return tuple(sorted({1, *(self.ks or (self.samples,))}))


class HeldOutCoverage:
    """Samples answers to the held-out problems and grades them. The numbers depend on the parameters alone."""

    def __init__(
        self,
        settings: CoverageConfig,
        model: LanguageModel,
        decoding: Decoding,
        mesh: Any,
        on_error: OnError = "raise",
    ):
        problems = list(settings.source.problems(on_error).items[: settings.limit])
        if not problems:
            raise InputError("coverage.source has no problems; check its split")
        self.settings, self.model, self.decoding, self.mesh = settings, model, decoding, mesh
        tokenizer, task = decoding.tokenizer, decoding.task
        assert task is not None  # a run has one
        check_gold(problems)
        self.problems = problems
        self.prompts = [task.prompt(problem, None, tokenizer) for problem in problems]
        longest = max(len(encode_prompt(tokenizer, prompt)) for prompt in self.prompts)
        room = model.config.max_length - longest
        wanted = settings.max_tokens or min(LONGEST, room)
        if room < max(wanted, 1):
            raise InputError(
                f"a prompt of coverage.source has {longest} tokens and the model room for {model.config.max_length}: "
                f"that leaves no place for an answer of {max(wanted, 1)}; lower coverage.max_tokens"
            )
        sampling = SamplingConfig(settings.temperature, max_new_tokens=wanted, samples=settings.samples)
        self.sampling = decoding.sampling(sampling)

    def due(self, step: int, last: int) -> bool:
        """Whether to measure after `step`."""
        return step % self.settings.every == 0 or step == last

    @property
    def names(self) -> list[str]:
        """The numbers that tell a better model, of those that `measure` finds."""
        return [f"coverage/pass@{k}" for k in self.settings.all_ks]

    def measure(self, params: Params) -> dict[str, float]:
        """All numbers, by the names they are logged under.

        - `coverage/pass@k` for each k, and `coverage/pass@k_error`, see `sampling_errors`.
        - `coverage/cut`: share of answers that did not end by themselves.
        - `coverage/logprob`: log-probability of an answer, in nats; `coverage/confidence/...`: the share of answers
          with one in each range, such as -3 to -1.
        - `coverage/dco_weight`: mean of F(n, p) over the answers, n being `samples`: how much of its gradient dco would
          leave an answer like these. Likely answers are drawn more often, so it is lower than over the data.
        """
        settings = self.settings
        alone = self.mesh is None or self.mesh.size == 1
        with contextlib.nullcontext() if alone else jax.set_mesh(self.mesh):
            drawn = sample_texts(
                self.model, params, self.decoding.tokenizer, self.prompts, self.sampling, settings.seed,
                rows=settings.rows,
            )  # fmt: skip
        right = grade(drawn, self.problems).right.sum(axis=1)
        out: dict[str, float] = {}
        for k in settings.all_ks:
            out[f"coverage/pass@{k}"] = float(np.mean(pass_at_k(settings.samples, right, k)))
            out[f"coverage/pass@{k}_error"] = sampling_error(right, settings.samples, k)
        out["coverage/cut"] = float(np.mean([not sample.finished for row in drawn for sample in row]))
        logprob = jnp.asarray([sample.logprob for row in drawn for sample in row], jnp.float32)
        out["coverage/logprob"] = float(jnp.mean(logprob))
        out["coverage/dco_weight"] = float(jnp.mean(dco_weight(logprob, settings.samples)))
        shares = confidence(logprob, jnp.ones(logprob.shape, bool))
        return out | {f"coverage/{name}": float(share.value) for name, share in shares.items()}


def sampling_error(right: Int[np.ndarray, " N"] | Sequence[int], n: int, k: int) -> float:
    """Standard error of the mean pass@k over N fixed problems under repeated sampling of their answers.

    Formula: `sqrt(sum_i Var[pass_at_k(n, C, k)]) / N` with `C ~ Binomial(n, (c_i + 0.1) / (n + 0.2))`: the tenth keeps
    the rate of a problem that is never or always solved off 0 and 1. Measurements that share their seeds differ by
    less, so the error of a difference is overstated.

    >>> round(sampling_error([5] * 100, 10, 1), 4)  # sqrt(0.25 / 10 / 100)
    0.0158
    """
    counts = np.arange(n + 1)
    rate = (counts[:, None] + 0.1) / (n + 0.2)
    log_ways = np.array([math.lgamma(n + 1) - math.lgamma(c + 1) - math.lgamma(n - c + 1) for c in counts])
    chance = np.exp(log_ways + counts * np.log(rate) + (n - counts) * np.log1p(-rate))
    passes = np.asarray(pass_at_k(n, counts, k))
    variance = chance @ passes**2 - (chance @ passes) ** 2
    total = np.maximum(variance, 0)[np.asarray(right)].sum()
    return float(np.sqrt(total) / len(right))


@shared()
def _loss_program(model: LanguageModel, objective: Any, reference: Any, chunk: int) -> Any:
    """`(params, batch, reference_params, running) -> means by name` of a held-out batch, compiled."""

    def loss(params: Params, batch: Any, other: Any, running: Any) -> Any:
        policy = make_policy(model, params, chunk=chunk, targets_only=True)
        against = None if reference is None else reference(other)
        gather = getattr(objective, "statistics", None)
        known = {} if gather is None else {"statistics": gather(policy, batch, reference=against)}
        known |= {"running": running} if running else {}
        loss, metrics = objective(policy, batch, reference=against, key=jax.random.key(0), **known)
        means = {f"held_out/{name}": mean for name, mean in metrics.items() if isinstance(mean, Mean)}
        return {"held_out_loss": loss} | means

    return jax.jit(loss)


class HeldOutLoss:
    """Measures the objective's loss and metrics over the first `count` batches of a held-out source, at most one pass.

    `batches` are this host's rows, made with `repeat=False`: every example once, in a fixed order. An objective's batch
    statistics are those of each held-out batch; running ones are those of the training.
    """

    def __init__(
        self,
        model: LanguageModel,
        objective: Objective,
        batches: Batches,
        count: int,
        mesh: Any,
        chunk: int,
        reference: Reference | None = None,
    ):
        self.batches, self.mesh, self.reference = batches, mesh, reference or Reference()
        self.count = min(count, batches.steps_per_epoch)
        self.loss = _loss_program(model, objective, self.reference.policy, chunk)
        self.running = running_names(objective)

    def names(self, params: Params, compared: Params | None = None) -> list[str]:
        """What `measure` can find, without the histogram; nothing is computed."""
        with jax.set_mesh(self.mesh):
            batch = place_batch(self.batches.batch_at(0), self.mesh)
            found = jax.eval_shape(self.loss, params, batch, compared or self.reference.params, {})
        return sorted(name for name in found if not name.startswith("held_out/confidence/"))

    def measure(self, params: Params, compared: Params | None = None, memory: Memory | None = None) -> dict[str, float]:
        """`held_out_loss` (nats per unit of weight) and `held_out/NAME` of each metric of the objective.

        Each is its sum over the batches, divided once by its count. One of which the batches have nothing is left out.
        `compared` are the parameters of a reference that moves, and `memory` is that of the training state.
        """
        running = {name: memory[name] for name in self.running} if memory else {}
        other = self.reference.params if compared is None else compared
        with jax.set_mesh(self.mesh):
            placed = (place_batch(self.batches.batch_at(n), self.mesh) for n in range(self.count))
            parts = jax.device_get([self.loss(params, batch, other, running) for batch in placed])
        sums = {name: [sum(float(part[name][i]) for part in parts) for i in (0, 1)] for name in parts[0]}
        return {name: total / count for name, (total, count) in sums.items() if count}
