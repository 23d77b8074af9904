"""Two processes of four simulated devices each train as one process of eight does; every host loads its own rows."""

import json
import pathlib

import jax
import numpy as np
import pytest

from mtjax import config as settings
from mtjax import train
from mtjax.checkpoint import Checkpoints, abstract_state, folders_of
from tests.hosts.start import Hosts
from tests.hosts.two_hosts import RUNS, words

SCRIPT = str(pathlib.Path(__file__).with_name("two_hosts.py"))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folder of the two hosts' runs, and what each host saw."""
    folder = tmp_path_factory.mktemp("two")
    hosts = Hosts([SCRIPT, str(folder)], PYTHONPATH=".")
    codes = hosts.codes(400)
    assert codes == {0: 0, 1: 0}, hosts.texts
    return folder, [json.loads((folder / f"host-{n}.json").read_text()) for n in (0, 1)], hosts.texts[0], hosts.texts[1]


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_are_disjoint_and_complete(both):
    for name, shared in (("split", False), ("mixed", False), ("shared", True)):
        (mine, ids, whole), (others, other_ids, _) = (seen["rows"][name] for seen in both[1])
        if shared:
            assert mine == others == list(range(16))
        else:
            assert sorted(mine + others) == list(range(16))
            assert sorted(ids + other_ids) == sorted(whole)
            assert not set(ids) & set(other_ids)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_give_the_numbers_of_one(name, both, tmp_path):
    command = words(name, tmp_path)
    config = settings.load(command[0], command[1:])
    result = train.train(config)
    alone, together = lines(tmp_path / name), lines(both[0] / name)
    assert [line["step"] for line in alone] == [line["step"] for line in together]
    for one, two in zip(alone, together, strict=True):
        assert one.keys() == two.keys()
        for key in one:
            if not key.startswith("time/"):
                assert two[key] == pytest.approx(one[key], rel=1e-6, abs=1e-6), (name, one["step"], key)
    # What two processes saved, one process restores.
    checkpoints = Checkpoints(folders_of(both[0] / name)[0])
    step, state = checkpoints.restore_latest(abstract_state(result.state))
    checkpoints.close()
    assert step == 4
    for a, b in zip(jax.tree.leaves(result.state.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_host_0_alone_prints(both):
    said = both[2:]
    assert "on 2 hosts" in said[0]
    assert not [line for line in said[1].splitlines() if line and "Gloo" not in line and "connected to" not in line]
