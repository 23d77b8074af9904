"""What can be seen of a batch without a model: targets, prompts, ends, begins, pairs.

Each check takes the sequences of a batch (`mtjax.inspection.batch_view.pieces`) and returns a `Finding`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.inspection.batch_view import Piece


class Finding(NamedTuple):
    """What one check found: a short sentence, "" where there is nothing to say, and a refusal with the way out."""

    name: str
    said: str
    refusal: str = ""


def check_weights(parts: Sequence[Piece]) -> Finding:
    """Every weight is a finite number."""
    for part in parts:
        if not np.isfinite(part.weights).all():
            value = part.weights[~np.isfinite(part.weights)][0]
            return Finding("weights", "", f"example {part.name!r} has a token of weight {value}; mend data.task")
    return Finding("weights", "")


def check_targets(parts: Sequence[Piece], floor: float) -> Finding:
    """Enough tokens are targets, and some of every text."""
    targets, tokens = sum(int(part.targets.sum()) for part in parts), sum(len(part.tokens) for part in parts)
    said = f"{targets / max(tokens, 1):.1%} of {tokens:,} tokens in {len(parts):,} texts"
    without = [part.name for part in parts if not part.targets.any()]
    if without:
        refusal = (
            f"no token of example {without[0]!r} is a target ({len(without)} of {len(parts)} texts): a text without "
            "targets trains nothing; look at it with `python -m mtjax.explain`, and at data.task and data.truncation"
        )
        return Finding("targets", said, refusal)
    if targets < floor * tokens:
        refusal = (
            f"{said} are targets, expected at least {floor:.1%}; example {parts[0].name!r} has "
            f"{int(parts[0].targets.sum())} of {len(parts[0].tokens)}: look at data.task, or lower --min_target_share"
        )
        return Finding("targets", said, refusal)
    return Finding("targets", said)


def check_prompts(parts: Sequence[Piece], task: Any, tokenizer: Tokenizer) -> Finding:
    """The prompt is context and not trained, unless the task asks for it."""
    if getattr(task, "loss_on", None) == "all":
        return Finding("prompt", "trained, as data.task.loss_on='all' asks")
    if not task.prompt(Problem("", ""), None, tokenizer):
        return Finding("prompt", "not looked at: it may be empty")
    for part in parts:
        begin = int(tokenizer.bos_id is not None and part.tokens[:1].tolist() == [tokenizer.bos_id])
        if (part.weights[begin:] != 0).all():
            refusal = f"every token of example {part.name!r} has a weight, its prompt too; mend data.task"
            return Finding("prompt", "", refusal)
    return Finding("prompt", "context only")


def must_end(part: Piece, task: Any) -> bool:
    """Whether this text is closed by an end token: all are but pairs of steps, and pairs where the task says none."""
    return bool(task.ends(part.extras)) if isinstance(task, Task) else True


def check_whole(parts: Sequence[Piece], task: Any, tokenizer: Tokenizer, truncation: str, shortened: int) -> Finding:
    """No text has lost its end, or been shortened at all, unless data.truncation asks."""
    cut = [part for part in parts if must_end(part, task) and tokenizer.end_id not in part.tokens[-1:]]
    if cut and truncation != "keep":
        refusal = (
            f"example {cut[0].name!r} has no end token where its text should end ({len(cut)} of {len(parts)} texts): "
            f"data.task left it out, or the end was cut off though data.truncation={truncation!r}; mend the task, or "
            "set data.truncation='keep' if that is meant"
        )
        return Finding("whole", "", refusal)
    if shortened and truncation == "drop":
        refusal = f"{shortened} examples were shortened, though data.truncation='drop'; make the data cache anew"
        return Finding("whole", "", refusal)
    if cut or shortened:
        said = f"{shortened:,} examples of the data shortened, as data.truncation={truncation!r} asks"
        return Finding("whole", f"{said}; {len(cut)} of {len(parts)} texts here have lost their end" if cut else said)
    return Finding("whole", "nothing shortened")


def check_ends(parts: Sequence[Piece], task: Any, tokenizer: Tokenizer) -> Finding:
    """The end token of a finished answer is trained, once; a step in the middle of a solution has none.

    Only a conversation may have several: one behind each turn.
    """
    ending, trained = 0, 0
    several = getattr(task, "many_ends", False)
    for part in parts:
        if not several and must_end(part, task) and tokenizer.end_id in part.tokens[:-1][part.targets[:-1]]:
            refusal = (
                f"example {part.name!r} has a trained end token before its end: the model would learn to stop there; "
                "take it out of the text, since the task adds one behind it"
            )
            return Finding("end token", "", refusal)
        if must_end(part, task):
            there = tokenizer.end_id in part.tokens[-1:]
            if there and not part.targets[-1]:
                refusal = (
                    f"the end token of example {part.name!r} has weight {part.weights[-1]:g}: the model would not "
                    "learn to stop; mend data.task"
                )
                return Finding("end token", "", refusal)
            ending, trained = ending + 1, trained + there
        elif tokenizer.end_id in part.tokens[part.targets]:
            refusal = (
                f"example {part.name!r} is not to be ended, but has a trained end token: the model would learn to "
                "stop in the middle of a solution; take it out of the text"
            )
            return Finding("end token", "", refusal)
    said = f"trained in {trained} of {ending} texts" if ending else "none, and none is due"
    return Finding("end token", said + (f"; {len(parts) - ending} go on" if ending < len(parts) and ending else ""))


def check_begins(parts: Sequence[Piece], tokenizer: Tokenizer) -> Finding:
    """A begin token stands once in front, where the tokenizer wants one, and nowhere twice in a row."""
    if tokenizer.bos_id is None:
        return Finding("begin token", "none, as the tokenizer wants it")
    for part in parts:
        begins = part.tokens == tokenizer.bos_id
        if not begins[:1].any():
            refusal = f"example {part.name!r} has no begin token in front; mend data.task, or the tokenizer"
            return Finding("begin token", "", refusal)
        if (begins[1:] & begins[:-1]).any():
            refusal = (
                f"example {part.name!r} has two begin tokens in a row; the tokenizer adds one, so take the other out "
                "of the template or the text"
            )
            return Finding("begin token", "", refusal)
    return Finding("begin token", f"once in front of {len(parts)} texts")


def check_pairs(parts: Sequence[Piece]) -> Finding:
    """What is trained of chosen and rejected differs."""
    for chosen, rejected in zip(parts[::2], parts[1::2], strict=True):
        if np.array_equal(chosen.tokens[chosen.targets], rejected.tokens[rejected.targets]):
            refusal = (
                f"chosen and rejected of example {chosen.name!r} have the same targets: nothing can be learnt from "
                "them; look at how the pairs were made"
            )
            return Finding("pairs", "", refusal)
    return Finding("pairs", f"chosen and rejected differ in all {len(parts) // 2}")
