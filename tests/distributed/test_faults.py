"""Hosts that die, are told to stop, do not come or differ: each ends as stated, and a run goes on as if nothing was."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mtjax import train
from mtjax.errors import ExitCode
from tests.devices import ONE_DEVICE, only_one_device
from tests.distributed.start import ENVIRONMENT, Hosts

SMALL = ["configs/tiny.py", "--model.width=16", "--model.mlp_width=32", "--model.layers=1", "--data.source.count=80"]
SMALL += ["--batch_size=4", "--held_out.source.count=30", "--held_out.every=6", "--no_tensorboard", "--no_self_check"]
SMALL += ["--checkpoint.every=4", "--checkpoint.keep=9"]
TWO = ["--mesh.data=1", "--mesh.fsdp=2"]
STEPS = 40


def words(folder, *more, mesh=TWO):
    return [*SMALL, *mesh, f"--run_dir={folder}", *more]


def metrics(folder):
    """Logged lines, without those of the clock; [] where nothing is logged yet."""
    file = folder / "metrics.jsonl"
    lines = []
    for text in file.read_text().splitlines() if file.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:  # being written
            break
        lines.append({name: value for name, value in line.items() if not name.startswith("time/")})
    return lines


def saved(folder):
    place = folder / "checkpoints"
    return sorted(int(entry.name) for entry in place.iterdir() if entry.name.isdigit()) if place.exists() else []


def wait_until(true, seconds=240):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


def pids(folder):
    """The training process of each host, by number: not its supervisor, whose command line holds the same words."""
    found = {}
    for place in pathlib.Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                command = (place / "cmdline").read_bytes().split(b"\0")
                environment = (place / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[1:3] == [b"-m", b"mtjax.train"] and f"--run_dir={folder}".encode() in command:
                numbers = [int(entry[11:]) for entry in environment if entry.startswith(b"MTJAX_HOST=")]
                found[numbers[0]] = int(place.name)
    return found


class Supervised:
    """A run of two hosts under `launch/local.sh --supervise`."""

    def __init__(self, folder, *more):
        self.folder, self.log = folder, folder.with_suffix(".log")
        command = ["launch/local.sh", "--hosts", "2", "--devices", "1", "--supervise", "--", *words(folder, *more)]
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                command, env=ENVIRONMENT | {"PYTHON": sys.executable}, stdout=file, stderr=subprocess.STDOUT
            )

    def kill(self, host):
        """SIGKILL to a host's process; gives the newest checkpoint that was whole before."""
        before = saved(self.folder)
        os.kill(pids(self.folder)[host], signal.SIGKILL)
        return before[-1] if before else 0

    def starts(self):
        """Behind which step each start went on."""
        return [int(step) - 1 for step in re.findall(r"^run .*, steps (\d+) to", self.log.read_text(), re.M)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:  # a test that failed: end its supervisors too
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """A run of two hosts that nothing happened to."""
    folder = tmp_path_factory.mktemp("through") / "run"
    hosts = Hosts(["-m", "mtjax.train", *words(folder, f"--steps={STEPS}")], devices=1)
    assert hosts.codes() == {0: 0, 1: 0}, hosts.texts
    return metrics(folder)


def killed_at_random(folder, kills, steps):
    """Kill a random host at `kills` random moments, every third while a save is being written."""
    chance, least = random.Random(11), []
    with Supervised(folder, f"--steps={steps}") as run:
        for number in range(kills):
            target = int(steps * (number + chance.random() * 0.5 + 0.2) / kills)
            wait_until(lambda target=target: metrics(folder) and metrics(folder)[-1]["step"] >= target)
            if number % 3 == 1:
                wait_until(lambda: any("tmp" in entry.name for entry in (folder / "checkpoints").iterdir()))
            else:
                time.sleep(chance.random() * 0.3)
            wait_until(lambda: len(pids(folder)) == 2)
            least.append(run.kill(number % 2))
            wait_until(lambda number=number: len(run.starts()) == number + 2)
        assert run.process.wait(600) == 0, run.log.read_text()[-6000:]
    assert len(run.starts()) == kills + 1
    for went_on, kept in zip(run.starts()[1:], least, strict=True):
        assert went_on >= kept  # nothing that was whole is lost
    text = run.log.read_text()
    assert text.count("is lost: ") >= kills
    assert "exit code 137; start" in text
    assert f"exit code {ExitCode.HOST_LOST:d}; start" in text
    return metrics(folder)


@pytest.mark.slow
def test_a_worker_and_the_coordinator_are_killed_and_the_run_goes_on_bit_for_bit(tmp_path, through):
    assert killed_at_random(tmp_path / "run", 2, STEPS) == through


@pytest.mark.slow
def test_twenty_kills_in_a_row(tmp_path):
    hosts = Hosts(["-m", "mtjax.train", *words(tmp_path / "through", "--steps=400")], devices=1)
    assert hosts.codes(900) == {0: 0, 1: 0}, hosts.texts
    assert killed_at_random(tmp_path / "run", 20, 400) == metrics(tmp_path / "through")


@pytest.mark.slow
def test_two_hosts_pass_over_a_torn_checkpoint(tmp_path, through):
    folder = tmp_path / "run"
    assert Hosts(["-m", "mtjax.train", *words(folder, "--steps=8")], devices=1).codes() == {0: 0, 1: 0}
    shutil.rmtree(folder / "checkpoints" / "8" / "default" / "d")
    again = Hosts(["-m", "mtjax.train", *words(folder, "--steps=12")], devices=1)
    assert again.codes() == {0: 0, 1: 0}, again.texts
    assert "trying the one before" in again.texts[0]
    assert "steps 5 to 12" in again.texts[0]
    together = zip(metrics(folder), through, strict=False)
    assert all(one == two for one, two in together if one["step"] != 8)  # the end of a run measures what others do not
    assert saved(folder) == [4, 8, 12]


@pytest.mark.slow
def test_sigterm_to_one_host_saves_one_step_on_all_and_another_mesh_goes_on(tmp_path, through):
    folder = tmp_path / "run"
    hosts = Hosts(["-m", "mtjax.train", *words(folder, "--steps=100000", "--checkpoint.every=1")], devices=1)
    wait_until(lambda: 2 in saved(folder))
    hosts.processes[1].send_signal(signal.SIGTERM)
    assert hosts.codes(120) == {0: ExitCode.STOPPED, 1: ExitCode.STOPPED}, hosts.texts
    last = saved(folder)[-1]
    assert f"stopped  step {last} is saved" in hosts.texts[0]
    assert metrics(folder)[-1]["step"] == last
    assert last + 4 <= STEPS
    # One process with one device goes on from it; sums come in another order.
    alone = Hosts(
        ["-m", "mtjax.train", *words(folder, f"--steps={last + 4}", mesh=["--mesh.data=1", "--mesh.fsdp=1"])],
        count=1,
        devices=1,
    )
    assert alone.codes() == {0: 0}, alone.texts
    assert f"steps {last + 1} to {last + 4}" in alone.texts[0]
    for one, other in zip(metrics(folder), through[: last + 5], strict=True):
        for name in one.keys() & other.keys():
            assert one[name] == pytest.approx(other[name], rel=1e-6, abs=1e-6), (one["step"], name)


def test_a_missing_host_is_named_before_anything_starts(tmp_path):
    command = ["-m", "mtjax.train", *words(tmp_path / "run")]
    hosts = Hosts(command, others={1: None}, MTJAX_START_TIMEOUT="1")
    assert hosts.codes(60) == {0: ExitCode.HOST_LOST}
    assert "error: host 1 of 2 did not come within 1 s" in hosts.texts[0]
    assert not (tmp_path / "run").exists()


def test_a_host_with_other_settings_is_named_before_anything_compiles(tmp_path):
    command = ["-m", "mtjax.train", *words(tmp_path / "run")]
    hosts = Hosts(command, others={1: [*command, "--optim.learning_rate=0.25", "--seed=9"]}, devices=1)
    assert hosts.codes(120) == {0: ExitCode.BAD_INPUT, 1: ExitCode.BAD_INPUT}
    for host in (0, 1):
        assert f"host {host}: error: the hosts disagree." in hosts.texts[host]
        assert "optim.learning_rate: host 1 has 0.25, host 0 has 0.005" in hosts.texts[host]
        assert "seed: host 1 has 9, host 0 has 0" in hosts.texts[host]
        assert "devices " not in hosts.texts[host]
    assert not (tmp_path / "run").exists()


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, capsys):
    folder = tmp_path / "run"
    typed = words(folder, "--checkpoint.every=2", "--checkpoint.keep=1", mesh=[])
    with only_one_device():
        assert train.main([*typed, "--steps=2"]) == 0
    # No file may grow beyond 8 kB: the next checkpoint's arrays do not fit.
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", sys.executable, "-m", "mtjax.train", *typed, "--steps=8"]
    full = subprocess.run(limited, env=ENVIRONMENT | ONE_DEVICE, capture_output=True, text=True)
    assert full.returncode == ExitCode.STORAGE, full.stderr
    assert "error: a checkpoint could not be " in full.stderr
    assert saved(folder) == [2]
    capsys.readouterr()
    with only_one_device():
        assert train.main([*typed, "--steps=4"]) == 0
    assert "steps 3 to 4" in capsys.readouterr().out
    assert saved(folder) == [4]
