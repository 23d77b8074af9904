"""What a compiled step should not contain: findings, each with what it means."""

import dataclasses
import re
from collections.abc import Sequence

from mtjax.planning.collectives import Collective

SMALL = 2**20  # bytes; smaller transfers cost nothing worth a finding
LAYER_LOOP = re.compile(r"Decoder\)*/while")
CHUNK_LOOP = re.compile(r"shard_map/while")  # the loop of mtjax/model/chunked_logits.py
EXPECTED = ("vocabulary gradient reduced whole",)
"""Rules whose findings are listed and not counted against the limit."""

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


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one rule found."""

    rule: str  # key of `MEANING`
    number: int  # how many instructions or arrays
    bytes: int  # that they move or hold, per device and call; 0 if unknown
    where: str  # the largest of them


def lint(collectives: Sequence[Collective], log: str, donated: int, aliased: int) -> list[Finding]:
    """All findings of a training step.

    `log` is what the compiler wrote to stderr, `donated` the bytes per device that the program may reuse, and `aliased`
    those that it does.
    """
    findings = []
    lines = sorted(set(re.findall(r"\[SPMD\] Involuntary full rematerialization.*?HLO operation (.*?)\. As the", log)))
    if lines:
        named, shape = re.search(r'op_name="([^"]*)"', lines[0]), re.search(r"= (\w+\[[\d,]*\])", lines[0])
        where = f"{shape[1] if shape else '?'} in {named[1] if named else lines[0].split(' = ')[0]}"
        findings.append(Finding("involuntary rematerialisation", len(lines), 0, where))

    large = [one for one in collectives if one.bytes * one.times >= SMALL]
    inside = lambda loop, one: any(loop.search(name) for name in one.loops)
    sliced = [one for one in large if "reduction then slice" in one.notes]
    rules = {
        "gather as reduction": [one for one in large if "gather as reduction" in one.notes],
        "reduction then slice": [one for one in sliced if inside(LAYER_LOOP, one)],
        "vocabulary gradient reduced whole": [one for one in sliced if not inside(LAYER_LOOP, one)],
        "rows gathered": [one for one in large if one.operation in ("all-gather", "all-to-all") and "data" in one.axes],
        "collective in the loss-chunk loop": [one for one in large if inside(CHUNK_LOOP, one)],
    }
    for rule, found in rules.items():
        if found:
            first = max(found, key=lambda one: one.bytes * one.times)
            array, name = first.shape.strip("(").split("{")[0], first.op_name or "an unnamed operation"
            where = f"{first.operation} over {first.axes} of {array} in {name}"
            findings.append(Finding(rule, len(found), sum(one.bytes * one.times for one in found), where))
    if aliased < donated:
        findings.append(Finding("state not donated", 1, donated - aliased, "the step's state"))
    return findings
