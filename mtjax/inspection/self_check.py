"""Self-check before the first step: is the first batch valid, and do the losses start where they must?

A check returns its line for the report, "" for none, or raises InputError with what is wrong and what to do. The checks
of the data read the entire batch, the others one forward pass over its first micro-batch. Nothing is changed.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from mtjax.config import Config
from mtjax.data.batches import Batches
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.distributed import hosts
from mtjax.distributed.placement import row_shards
from mtjax.errors import InputError
from mtjax.inspection.batch_view import PackedSequence, score_batch, unpack_batch
from mtjax.inspection.score_checks import check_dco, check_finite, check_reference, check_start
from mtjax.objectives.dco import Dco
from mtjax.training.reference import Reference
from mtjax.types import Batch, LanguageModel, Params

Parts = Sequence[PackedSequence]


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
    shortened = batches.report.counts.truncated
    checks = {
        "weights": partial(check_weights, parts),
        "targets": partial(check_targets, parts, config.min_target_share, task.sides if task.ragged else 1),
        "prompt": partial(check_prompts, parts, task, tokenizer),
        "whole": partial(check_whole, parts, task, tokenizer, truncation, shortened),
        "end token": partial(check_ends, parts, task, tokenizer),
        "begin token": partial(check_begins, parts, tokenizer),
    }
    found = _run(checks | ({"pairs": partial(check_pairs, parts)} if task.name == "pair" else {}))
    if batch.tokens.shape[0] % (config.micro_batch_count * row_shards(mesh)[0]) == 0:  # if not, the step says so
        some = jax.tree.map(lambda x: np.asarray(x)[:: config.micro_batch_count], batch)  # the first micro-batch
        own = unpack_batch(some, batches.ids)
        found |= _run(_checks_of_scores(config, model, params, some, own, reference, mesh))
    shown = {name: message for name, message in found.items() if message}
    wide = max(map(len, shown))
    return "\n".join(f"{'' if n else 'check':<9}{name:<{wide}}  {shown[name]}" for n, name in enumerate(shown))


def _run(checks: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """The messages of all checks; InputError for the first that failed, with the names of the others."""
    found, errors = {}, {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except InputError as error:
            errors[name] = error
    if errors:
        first, *others = errors
        more = f" (also failed: {', '.join(others)})" if others else ""
        reason = f"self-check of the first batch, {first}: {errors[first]}{more}"
        raise InputError(f"{reason}; pass --self_check=False to start anyway")
    return found


def _checks_of_scores(
    config: Config, model: LanguageModel, params: Params, batch: Batch, parts: Parts, reference: Reference, mesh: Any
) -> dict[str, Callable[[], str]]:
    """The checks that need a forward pass, which runs here."""
    objectives, objective = {"own": config.objective}, config.objective
    if isinstance(objective, Dco):
        objectives["n = 1"] = partial(_at_one, objective)
    scores = score_batch(model, params, batch, objectives, mesh=mesh, chunk=config.chunk_size, reference=reference)
    precise = model.config.dtype == "float32" and jax.default_backend() == "cpu"
    checks: dict[str, Callable[[], str]] = {}
    if parts:  # else all rows of this host are empty
        checks["loss"] = partial(check_finite, scores, parts)
        if reference.policy is not None and config.reference.model is not None:
            checks["reference"] = lambda: f"{config.reference.model}, not the start: nothing to compare"
        elif reference.policy is not None:
            checks["reference"] = partial(check_reference, scores, parts, config.reference, precise)
            checks["start"] = partial(check_start, scores, getattr(objective, "at_reference", None), precise)
    if isinstance(objective, Dco):
        checks["dco"] = partial(check_dco, scores, batch, parts, objective, precise)
    return checks


def _at_one(objective: Dco, policy: Any, batch: Batch, **more: Any) -> Any:
    """A `dco` objective at n = 1 for every example, whatever numbers of samples the examples bring."""
    extras = {name: x for name, x in batch.extras.items() if name != "segment_n"}
    return dataclasses.replace(objective, n=1)(policy, batch._replace(extras=extras), **more)


def check_weights(parts: Parts) -> str:
    """Every weight is finite."""
    for part in parts:
        if not np.isfinite(part.weights).all():
            value = part.weights[~np.isfinite(part.weights)][0]
            raise InputError(f"example {part.name!r} has a token of weight {value}; fix data.task")
    return ""


def check_targets(parts: Parts, floor: float, sides: int = 1) -> str:
    """Of each `sides` sequences one has a target, and at least a share `floor` of all tokens are targets."""
    targets, tokens = sum(int(part.targets.sum()) for part in parts), sum(len(part.tokens) for part in parts)
    message = f"{targets / max(tokens, 1):.1%} of {tokens:,} tokens in {len(parts):,} texts"
    groups = [parts[start : start + sides] for start in range(0, len(parts), sides)]
    without = [group[0].name for group in groups if not any(part.targets.any() for part in group)]
    if without:
        what = "groups" if sides > 1 else "texts"
        raise InputError(
            f"no token of example {without[0]!r} is a target ({len(without)} of {len(groups)} {what}), so nothing is "
            "learned from it; look at it with `python -m mtjax.explain`, and check data.task and data.truncation"
        )
    if targets < floor * tokens:
        raise InputError(
            f"{message} are targets, expected at least {floor:.1%}; example {parts[0].name!r} has "
            f"{int(parts[0].targets.sum())} of {len(parts[0].tokens)}: check data.task, or lower --min_target_share"
        )
    return message


def check_prompts(parts: Parts, task: Any, tokenizer: Tokenizer) -> str:
    """The prompt is not trained, unless the task asks for it."""
    if getattr(task, "loss_on", None) == "all":
        return "trained, as data.task.loss_on='all' asks"
    for part in parts:
        if part.extras.get("without_prompt") or not len(part.tokens):
            continue
        begin = int(tokenizer.bos_id is not None and part.tokens[:1].tolist() == [tokenizer.bos_id])
        if (part.weights[begin:] != 0).all():
            raise InputError(f"every token of example {part.name!r} has a weight, its prompt too; fix data.task")
    return "context only"


def must_end(part: PackedSequence, task: Any) -> bool:
    """Whether an EOS token must close this text; not for pairs of steps, nor for pairs whose task adds none."""
    return bool(task.ends(part.extras)) if isinstance(task, Task) else True


def check_whole(parts: Parts, task: Any, tokenizer: Tokenizer, truncation: str, shortened: int) -> str:
    """No text has lost its end, or been shortened at all, unless data.truncation asks for it."""
    cut = [part for part in parts if must_end(part, task) and tokenizer.end_id not in part.tokens[-1:]]
    if cut and truncation != "keep":
        raise InputError(
            f"example {cut[0].name!r} has no end token where its text should end ({len(cut)} of {len(parts)} texts): "
            f"data.task left it out, or the end was cut off though data.truncation={truncation!r}; fix the task, or "
            "set data.truncation='keep' to train on texts without an end"
        )
    if shortened and truncation == "drop":
        raise InputError(f"{shortened} examples were shortened, though data.truncation='drop'; delete the data cache")
    if not (cut or shortened):
        return "nothing shortened"
    message = f"{shortened:,} examples of the data shortened, as data.truncation={truncation!r} asks"
    return message + (f"; {len(cut)} of {len(parts)} texts here have lost their end" if cut else "")


def check_ends(parts: Parts, task: Any, tokenizer: Tokenizer) -> str:
    """The EOS token of a finished answer is trained, once; a step in the middle of a solution has none.

    Only a conversation may have several, one after each turn.
    """
    end, several, ending, trained = tokenizer.end_id, getattr(task, "many_ends", False), 0, 0
    for part in parts:
        closed, there = must_end(part, task), end in part.tokens[-1:]
        if closed and not several and end in part.tokens[:-1][part.targets[:-1]]:
            raise InputError(
                f"example {part.name!r} has a trained end token before its end, where the model would learn to stop; "
                "take it out of the text, because the task adds one after it"
            )
        if closed and there and not part.targets[-1]:
            raise InputError(
                f"the end token of example {part.name!r} has weight {part.weights[-1]:g}, so the model would not learn "
                "to stop; fix data.task"
            )
        if not closed and end in part.tokens[part.targets]:
            raise InputError(
                f"example {part.name!r} is not to be ended, but has a trained end token, so the model would learn to "
                "stop in the middle of a solution; take it out of the text"
            )
        ending, trained = ending + closed, trained + (closed and there)
    message = f"trained in {trained} of {ending} texts" if ending else "none, and none is due"
    return message + (f"; {len(parts) - ending} go on" if 0 < ending < len(parts) else "")


def check_begins(parts: Parts, tokenizer: Tokenizer) -> str:
    """Each text starts with one BOS token where the tokenizer adds it, and has never two in a row."""
    if tokenizer.bos_id is None:
        return "none; the tokenizer adds none"
    for part in parts:
        begins = part.tokens == tokenizer.bos_id
        if not begins[:1].any():
            raise InputError(f"example {part.name!r} has no begin token at its start; fix data.task or the tokenizer")
        if (begins[1:] & begins[:-1]).any():
            raise InputError(
                f"example {part.name!r} has two begin tokens in a row; the tokenizer adds one, so take the other out "
                "of the template or the text"
            )
    return f"one before each of {len(parts)} texts"


def check_pairs(parts: Parts) -> str:
    """The targets of chosen and rejected differ."""
    for chosen, rejected in zip(parts[::2], parts[1::2], strict=True):
        if np.array_equal(chosen.tokens[chosen.targets], rejected.tokens[rejected.targets]):
            raise InputError(
                f"chosen and rejected of example {chosen.name!r} have the same targets, so nothing can be learned from "
                "them; check how the pairs were made"
            )
    return f"chosen and rejected differ in all {len(parts) // 2}"
