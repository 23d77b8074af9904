"""Rounds of policy gradients in a process of its own that may kill itself: `python -m tests.killed_rounds FOLDER`.

`PHASE CALL` after the folder lets the process kill itself at that call of what a phase does; with `late` it does the
work of the call first, and with `soon` it dies a moment after, when writes in the background are under way.
"""

import dataclasses
import hashlib
import os
import pathlib
import signal
import sys
import threading
import time
from typing import ClassVar

from mtjax.data.answers import Verdict
from mtjax.data.sources import Arithmetic
from mtjax.data.tasks import GroupTask
from mtjax.distributed.sharding import MeshSpec
from mtjax.evaluation.graders.base import GRADERS
from mtjax.io.journal import Journal
from mtjax.mistakes.curation.groups import Groups
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.runs.rounds import loop, measuring, report
from mtjax.runs.rounds.config import Measure
from mtjax.runs.rounds.loop import run
from mtjax.runs.rounds.trainer import Trainer
from mtjax.training.checkpoint import Checkpoints
from tests.tiny_rounds import EASY, config


@GRADERS.register("by_hash")
@dataclasses.dataclass(frozen=True)
class ByHash:
    """Right where a hash of the text is even, so that a model without any training has right and wrong samples."""

    needs_gold: ClassVar[bool] = False

    def __call__(self, problem, sample):
        even = hashlib.sha256(sample.text.encode()).digest()[0] % 2 == 0
        return Verdict.RIGHT if even else Verdict.WRONG


def settings(folder, devices=1, **changes):
    """Rounds whose reference is renewed, with all parts of the loop."""
    return config(
        folder, objective=PolicyGradient(reduction="sequence_mean", kl_weight=0.1),
        task=GroupTask(template="{question}\n", size=4, logprobs="own", cut="keep"),
        curation=Groups(cut_reward=None), grader=ByHash(), updates=None, passes=2, rounds=5, renew_reference=2,
        measure=Measure(source=Arithmetic(count=6, seed=3, split="test", **EASY), samples=4),
        train_batch_size=8, train_mesh=MeshSpec(data=devices), rows=8, **changes,
    )  # fmt: skip


PHASES = {
    "sampling": (Journal, "append"),
    "grading": (ByHash, "__call__"),
    "finishing": (Journal, "finish"),
    "training": (Trainer, "train"),
    "updating": (loop.MetricsLog, "write"),
    "renewing": (Trainer, "renew_reference"),
    "measuring": (measuring, "write_text"),
    "lines": (loop, "write_lines"),
    "saving": (Checkpoints, "save"),
}


def die_at(phase, call, when):
    place, name = PHASES[phase]
    own, seen = getattr(place, name), [0]
    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def dying(*args, **named):
        seen[0] += 1
        if seen[0] == call and when == "early":
            kill()
        found = own(*args, **named)
        if seen[0] == call and when == "late":
            kill()
        if seen[0] == call:
            threading.Thread(target=lambda: (time.sleep(0.02), kill()), daemon=True).start()
        return found

    setattr(place, name, dying)


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    if rest:
        die_at(rest[0], int(rest[1]), rest[2])
    run(settings(pathlib.Path(folder)))
    report.write(folder)
