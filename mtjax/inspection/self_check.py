"""Self-check before the first step: is the first batch valid, and do the losses start where they must?

The checks of `batch_checks` read the entire batch; the checks here use one forward pass over its first micro-batch.
Nothing is changed.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mtjax.config import Config
from mtjax.data.batches import Batches
from mtjax.data.tokenizer import Tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.placement import row_shards
from mtjax.errors import InputError
from mtjax.inspection import batch_checks
from mtjax.inspection.batch_checks import Finding
from mtjax.inspection.batch_view import BatchScores, PackedSequence, score_batch, unpack_batch
from mtjax.objectives.dco import Dco
from mtjax.training.reference import Reference, ReferenceConfig
from mtjax.types import Batch, LanguageModel, Params

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""Allowed difference in nats between two ways of computing the same number. On a CPU, policy and reference came out
bit-equal, frozen or cached, in both types. Other devices may pack in another order and round float32 products too, so
off the CPU and in bfloat16, with its 8 bits, the mean over tokens is compared with the larger value; otherwise the
largest difference is compared with the smaller value."""


def self_check(
    config: Config,
    model: LanguageModel,
    params: Params,
    tokenizer: Tokenizer,
    batches: Batches,
    batch: Batch,
    reference: Reference,
    mesh: Any,
) -> str:
    """Check `batch`, the first of a new run with initial `params`; returns the report, one line per check.

    Each host checks its own rows.

    Raises:
        InputError: the first check that failed, with the example's name and what to do.
    """
    parts, task, truncation = unpack_batch(batch, batches.ids), config.data.task, config.data.truncation
    if not any(hosts.exchange(len(parts))):
        return "check    the first batch is empty: nothing to check"
    findings = [
        batch_checks.check_weights(parts),
        batch_checks.check_targets(parts, config.min_target_share),
        batch_checks.check_prompts(parts, task, tokenizer),
        batch_checks.check_whole(parts, task, tokenizer, truncation, batches.report.counts.truncated),
        batch_checks.check_ends(parts, task, tokenizer),
        batch_checks.check_begins(parts, tokenizer),
    ]
    findings += [batch_checks.check_pairs(parts)] if batch.tokens.ndim == 3 else []
    raise_first(findings)
    if batch.tokens.shape[0] % (config.micro_batches * row_shards(mesh)[0]) == 0:  # if not, the step says so
        some = jax.tree.map(lambda x: np.asarray(x)[:: config.micro_batches], batch)  # the first micro-batch
        findings += _with_model(config, model, params, some, unpack_batch(some, batches.ids), reference, mesh)
        raise_first(findings)
    findings = [finding for finding in findings if finding.message]
    wide = max(len(finding.name) for finding in findings)
    lines = [f"{'' if n else 'check':<9}{found.name:<{wide}}  {found.message}" for n, found in enumerate(findings)]
    return "\n".join(lines)


def _with_model(
    config: Config,
    model: LanguageModel,
    params: Params,
    batch: Batch,
    parts: Sequence[PackedSequence],
    reference: Reference,
    mesh: Any,
) -> list[Finding]:
    """The checks that need a forward pass."""
    dco = isinstance(config.objective, Dco)
    objectives = {"own": config.objective, **({"n = 1": AtOne(config.objective)} if dco else {})}
    scores = score_batch(model, params, batch, objectives, mesh=mesh, chunk=config.chunk, reference=reference)
    precise = model.config.dtype == "float32" and jax.default_backend() == "cpu"
    if not parts:  # all this host's rows are empty
        return [check_dco(scores, batch, parts, config.objective, precise)] if dco else []
    findings = [check_finite(scores, parts)]
    if reference.policy is not None and config.reference.model is not None:
        findings.append(Finding("reference", f"{config.reference.model}, not the start: nothing to compare"))
    elif reference.policy is not None:
        findings.append(check_reference(scores, parts, config.reference, precise))
        findings.append(check_start(scores, getattr(config.objective, "at_reference", None), precise))
    return [*findings, check_dco(scores, batch, parts, config.objective, precise)] if dco else findings


def raise_first(findings: Sequence[Finding]) -> None:
    """Raise InputError for the first finding with an error, and name the others."""
    bad = [finding for finding in findings if finding.error]
    if bad:
        more = f" (also failed: {', '.join(finding.name for finding in bad[1:])})" if bad[1:] else ""
        raise InputError(
            f"self-check of the first batch, {bad[0].name}: {bad[0].error}{more}; pass "
            "--self_check=False to start anyway"
        )


class AtOne:
    """A `dco` objective at n = 1 for every example."""

    def __init__(self, objective: Dco):
        self.objective = dataclasses.replace(objective, n=1)

    def __call__(self, policy: Any, batch: Batch, **more: Any) -> Any:
        """The loss of the batch, whatever numbers of samples its examples bring."""
        extras = {name: x for name, x in batch.extras.items() if name != "segment_n"}
        return self.objective(policy, batch._replace(extras=extras), **more)


def check_finite(scores: BatchScores, parts: Sequence[PackedSequence]) -> Finding:
    """Every target has a finite log-probability, and the loss is finite."""
    loss = float(scores.losses["own"].value)
    for part in parts:
        logprob = part.of(scores.policy.logprob)[part.targets]
        if not np.isfinite(logprob).all():
            value = logprob[~np.isfinite(logprob)][0]
            error = f"a target of example {part.name!r} has log-probability {value}; check the model and its precision"
            return Finding("loss", "", error)
    if not np.isfinite(loss):
        error = f"it is {loss} in a batch that begins with example {parts[0].name!r}; check the objective's settings"
        return Finding("loss", "", error)
    targets = np.concatenate([part.of(scores.policy.logprob)[part.targets] for part in parts])
    return Finding("loss", f"{loss:.6g}; {-targets.mean():.4g} nats a target")


def check_reference(
    scores: BatchScores, parts: Sequence[PackedSequence], settings: ReferenceConfig, precise: bool
) -> Finding:
    """Policy and reference give the same log-probabilities, because the run starts from the reference."""
    gaps = [np.abs(part.of(scores.policy.logprob) - part.of(scores.reference)) for part in parts]
    worst = int(np.argmax([gap.max(initial=0) for gap in gaps]))
    largest, mean = gaps[worst].max(initial=0), np.concatenate(gaps).mean()
    found, tolerance = (largest, TOLERANCE["float32"]) if precise else (mean, TOLERANCE["bfloat16"])
    message = f"as the policy: at most {largest:.1e} nats a token apart"
    if found <= tolerance:
        return Finding("reference", message)
    way_out = (
        f"the log-probabilities in {settings.cache_dir} are stale; delete that folder"
        if settings.kind == "cached"
        else "the copy is not of the weights that the run starts from: name its model with --reference.model"
    )
    error = (
        f"policy and reference should agree at the start, but differ by {largest:.2g} nats at a token of example "
        f"{parts[worst].name!r} ({mean:.2g} on average; {tolerance:g} is allowed); {way_out}"
    )
    return Finding("reference", message, error)


def check_start(scores: BatchScores, expected: float | None, precise: bool) -> Finding:
    """The loss equals its closed form for equal policy and reference, such as log 2."""
    loss, count = float(scores.losses["own"].value), float(scores.losses["own"].count)
    if expected is None or count == 0:
        why = "no closed form with these settings" if expected is None else "nothing in this batch counts"
        return Finding("start", f"not compared: {why}")
    message = f"loss {loss:.6f}, in closed form {expected:.6f}"
    tolerance = TOLERANCE["float32" if precise else "bfloat16"] * max(1.0, abs(expected))
    if abs(loss - expected) <= tolerance:
        return Finding("start", message)
    error = f"{message}, where policy and reference agree; fix the objective, or its property at_reference"
    return Finding("start", message, error)


def check_dco(
    scores: BatchScores, batch: Batch, parts: Sequence[PackedSequence], objective: Dco, precise: bool
) -> Finding:
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
    if abs(loss - expected) <= TOLERANCE["float32" if precise else "bfloat16"] * max(1.0, abs(expected)):
        return Finding("dco", message)
    return Finding("dco", message, f"{message} nats a text: they should be equal; fix the objective")
