"""The checks of the first batch that need a forward pass: each returns its line, or raises InputError."""

from collections.abc import Sequence

import numpy as np

from mtjax.distributed import hosts
from mtjax.errors import InputError
from mtjax.inspection.batch_view import BatchScores, PackedSequence
from mtjax.objectives.dco import Dco
from mtjax.training.reference import ReferenceConfig
from mtjax.types import Batch

Parts = Sequence[PackedSequence]

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""Allowed difference in nats between two ways of computing the same number. On a CPU, policy and reference came out
bit-equal, frozen or cached, in both types. Other devices may pack in another order and round float32 products too, so
off the CPU and in bfloat16, with its 8 bits, the mean over tokens is compared with the larger value; otherwise the
largest difference is compared with the smaller value."""


def check_finite(scores: BatchScores, parts: Parts) -> str:
    """Every target has a finite log-probability, and the loss is finite."""
    loss = float(scores.losses["own"].value)
    logprobs = [part.of(scores.policy.logprob)[part.targets] for part in parts]
    for part, logprob in zip(parts, logprobs, strict=True):
        if not np.isfinite(logprob).all():
            found = f"a target of example {part.name!r} has log-probability {logprob[~np.isfinite(logprob)][0]}"
            raise InputError(f"{found}; check the model and its precision")
    if not np.isfinite(loss):
        found = f"it is {loss} in a batch that begins with example {parts[0].name!r}"
        raise InputError(f"{found}; check the objective's settings")
    return f"{loss:.6g}; {-np.concatenate(logprobs).mean():.4g} nats a target"


def check_reference(scores: BatchScores, parts: Parts, settings: ReferenceConfig, precise: bool) -> str:
    """Policy and reference give the same log-probabilities, because the run starts from the reference.

    Targets are compared: a frozen reference scores no other tokens (`make_policy(targets_only=True)`).
    """
    gaps = [np.abs(part.of(scores.policy.logprob) - part.of(scores.reference))[part.targets] for part in parts]
    worst = int(np.argmax([gap.max(initial=0) for gap in gaps]))
    largest, mean = gaps[worst].max(initial=0), np.concatenate(gaps).mean()
    found, tolerance = (largest, TOLERANCE["float32"]) if precise else (mean, TOLERANCE["bfloat16"])
    if found <= tolerance:
        return f"as the policy: at most {largest:.1e} nats a token apart"
    way_out = "the copy is not of the weights that the run starts from: name its model with --reference.model"
    if settings.kind == "cached":
        way_out = f"the log-probabilities in {settings.cache_dir} are stale; delete that folder"
    raise InputError(
        f"policy and reference should agree at the start, but differ by {largest:.2g} nats at a token of example "
        f"{parts[worst].name!r} ({mean:.2g} on average; {tolerance:g} is allowed); {way_out}"
    )


def _equal(loss: float, expected: float, precise: bool, message: str, otherwise: str) -> str:
    """The message, where the two numbers agree."""
    if not abs(loss - expected) <= TOLERANCE["float32" if precise else "bfloat16"] * max(1.0, abs(expected)):
        raise InputError(f"{message}{otherwise}")
    return message


def check_start(scores: BatchScores, expected: float | None, precise: bool) -> str:
    """The loss equals its closed form for equal policy and reference, such as log 2."""
    loss, count = float(scores.losses["own"].value), float(scores.losses["own"].count)
    if expected is None or count == 0:
        why = "no closed form with these settings" if expected is None else "nothing in this batch counts"
        return f"not compared: {why}"
    otherwise = ", where policy and reference agree; fix the objective, or its property at_reference"
    return _equal(loss, expected, precise, f"loss {loss:.6f}, in closed form {expected:.6f}", otherwise)


def check_dco(scores: BatchScores, batch: Batch, parts: Parts, objective: Dco, precise: bool) -> str:
    """At n = 1, dco is the cross-entropy, summed (or averaged, as released) over each text's targets."""
    steps = batch.extras.get("step_ids") if objective.granularity == "step" else None
    nats = []
    for part in parts:
        weights = np.where(part.targets, part.weights, 0).astype(np.float64)
        weights = weights if steps is None else np.where(part.of(steps) > 0, weights, 0)
        if weights.any():
            total = -np.sum(weights * np.where(weights != 0, part.of(scores.policy.logprob), 0))
            nats.append(total / np.abs(weights).sum() if objective.reduction == "token_mean" else total)
    sums = np.sum(hosts.exchange([float(np.sum(nats)), len(nats)]), axis=0)  # of the texts of all hosts
    loss, expected = float(scores.losses["n = 1"].value), float(sums[0] / sums[1]) if sums[1] else 0.0
    message = f"at n = 1 {loss:.6g}, cross-entropy {expected:.6g}"
    return _equal(loss, expected, precise, message, " nats a text: they should be equal; fix the objective")
