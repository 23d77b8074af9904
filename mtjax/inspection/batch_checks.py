"""Checks of a batch that need no model: weights, targets, prompts, EOS and BOS tokens, pairs.

Each check takes the sequences of a batch (`batch_view.unpack_batch`) and returns a `Finding`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.inspection.batch_view import PackedSequence


class Finding(NamedTuple):
    """Result of one check."""

    name: str  # of the check, for the report
    message: str  # what was found, in a few words; "" leaves the check out of the report
    error: str = ""  # why the run must not start, and what to do; "" where the check passed


def check_weights(parts: Sequence[PackedSequence]) -> Finding:
    """Every weight is finite."""
    for part in parts:
        if not np.isfinite(part.weights).all():
            value = part.weights[~np.isfinite(part.weights)][0]
            return Finding("weights", "", f"example {part.name!r} has a token of weight {value}; fix data.task")
    return Finding("weights", "")


def check_targets(parts: Sequence[PackedSequence], floor: float) -> Finding:
    """Each sequence has a target, and at least a share `floor` of all tokens are targets."""
    targets, tokens = sum(int(part.targets.sum()) for part in parts), sum(len(part.tokens) for part in parts)
    message = f"{targets / max(tokens, 1):.1%} of {tokens:,} tokens in {len(parts):,} texts"
    without = [part.name for part in parts if not part.targets.any()]
    error = ""
    if without:
        error = (
            f"no token of example {without[0]!r} is a target ({len(without)} of {len(parts)} texts), so nothing is "
            "learned from it; look at it with `python -m mtjax.explain`, and check data.task and data.truncation"
        )
    elif targets < floor * tokens:
        error = (
            f"{message} are targets, expected at least {floor:.1%}; example {parts[0].name!r} has "
            f"{int(parts[0].targets.sum())} of {len(parts[0].tokens)}: check data.task, or lower --min_target_share"
        )
    return Finding("targets", message, error)


def check_prompts(parts: Sequence[PackedSequence], task: Any, tokenizer: Tokenizer) -> Finding:
    """The prompt is not trained, unless the task asks for it."""
    if getattr(task, "loss_on", None) == "all":
        return Finding("prompt", "trained, as data.task.loss_on='all' asks")
    if not task.prompt(Problem("", ""), None, tokenizer):
        return Finding("prompt", "not checked: it may be empty")
    for part in parts:
        begin = int(tokenizer.bos_id is not None and part.tokens[:1].tolist() == [tokenizer.bos_id])
        if (part.weights[begin:] != 0).all():
            return Finding(
                "prompt", "", f"every token of example {part.name!r} has a weight, its prompt too; fix data.task"
            )
    return Finding("prompt", "context only")


def must_end(part: PackedSequence, task: Any) -> bool:
    """Whether an EOS token must close this text; not for pairs of steps, nor for pairs whose task adds none."""
    return bool(task.ends(part.extras)) if isinstance(task, Task) else True


def check_whole(
    parts: Sequence[PackedSequence], task: Any, tokenizer: Tokenizer, truncation: str, shortened: int
) -> Finding:
    """No text has lost its end, or been shortened at all, unless data.truncation asks for it."""
    cut = [part for part in parts if must_end(part, task) and tokenizer.end_id not in part.tokens[-1:]]
    if cut and truncation != "keep":
        error = (
            f"example {cut[0].name!r} has no end token where its text should end ({len(cut)} of {len(parts)} texts): "
            f"data.task left it out, or the end was cut off though data.truncation={truncation!r}; fix the task, or "
            "set data.truncation='keep' to train on texts without an end"
        )
        return Finding("whole", "", error)
    if shortened and truncation == "drop":
        error = f"{shortened} examples were shortened, though data.truncation='drop'; delete the data cache"
        return Finding("whole", "", error)
    if not (cut or shortened):
        return Finding("whole", "nothing shortened")
    message = f"{shortened:,} examples of the data shortened, as data.truncation={truncation!r} asks"
    return Finding("whole", message + (f"; {len(cut)} of {len(parts)} texts here have lost their end" if cut else ""))


def check_ends(parts: Sequence[PackedSequence], task: Any, tokenizer: Tokenizer) -> Finding:
    """The EOS token of a finished answer is trained, once; a step in the middle of a solution has none.

    Only a conversation may have several, one after each turn.
    """
    end, several, ending, trained = tokenizer.end_id, getattr(task, "many_ends", False), 0, 0
    error = ""
    for part in parts:
        closed = must_end(part, task)
        there = end in part.tokens[-1:]
        if closed and not several and end in part.tokens[:-1][part.targets[:-1]]:
            error = (
                f"example {part.name!r} has a trained end token before its end, where the model would learn to stop; "
                "take it out of the text, because the task adds one after it"
            )
        elif closed and there and not part.targets[-1]:
            error = (
                f"the end token of example {part.name!r} has weight {part.weights[-1]:g}, so the model would not learn "
                "to stop; fix data.task"
            )
        elif not closed and end in part.tokens[part.targets]:
            error = (
                f"example {part.name!r} is not to be ended, but has a trained end token, so the model would learn to "
                "stop in the middle of a solution; take it out of the text"
            )
        if error:
            return Finding("end token", "", error)
        ending, trained = ending + closed, trained + (closed and there)
    message = f"trained in {trained} of {ending} texts" if ending else "none, and none is due"
    return Finding("end token", message + (f"; {len(parts) - ending} go on" if 0 < ending < len(parts) else ""))


def check_begins(parts: Sequence[PackedSequence], tokenizer: Tokenizer) -> Finding:
    """Each text starts with one BOS token where the tokenizer adds it, and has nowhere two in a row."""
    if tokenizer.bos_id is None:
        return Finding("begin token", "none, as the tokenizer wants it")
    for part in parts:
        begins = part.tokens == tokenizer.bos_id
        if not begins[:1].any():
            error = f"example {part.name!r} has no begin token in front; fix data.task, or the tokenizer"
            return Finding("begin token", "", error)
        if (begins[1:] & begins[:-1]).any():
            error = (
                f"example {part.name!r} has two begin tokens in a row; the tokenizer adds one, so take the other out "
                "of the template or the text"
            )
            return Finding("begin token", "", error)
    return Finding("begin token", f"once in front of {len(parts)} texts")


def check_pairs(parts: Sequence[PackedSequence]) -> Finding:
    """The targets of chosen and rejected differ."""
    for chosen, rejected in zip(parts[::2], parts[1::2], strict=True):
        if np.array_equal(chosen.tokens[chosen.targets], rejected.tokens[rejected.targets]):
            error = (
                f"chosen and rejected of example {chosen.name!r} have the same targets, so nothing can be learned from "
                "them; check how the pairs were made"
            )
            return Finding("pairs", "", error)
    return Finding("pairs", f"chosen and rejected differ in all {len(parts) // 2}")
