"""What a compiled step should not contain: findings, each with what it means."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mtjax.planning.collectives import Collective

SMALL = 2**20  # bytes; what is smaller costs nothing worth a finding
LAYER_LOOP = re.compile(r"Decoder\)*/while")
EXPECTED = ("vocabulary gradient reduced whole",)
"""Rules that are told and not counted against the limit."""

CHUNK_LOOP = re.compile(r"shard_map/while")  # the loop of mtjax/model/chunked_logits.py

MEANING = {
    "involuntary rematerialisation": "the partitioner found no way between two shardings, so it gathers the whole "
    "array on every device and cuts it again",
    "gather as reduction": "a gather done by adding zeros: twice the bytes",
    "reduction then slice": "a gradient is reduced whole and then cut: twice the bytes of a reduce-scatter; TPUs fuse "
    "the two where the axis runs along one side of its torus",
    "vocabulary gradient reduced whole": "expected: embedding and head are reduced once a micro-batch over all that "
    "split rows, not once a layer or chunk (docs/decisions/the_head_runs_alone_on_every_device.md)",
    "rows gathered": "weights are never split over `data`, so this gathers the activations of other rows",
    "collective in the loss-chunk loop": "runs once per chunk of positions; the head should be gathered and reduced "
    "once",
    "state not donated": "parameters and optimizer state exist twice",
}


class Finding(NamedTuple):
    """One thing found.

    Attributes:
        rule: key of `MEANING`.
        number: how many instructions or arrays.
        bytes: that they move or hold, per device and call; 0 where it is not known.
        where: the first of them.
    """

    rule: str
    number: int
    bytes: int
    where: str


def lint(collectives: Sequence[Collective], log: str, donated: int, aliased: int) -> list[Finding]:
    """All findings of a training step.

    Args:
        log: what the compiler wrote to stderr.
        donated: bytes per device that the program may reuse.
        aliased: bytes of them that it does.
    """
    findings = []
    lines = sorted(set(re.findall(r"\[SPMD\] Involuntary full rematerialization.*?HLO operation (.*?)\. As the", log)))
    if lines:
        findings.append(Finding("involuntary rematerialisation", len(lines), 0, _operation(lines[0])))
    large = [one for one in collectives if one.bytes * one.times >= SMALL]
    findings += _of("gather as reduction", (one for one in large if "gather as reduction" in one.notes))
    cut = [one for one in large if "reduction then slice" in one.notes]
    layered = [one for one in cut if any(LAYER_LOOP.search(loop) for loop in one.loops)]
    findings += _of("reduction then slice", layered)
    findings += _of("vocabulary gradient reduced whole", (one for one in cut if one not in layered))
    moved = ("all-gather", "all-to-all")
    findings += _of("rows gathered", (one for one in large if one.operation in moved and "data" in one.axes))
    inside = (one for one in large if any(CHUNK_LOOP.search(loop) for loop in one.loops))
    findings += _of("collective in the loss-chunk loop", inside)
    if aliased < donated:
        findings.append(Finding("state not donated", 1, donated - aliased, "the step's state"))
    return findings


def _of(rule: str, found: Iterable[Collective]) -> list[Finding]:
    found = list(found)
    if not found:
        return []
    first = max(found, key=lambda one: one.bytes * one.times)
    shape, name = first.shape.strip("(").split("{")[0], first.op_name or "an unnamed operation"
    where = f"{first.operation} over {first.axes} of {shape} in {name}"
    return [Finding(rule, len(found), sum(one.bytes * one.times for one in found), where)]


def _operation(text: str) -> str:
    """The shortest name for an operation of the partitioner's message."""
    named = re.search(r'op_name="([^"]*)"', text)
    shape = re.search(r"= (\w+\[[\d,]*\])", text)
    return f"{shape[1] if shape else '?'} in {named[1] if named else text.split(' = ')[0]}"
