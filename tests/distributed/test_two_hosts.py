"""Two processes of four simulated devices each train as one process of eight does; every host loads its own rows."""

import json
import pathlib

import pytest

from tests.distributed.start import Hosts

SCRIPT = str(pathlib.Path(__file__).with_name("two_hosts.py"))
NAMES = ("mistake",)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of the runs of two processes and of one, and what each of the two saw and printed."""
    together, alone = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("one")
    two = Hosts([SCRIPT, str(together), *NAMES], slurm=True)  # found by JAX; `test_faults.py` has our own variables
    assert two.codes(500) == {0: 0, 1: 0}, two.texts
    one = Hosts([SCRIPT, str(alone), *NAMES], count=1, devices=8, OTHER=str(together))
    assert one.codes(500) == {0: 0}, one.texts
    return together, alone, [json.loads((together / f"host-{n}.json").read_text()) for n in (0, 1)], two.texts


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_are_disjoint_and_complete(runs):
    for name in ("split", "mixed", "shared"):
        (mine, ids, whole), (others, other_ids, _) = (seen["rows"][name] for seen in runs[2])
        if name == "shared":
            assert mine == others == list(range(16))
        else:
            assert sorted(mine + others) == list(range(16))
            assert sorted(ids + other_ids) == sorted(whole)
            assert not set(ids) & set(other_ids)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_give_the_numbers_of_one(name, runs):
    together, alone = lines(runs[0] / name), lines(runs[1] / name)
    assert [line["step"] for line in alone] == [line["step"] for line in together]
    assert alone[-1]["step"] == 4
    for one, two in zip(alone, together, strict=True):
        assert one.keys() == two.keys()
        for key in one:
            if not key.startswith("time/"):
                assert two[key] == pytest.approx(one[key], rel=1e-6, abs=1e-6), (one["step"], key)


def test_one_process_restores_what_two_saved(runs):
    seen = json.loads((runs[1] / "host-0.json").read_text())
    for name in NAMES:
        step, apart = seen[f"{name} of two"]
        assert step == 4
        assert apart < 1e-6


def test_host_0_alone_prints(runs):
    said = runs[3]
    assert "hosts    2, by JAX from Slurm (SLURM_JOB_ID=7, SLURM_NTASKS=2" in said[0]
    assert "on 2 hosts" in said[0]
    ours = ("hosts ", "devices ", "data ", "run ", "check ", "step ", "reference ")
    assert [line for line in said[0].splitlines() if line.startswith(ours)]
    assert not [line for line in said[1].splitlines() if line.startswith(ours)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cached", "frozen", "dco"])
def test_more_runs_on_two_hosts(name, tmp_path):
    for count, devices in ((2, 4), (1, 8)):
        (tmp_path / str(count)).mkdir()
        hosts = Hosts([SCRIPT, str(tmp_path / str(count)), name], count=count, devices=devices)
        assert set(hosts.codes(500).values()) == {0}, hosts.texts
    for two, one in zip(lines(tmp_path / "2" / name), lines(tmp_path / "1" / name), strict=True):
        for key in one:
            if not key.startswith("time/"):
                assert two[key] == pytest.approx(one[key], rel=1e-6, abs=1e-6), (one["step"], key)
