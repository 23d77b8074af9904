"""Plans of real size, compiled for machines that are not here: `make test-plan`.

The collectives of each must equal a file in `golden/`, one folder per version of jax. After a change that is meant to
move them: `MTJAX_WRITE_GOLDEN=1 make test-plan`, and look at the difference.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import resource
import subprocess
import sys

import jax
import pytest

from mtjax.planning.process import interpreter
from mtjax.planning.report import from_json

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = pathlib.Path(__file__).parent / "golden" / f"jax-{jax.__version__}"

pytestmark = [
    pytest.mark.plan,
    pytest.mark.skipif(
        interpreter() == sys.executable
        and (importlib.util.find_spec("libtpu") is None or importlib.util.find_spec("jax_cuda12_plugin") is None),
        reason="the compilers are not installed: `make plan-setup` does it",
    ),
]

PLANS = {
    "llama31_8b_rise_v5p_64": "llama31_8b_rise.py --topology=v5p-64",
    "llama31_8b_rise_v5e_256": "llama31_8b_rise.py --topology=v5e-256 --batch_size=256",
    "llama31_8b_nll_v5p_64": "llama31_8b_nll.py --topology=v5p-64",
    "llama31_8b_mistake_v5p_64": "llama31_8b_mistake.py --topology=v5p-64",
    "llama31_8b_dco_v5p_64": "llama31_8b_dco.py --topology=v5p-64",
    "llama31_70b_nll_512_chips": "llama31_8b_nll.py --topology=v5p:8x8x8 --init_from=meta-llama/Llama-3.1-70B "
    "--mesh.data=8 --mesh.fsdp=64 --batch_size=512",
    "qwen25_7b_rise_h100_8": "qwen25_7b_rise.py --topology=h100-8",
    "llama31_8b_nll_two_slices": "llama31_8b_nll.py --topology=v5e-16 --slices=2 --data.sequence_length=1024",
}
SPANS_TWO_SIDES = {"llama31_70b_nll_512_chips", "llama31_8b_nll_two_slices"}  # explained in docs/plan.md


def plan(words, folder):
    """Run the command in a process without a cache of reports; its exit code, report and CPU-seconds."""
    file = folder / "report.json"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "mtjax.plan", f"configs/{words.split()[0]}", *words.split()[1:], f"--json={file}"],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert file.exists(), done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, from_json(json.loads(file.read_text())), seconds


@pytest.mark.parametrize("name", PLANS)
def test_a_plan(name, tmp_path):
    code, report, seconds = plan(PLANS[name], tmp_path)
    assert report.memory.fits
    assert seconds < 90
    assert report.compiler_seconds is None  # level fast
    assert report.bound.mfu >= 0.6
    assert code == (4 if name in SPANS_TWO_SIDES else 0), report.findings
    assert {one.rule for one in report.counted} <= {"reduction then slice"}
    lines = [" ".join(map(str, dataclasses.astuple(row))) for row in report.collectives]
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("MTJAX_WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
    if not file.exists():
        pytest.skip(f"no golden table for jax {jax.__version__}")
    assert lines == file.read_text().splitlines()


def test_what_does_not_fit_says_what_is_large_and_what_would(tmp_path):
    code, report, _ = plan("llama31_8b_nll.py --topology=v5e-8 --mesh.fsdp=8 --batch_size=8", tmp_path)
    assert code == 3
    assert report.memory.peak > report.memory.limit == int(15.75 * 2**30)
    assert report.memory.largest[0][0] > 2**30
    # Parameters and two moments of float32, 8 ways: 12 bytes of 8.03e9 / 8, and the norms whole.
    held = report.memory.parts
    assert 12 * 8.03e9 / 8 < held["parameters"] + held["optimizer state"] < 12 * 8.04e9 / 8
    assert report.advice.startswith("--topology=v5e-16")


@pytest.mark.parametrize("topology", ["v4-8", "v5p-8", "v5e-8", "v6e-8", "7x-8", "a100-8", "h100-8", "h200-8"])
def test_every_machine_compiles(topology, tmp_path):
    code, report, _ = plan(f"tiny.py --topology={topology} --mesh.data=1 --mesh.fsdp=-1 --lint_limit=9", tmp_path)
    assert code == 0
    assert report.parameters == 27232
    assert report.hardware.split()[0] == str(report.mesh["fsdp"])


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_serving(phase, tmp_path):
    words = f"llama31_8b_nll.py --topology=v5e-8 --phase={phase} --mesh.fsdp=1 --mesh.tensor=8 --batch_size=16"
    code, report, seconds = plan(words, tmp_path)
    assert code == 0
    assert seconds < 90
    # 16 rows of 4,096, keys and values of 32 layers and 8 heads of 128 over 8 devices, bf16.
    assert report.memory.parts["cache"] == 16 * 4096 * 2 * 32 * 128 * 2
    assert {row.axes for row in report.collectives} == {"tensor"}
    # A new token reads all weights: memory is what bounds it.
    assert (report.bound.limited_by == "memory") == (phase == "decode")


def test_a_report_is_kept(tmp_path):
    words = "tiny.py --topology=v5e-8 --lint_limit=9"
    _, first, _ = plan(words, tmp_path)
    kept = list(tmp_path.rglob("plans/*.json"))
    assert len(kept) == 1
    kept[0].write_text(json.dumps(json.loads(kept[0].read_text()) | {"batch": "from the cache"}))
    assert plan(words, tmp_path)[1].batch == "from the cache"
    assert plan(f"{words} --optim.b1=0.5", tmp_path)[1].batch == first.batch  # another program


def test_a_search_ranks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mtjax.plan", "configs/tiny.py", "--topology=v5e-8", "--search", "--tries=3"],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("configs/tiny.py --mesh.data=") == 3, done.stderr


@pytest.mark.slow
def test_the_full_level_has_the_compilers_bound(tmp_path):
    code, report, _ = plan("llama31_8b_rise.py --topology=v5p-64 --level=full", tmp_path)
    assert code == 0
    assert report.compiler_seconds > report.bound.terms["matrix products"]
