"""Alternatives: which are legal, in which order they are tried, and what is said when none fits."""

import dataclasses
import pathlib

from mtjax.config import read_file
from mtjax.errors import InputError
from mtjax.planning.search import candidates, nearest_that_fits, search
from mtjax.planning.topologies import find_topology
from tests.planning.fakes import NO_FIT, REPORT

FILE = read_file(pathlib.Path(__file__).parents[2] / "configs" / "llama31_8b_rise.py")
CONFIG = dataclasses.replace(FILE, model=dataclasses.replace(FILE.model, remat="full"))
V5P = find_topology("v5p-64")


def fake(fits, seconds=1.0):
    memory = (REPORT if fits else NO_FIT).memory
    return dataclasses.replace(REPORT, memory=memory, bound=dataclasses.replace(REPORT.bound, seconds=seconds))


def test_every_candidate_is_legal():
    found = candidates(CONFIG, V5P)
    assert len(found) > 20
    for words, config in found:
        mesh = config.mesh
        assert mesh.data * mesh.fsdp * mesh.tensor == V5P.size
        assert config.batch_size % (config.micro_batches * mesh.data * mesh.fsdp) == 0
        assert 8 % mesh.tensor == 0  # kv heads
        assert f"--mesh.fsdp={mesh.fsdp}" in words
    small = [config for _, config in candidates(CONFIG, find_topology("v5e-64")) if config.model.remat == "none"]
    assert all(config.mesh.tensor > 1 for config in small)  # a row of 2 x 2,048 tokens keeps 41 GB of 16
    assert {config.model.remat for _, config in found} == {"none", "dots", "full"}


def test_the_first_change_that_fits_is_taken():
    asked = []

    def run(config, topology, said):
        asked.append(said)
        if config.micro_batches == 4:
            raise InputError("rows")
        return fake(config.reference.kind == "cached")

    found = nearest_that_fits(CONFIG, V5P, run, "c.py", tries=8)
    assert found == "--reference.kind=cached"
    assert asked == ["c.py --micro_batches=2", "c.py --micro_batches=4", "c.py --micro_batches=8", f"c.py {found}"]


def test_a_larger_machine_comes_last():
    run = lambda config, topology, said: fake(topology.name == "v5p-256")
    found = nearest_that_fits(CONFIG, V5P, run, "c.py", tries=20)
    assert found == "--topology=v5p-256 --mesh.data=1 --mesh.fsdp=-1 --batch_size=128"
    assert "raise --tries" in nearest_that_fits(CONFIG, V5P, run, "c.py", tries=2)
    assert "none found" in nearest_that_fits(CONFIG, V5P, lambda *_: fake(False), "c.py", tries=50)


def test_remat_is_the_mildest_change():
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, remat="none"))
    assert nearest_that_fits(config, V5P, lambda *_: fake(True), "c.py", tries=1) == "--model.remat=full"


def test_where_the_rule_chooses_recomputation_the_other_changes_leave_it_to_the_rule():
    asked = []
    run = lambda config, topology, said: asked.append(said) or fake(config.reference.kind == "cached")
    assert nearest_that_fits(FILE, V5P, run, "c.py", tries=8) == "--reference.kind=cached"
    assert asked[:2] == ["c.py --model.remat=full", "c.py --micro_batches=2"]


def test_what_fits_comes_first_and_then_the_fastest():
    made = iter([fake(False), fake(True, 3.0), fake(True, 2.0)])
    ranked = search(CONFIG, V5P, lambda *_: next(made), "c.py", tries=3)
    assert [(one.memory.fits, one.bound.seconds) for one in ranked] == [(True, 2.0), (True, 3.0), (False, 1.0)]
