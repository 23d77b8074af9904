"""The command: its options, its refusals, its exit codes, and what it writes. The compiler is a stand-in here."""

import dataclasses
import json
import pathlib

import pytest

from mtjax import plan
from mtjax.planning import process
from mtjax.planning.report import from_json, search_page, to_page
from mtjax.planning.topologies import find_topology
from tests.planning.fakes import LINTED, NO_FIT, REPORT

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs" / "tiny.py")


@pytest.fixture
def answered(monkeypatch):
    """A function that makes the worker answer with these reports; returns the requests it got."""

    def answer(*reports):
        requests = []
        records = json.loads(json.dumps({"reports": [report.to_json() for report in reports]}))
        monkeypatch.setattr(plan, "run_worker", lambda request: requests.append(request) or records)
        monkeypatch.setattr(plan, "check_installed", lambda topology: None)
        return requests

    return answer


@pytest.mark.parametrize(
    ("report", "options", "code"),
    [(REPORT, [], 0), (NO_FIT, [], 3), (LINTED, [], 4), (LINTED, ["--lint_limit=1"], 0)],
)
def test_exit_codes(answered, capsys, report, options, code):
    answered(report)
    assert plan.main([CONFIG, "--topology", "v5e-8", *options]) == code
    said = capsys.readouterr().out
    assert ("does not fit" in said) == (code == 3)
    assert "prediction" in said


def test_the_request_and_the_files(answered, tmp_path, capsys):
    requests = answered(REPORT)
    files = [f"--json={tmp_path / 'a.json'}", f"--markdown={tmp_path / 'a.md'}"]
    words = [CONFIG, "--topology=v5e-16", "--slices", "2", "--level=full", "--phase=decode", "--batch_size=32", *files]
    assert plan.main(words) == 0
    wanted = {"topology": "v5e-16", "slices": 2, "level": "full", "phase": "decode", "overrides": ["--batch_size=32"]}
    assert wanted.items() <= requests[0].items()
    assert from_json(json.loads((tmp_path / "a.json").read_text())) == REPORT
    assert (tmp_path / "a.md").read_text() == to_page(REPORT)


def test_the_page_says_it():
    page = to_page(REPORT)
    for said in ("1.00 GiB of 2.00 GiB (50%): fits", "| 1.333", "500.00 ms", "75.0%", "| 1,024 ", "3.00 MiB", "clean"):
        assert said in page
    assert "compiler" not in page.split("## Bounds")[1].split("## Coll")[0]  # no time of the compiler at level fast
    full = to_page(dataclasses.replace(REPORT, level="full", compiler_seconds=1.0))
    assert "37.5%" in full  # half of the roofline's 75 %: it takes twice as long
    refused = to_page(NO_FIT)
    assert "--micro_batches=2" in refused
    assert "f32[16384,16384]" in refused


def test_a_search_is_a_table(answered, capsys):
    answered(REPORT, NO_FIT)
    assert plan.main([CONFIG, "--topology=v5e-8", "--search"]) == 0
    assert capsys.readouterr().out == search_page([REPORT, NO_FIT])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--topology is missing"),
        (["--topology"], "needs a value"),
        (["--topology=v5p-63"], "comes as"),
        (["--topology=v5p-64", "--level=ful"], "did you mean 'full'"),
        (["--topology=v5p-64", "--phase=eval"], "known: decode, prefill, train"),
        (["--topology=v5p-64", "--slices=two"], "whole number"),
        (["--topology=v5p-64", "--search=maybe"], "True or False"),
        (["--topology=v5p-64", "--search", "--tries=0"], "expected 1 or more"),
        (["--topology=v5p-64", "--json=no/such/folder/a.json"], "no/such/folder is not a folder; make it first"),
        (["--topology=v5p-64", "--markdown=/"], "--markdown=/ is a folder; expected a file"),
        (["--topology=v5p-64", "--optim.learning_rat=1"], "learning_rate"),
    ],
)
def test_bad_words_are_refused_in_one_line(capsys, words, says):
    assert plan.main([CONFIG, *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("topology", ["v5p-64", "h100-8"])
def test_a_missing_compiler_is_named_with_the_way_to_get_it(monkeypatch, capsys, tmp_path, topology):
    monkeypatch.setitem(process.NEEDS, find_topology(topology).hardware.platform, "no_such.module")
    assert plan.main([CONFIG, f"--topology={topology}"]) == 2
    assert "`make plan-setup`" in capsys.readouterr().err
    monkeypatch.setattr(process, "ROOT", tmp_path)  # outside of a checkout
    assert plan.main([CONFIG, f"--topology={topology}"]) == 2
    said = capsys.readouterr().err
    assert "mtjax[plan]" in said
    assert "make" not in said
    assert find_topology(topology).hardware.source


def test_the_compilers_have_an_environment_of_their_own(monkeypatch, tmp_path, capsys):
    python = tmp_path / "bin" / "python"
    monkeypatch.setenv("MTJAX_PLANNER", str(tmp_path))
    assert plan.main([CONFIG, "--topology=v5p-64"]) == 2
    assert f"MTJAX_PLANNER={tmp_path}: there is no bin/python in it" in capsys.readouterr().err
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$PYTHONPATH $*" >> {tmp_path}/asked\n')
    python.chmod(0o755)
    process.check_installed(find_topology("v5p-64"))
    with pytest.raises(RuntimeError, match="ended with code 0"):  # it wrote no answer
        process.run_worker({"level": "fast"})
    first, second = (tmp_path / "asked").read_text().splitlines()
    assert first.startswith(str(process.ROOT))
    assert "find_spec('libtpu')" in first
    assert "-m mtjax.planning.process" in second


def test_the_environment_comes_before_jax(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    fast, full = process.environment("fast"), process.environment("full")
    assert fast["JAX_OPTIMIZATION_LEVEL"] == "O0"
    assert "JAX_OPTIMIZATION_LEVEL" not in full
    assert all(made["JAX_PLATFORMS"] == "cpu" and "XLA_FLAGS" not in made for made in (fast, full))


def test_the_worker_answers_bad_input_by_itself(capfd):
    """A real process, whose topology cannot be: no compiler is needed to say so."""
    request = {"config": CONFIG, "overrides": [], "topology": "v5p-63", "slices": 1, "level": "fast", "phase": "train"}
    with pytest.raises(process.InputError, match="comes as"):
        process.run_worker(request | {"search": False, "tries": 1})
