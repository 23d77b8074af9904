"""Rounds in processes of their own: kills of the system in every phase; and one device or eight."""

import json
import os
import random
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from mtjax.runs.rounds.loop import run
from tests.devices import ONE_DEVICE, only_one_device
from tests.killed_rounds import PHASES, settings
from tests.tiny_rounds import arrays_of, files_of

pytestmark = pytest.mark.slow


def process(folder, *words):
    command = [sys.executable, "-m", "tests.killed_rounds", str(folder), *words]
    done = subprocess.run(command, env={**os.environ, **ONE_DEVICE}, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_twelve_kills_over_all_phases_change_no_byte(tmp_path):
    through, killed = tmp_path / "through" / "run", tmp_path / "killed" / "run"  # a report has its folder's name
    assert process(through)[0] == 0
    rng, kills = random.Random(0), 0
    phases = [*PHASES, "saving", "sampling", "grading"]
    rng.shuffle(phases)
    for phase in phases:
        call = rng.randint(1, 20) if phase == "grading" else 1
        when = rng.choice(["early", "late", "soon"])
        code, said = process(killed, phase, str(call), when)
        assert code in (0, -signal.SIGKILL), said
        kills += code != 0
    code, said = process(killed)
    assert code == 0, said
    assert kills == 12, "the run was over before the last kill"
    assert files_of(killed) == files_of(through)
    for place in ("checkpoints", "best", "references"):
        assert arrays_of(killed, place) == arrays_of(through, place)


def test_eight_devices_draw_the_same_and_lose_the_same(tmp_path):
    eight = run(settings(tmp_path / "eight", devices=8), say=lambda text: None)
    with only_one_device():
        one = run(settings(tmp_path / "one"), say=lambda text: None)
    files = [f"{number:04}.jsonl" for number in range(1, 6)]
    texts = lambda name: [
        [(one["text"], one["verdict"], one["count"]) for one in json.loads(line)["solutions"]]
        for file in files
        for line in (tmp_path / name / "attempts" / file).read_text().splitlines()
    ]
    assert texts("one") == texts("eight")
    for a, b in zip(one.lines[1:], eight.lines[1:], strict=True):
        assert {key: a[key] for key in ("right", "wrong", "mixed", "sampled_tokens", "updates")} == {
            key: b[key] for key in ("right", "wrong", "mixed", "sampled_tokens", "updates")
        }
        assert a["trained"]["means"]["loss"] == pytest.approx(b["trained"]["means"]["loss"], abs=1e-5)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(eight.params), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-4)
