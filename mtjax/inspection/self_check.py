"""The check before the first step: is the first batch what it should be, and do the losses start where they must?

Host checks look at the whole batch, the others at one forward pass over its first micro-batch. Nothing is changed.
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
from mtjax.inspection import batch_checks as host
from mtjax.inspection.batch_checks import Finding
from mtjax.inspection.batch_view import Look, Piece, look, pieces
from mtjax.objectives.dco import Dco
from mtjax.training.reference import Reference, ReferenceConfig
from mtjax.types import Batch, LanguageModel, Params

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""How far apart two ways to the same number may be, in nats. On a CPU, policy and reference came out equal to the bit,
frozen or cached, in both types. Other devices may compute another packing in another order, and round float32 products
too: off the CPU, and in bfloat16 with its 8 bits, the mean over tokens is compared by the looser one; else the largest
difference by the stricter."""


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
    """Check `batch`, the first of a fresh run at its start `params`; returns the verdict, a line for each check.

    Each of many hosts checks its own rows.

    Raises:
        InputError: the first thing that is not as it should be, with the example's name and the way out.
    """
    parts, task, truncation = pieces(batch, batches.ids), config.data.task, config.data.truncation
    if not any(hosts.exchange(len(parts))):
        return "check    the first batch is empty: nothing to look at"
    findings = [
        host.check_weights(parts),
        host.check_targets(parts, config.min_target_share),
        host.check_prompts(parts, task, tokenizer),
        host.check_whole(parts, task, tokenizer, truncation, batches.report.counts.truncated),
        host.check_ends(parts, task, tokenizer),
        host.check_begins(parts, tokenizer),
    ]
    findings += [host.check_pairs(parts)] if batch.tokens.ndim == 3 else []
    refuse(findings)
    if batch.tokens.shape[0] % (config.micro_batches * row_shards(mesh)[0]) == 0:  # if not, the step says so
        some = jax.tree.map(lambda x: np.asarray(x)[:: config.micro_batches], batch)  # the first micro-batch
        findings += _with_model(config, model, params, some, pieces(some, batches.ids), reference, mesh)
        refuse(findings)
    findings = [finding for finding in findings if finding.said]
    wide = max(len(finding.name) for finding in findings)
    lines = [f"{'' if n else 'check':<9}{found.name:<{wide}}  {found.said}" for n, found in enumerate(findings)]
    return "\n".join(lines)


def _with_model(
    config: Config,
    model: LanguageModel,
    params: Params,
    batch: Batch,
    parts: Sequence[Piece],
    reference: Reference,
    mesh: Any,
) -> list[Finding]:
    """What needs a forward pass."""
    dco = isinstance(config.objective, Dco)
    objectives = {"own": config.objective, **({"n = 1": AtOne(config.objective)} if dco else {})}
    seen = look(model, params, batch, objectives, mesh=mesh, chunk=config.chunk, reference=reference)
    precise = model.config.dtype == "float32" and jax.default_backend() == "cpu"
    if not parts:  # all this host's rows are empty
        return [check_dco(seen, batch, parts, config.objective, precise)] if dco else []
    findings = [check_finite(seen, parts)]
    if reference.policy is not None and config.reference.model is not None:
        findings.append(Finding("reference", f"{config.reference.model}, not the start: nothing to compare"))
    elif reference.policy is not None:
        findings.append(check_reference(seen, parts, config.reference, precise))
        findings.append(check_start(seen, getattr(config.objective, "at_reference", None), precise))
    return [*findings, check_dco(seen, batch, parts, config.objective, precise)] if dco else findings


def refuse(findings: Sequence[Finding]) -> None:
    """Raise InputError for the first finding with a refusal; further ones are named."""
    bad = [finding for finding in findings if finding.refusal]
    if bad:
        more = f" (also wrong: {', '.join(finding.name for finding in bad[1:])})" if bad[1:] else ""
        raise InputError(
            f"self-check of the first batch, {bad[0].name}: {bad[0].refusal}{more}; to start as it is: "
            "--self_check=False"
        )


class AtOne:
    """A `dco` objective at n = 1 for every example."""

    def __init__(self, objective: Dco):
        self.objective = dataclasses.replace(objective, n=1)

    def __call__(self, policy: Any, batch: Batch, **more: Any) -> Any:
        """The loss of the batch, whatever numbers of samples its examples bring."""
        extras = {name: x for name, x in batch.extras.items() if name != "segment_n"}
        return self.objective(policy, batch._replace(extras=extras), **more)


def check_finite(seen: Look, parts: Sequence[Piece]) -> Finding:
    """Every target has a finite log-probability, and the loss is finite."""
    loss = float(seen.losses["own"].value)
    for part in parts:
        scores = part.of(seen.scores.logprob)[part.targets]
        if not np.isfinite(scores).all():
            value = scores[~np.isfinite(scores)][0]
            refusal = (
                f"a target of example {part.name!r} has log-probability {value}; look at the model and its precision"
            )
            return Finding("loss", "", refusal)
    if not np.isfinite(loss):
        refusal = (
            f"it is {loss} in a batch that begins with example {parts[0].name!r}; look at the objective's settings"
        )
        return Finding("loss", "", refusal)
    targets = np.concatenate([part.of(seen.scores.logprob)[part.targets] for part in parts])
    return Finding("loss", f"{loss:.6g}; {-targets.mean():.4g} nats a target")


def check_reference(seen: Look, parts: Sequence[Piece], settings: ReferenceConfig, precise: bool) -> Finding:
    """Policy and reference say the same of every token: the reference is what the run starts from."""
    gaps = [np.abs(part.of(seen.scores.logprob) - part.of(seen.reference)) for part in parts]
    worst = int(np.argmax([gap.max(initial=0) for gap in gaps]))
    largest, mean = gaps[worst].max(initial=0), np.concatenate(gaps).mean()
    found, tolerance = (largest, TOLERANCE["float32"]) if precise else (mean, TOLERANCE["bfloat16"])
    said = f"as the policy: at most {largest:.1e} nats a token apart"
    if found <= tolerance:
        return Finding("reference", said)
    way_out = (
        f"the log-probs kept in {settings.cache_dir} are of something else: delete that folder"
        if settings.kind == "cached"
        else "the copy is not of the weights that the run starts from: name its model with --reference.model"
    )
    refusal = (
        f"policy and reference should agree at the start, but differ by {largest:.2g} nats at a token of example "
        f"{parts[worst].name!r} ({mean:.2g} on average; {tolerance:g} is allowed); {way_out}"
    )
    return Finding("reference", said, refusal)


def check_start(seen: Look, expected: float | None, precise: bool) -> Finding:
    """The loss has its closed form where policy and reference agree, such as log 2."""
    loss, count = float(seen.losses["own"].value), float(seen.losses["own"].count)
    if expected is None or count == 0:
        why = "no closed form with these settings" if expected is None else "nothing in this batch counts"
        return Finding("start", f"not compared: {why}")
    said = f"loss {loss:.6f}, in closed form {expected:.6f}"
    tolerance = TOLERANCE["float32" if precise else "bfloat16"] * max(1.0, abs(expected))
    if abs(loss - expected) <= tolerance:
        return Finding("start", said)
    refusal = f"{said}, where policy and reference agree; mend the objective, or its property at_reference"
    return Finding("start", said, refusal)


def check_dco(seen: Look, batch: Batch, parts: Sequence[Piece], objective: Dco, precise: bool) -> Finding:
    """At n = 1, dco is the cross-entropy, summed (or averaged, as released) over each text's targets."""
    steps = batch.extras.get("step_ids") if objective.granularity == "step" else None
    nats = []
    for part in parts:
        weights = np.where(part.targets, part.weights, 0).astype(np.float64)
        weights = weights if steps is None else np.where(part.of(steps) > 0, weights, 0)
        if weights.any():
            total = -np.sum(weights * np.where(weights != 0, part.of(seen.scores.logprob), 0))
            nats.append(total / np.abs(weights).sum() if objective.reduction == "token_mean" else total)
    sums = np.sum(hosts.exchange([float(np.sum(nats)), len(nats)]), axis=0)  # of the texts of all hosts
    loss, expected = float(seen.losses["n = 1"].value), float(sums[0] / sums[1]) if sums[1] else 0.0
    said = f"at n = 1 {loss:.6g}, cross-entropy {expected:.6g}"
    if abs(loss - expected) <= TOLERANCE["float32" if precise else "bfloat16"] * max(1.0, abs(expected)):
        return Finding("dco", said)
    return Finding("dco", said, f"{said} nats a text: they should be equal; mend the objective")
