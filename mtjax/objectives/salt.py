"""SALT: a small model teaches a large one for a while, then the data alone."""

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Le
from jaxtyping import Array, Float

from mtjax.objectives import base, confidence
from mtjax.objectives.base import Key, Outcome, Positive
from mtjax.types import Batch, Policy


def soft_cross_entropy(
    logits: Float[Array, "*N V"], teacher: Float[Array, "*N V"], rho: base.Number = 1.0
) -> Float[Array, "*N"]:
    """`-sum_v q_v log p_v` with `q = softmax(teacher / rho)` and p that of `logits`; no gradient through q.

    Its gradient on `logits` is `p - q`. A logit of -inf of both adds 0.
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    q = jax.lax.stop_gradient(jax.nn.softmax(teacher.astype(jnp.float32) / rho, axis=-1))
    return -jnp.sum(jnp.where(q > 0, q * jnp.where(q > 0, log_p, 0), 0), axis=-1)


@base.OBJECTIVES.register("salt")
@dataclasses.dataclass(frozen=True)
class Salt(base.Settings):
    """Two stages: distillation from a small, trained model, then plain cross-entropy.

    Formula: `sum_t w_t ((1 - o) (-log p_t) + o CE(q_t, p_t)) / sum_t w_t`, with q the teacher's distribution at
    temperature `rho` (the student's stays at 1) and o = `omega` for the first `teacher_steps` updates: until then
    (`end="step"`), or falling to 0 in a line (`end="linear"`). From then on it is `nll`.

    Want it when a small model of the same tokenizer is at hand (`reference.model`) and a larger one is to be trained
    for long: the teacher's targets have less variance at first; what it cannot teach comes from the data alone. With
    `teacher_steps` as long as the run it is plain distillation, which the authors find worse. The teacher runs in
    every step; to save its cost after `teacher_steps`, go on with `objective:nll` and --init_from.

    Needs the teacher's complete predictions, so not `reference.kind=cached`; a chunk of positions at a time.

    Metrics: `nll`, `teacher_ce` (CE(q, p), with a teacher), `omega`, `entropy`, `top1`.

    Source: Rawat et al., "A Little Help Goes a Long Way: Efficient LLM Training by Leveraging Small LMs", 2024 (arXiv
    2410.18779); omega and rho as recalled, and not to be taken for a reproduction.
    """

    needs_reference = True
    by_step: ClassVar[bool] = True

    teacher_steps: Annotated[int, Ge(0)] = 1000  # Updates with the teacher: 36,000 of about 208,000 in the paper.
    omega: Annotated[base.Number, Ge(0), Le(1)] = 0.667  # Share of the teacher in the loss.
    rho: Positive = 0.25  # Temperature of the teacher; below 1 sharpens.
    end: Literal["step", "linear"] = "step"  # How its share ends.

    def share(self, step: Any) -> Any:
        """The teacher's share after `step` updates; 0 where the step is not known."""
        if step is None or not self.teacher_steps:
            return jnp.float32(0)
        left = jnp.maximum(1 - jnp.asarray(step, jnp.float32) / self.teacher_steps, 0)
        return self.omega * (left if self.end == "linear" else jnp.asarray(left > 0, jnp.float32))

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, step: Any = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `step`, as in an evaluation, it is `nll`."""
        scores, omega = policy.scores(batch), self.share(step)
        nll, metrics = base.weighted_nll(scores, batch, batch.weights)
        taught = confidence.both_rows(
            policy, batch, reference, lambda own, theirs: soft_cross_entropy(own, theirs, self.rho), "salt"
        )
        teacher, _ = base.weighted_nll(scores._replace(logprob=-taught), batch, batch.weights)
        total = (1 - omega) * nll.total + omega * teacher.total
        metrics |= {"nll": nll, "teacher_ce": teacher, "omega": nll._replace(total=omega * nll.count)}
        return nll._replace(total=total), metrics
