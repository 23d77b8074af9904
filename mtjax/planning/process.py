"""The process that a plan compiles in: its environment, what must be installed, how it is started, and what it does.

It is `python -m mtjax.planning.process FILE`: a request on stdin, the answer in FILE, both JSON.
"""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from mtjax import config as settings
from mtjax.errors import InputError
from mtjax.planning.topologies import Topology, find_topology

ROOT = pathlib.Path(__file__).parents[2]
PLANNER = "MTJAX_PLANNER"  # environment variable with the folder of the planner's virtual environment

NEEDS = {"tpu": "libtpu", "cuda": "jax_plugins.xla_cuda12"}
"""For each platform, the module that must be there; the extra `plan` brings all."""

QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",  # do not query a metadata server that is not there
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",  # any valid name; what can be compiled for does not depend on it
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # the library locks the machine otherwise
    "TPU_LOG_DIR": "disabled",
    "TPU_STDERR_LOG_LEVEL": "1",  # the partitioner's warnings, which the lint reads
    "TPU_MIN_LOG_LEVEL": "1",
}


def environment(level: str) -> dict[str, str]:
    """What the process needs before it imports jax. Compiling needs no backend, and fails with one (CUDA)."""
    out = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_OPTIMIZATION_LEVEL")}
    # A client without devices can write the compilation cache but not read it; reports have a cache of their own.
    out |= QUIET | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    if (ROOT / "pyproject.toml").is_file():  # plan with the code of this checkout
        out["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return out | ({"JAX_OPTIMIZATION_LEVEL": "O0"} if level == "fast" else {})


def interpreter() -> str:
    """The Python of the planner's environment: of `MTJAX_PLANNER`, else `.venv-plan` beside mtjax, else this one.

    The compilers have an environment of their own because JAX loads them, and prints their errors, in every command of
    an environment that they are installed in. InputError where `MTJAX_PLANNER` is not an environment.
    """
    named = os.environ.get(PLANNER)
    python = (pathlib.Path(named).expanduser() if named else ROOT / ".venv-plan") / "bin" / "python"
    if not python.is_file() and named:
        raise InputError(f"{PLANNER}={named}: there is no bin/python in it; expected that of `make plan-setup`")
    return str(python) if python.is_file() else sys.executable


def check_installed(topology: Topology) -> None:
    """InputError where the compiler for this topology is not installed, with the command that installs it."""
    module = NEEDS[topology.hardware.platform]
    parent = module.partition(".")[0]
    code = f"import importlib.util as u; raise SystemExit(not (u.find_spec({parent!r}) and u.find_spec({module!r})))"
    if subprocess.run([interpreter(), "-c", code], env=environment("fast"), capture_output=True).returncode:
        here = "`make plan-setup` makes it"
        if not (ROOT / "pyproject.toml").is_file():  # installed from a wheel
            here = f"install mtjax[plan] in a new environment and set {PLANNER} to its folder"
        raise InputError(
            f"planning for {topology.name} needs its compiler, but no accelerator, in an environment of its own: {here}"
        )


def run_worker(request: dict[str, Any]) -> dict[str, Any]:
    """Run this module as a process on a request; returns its answer.

    Raises InputError if the process refused the input, RuntimeError with the end of its output if it crashed.
    """
    with tempfile.TemporaryDirectory(prefix="mtjax-plan-") as folder:
        file, log = pathlib.Path(folder) / "answer.json", pathlib.Path(folder) / "stderr"
        with log.open("wb") as stderr:
            words = [interpreter(), "-m", "mtjax.planning.process", str(file)]
            text, env = json.dumps(request | {"scratch": folder}).encode(), environment(request["level"])
            done = subprocess.run(words, input=text, stderr=stderr, stdout=stderr, env=env)
        if not file.exists():
            tail = log.read_text(errors="replace").strip().splitlines()[-12:]
            raise RuntimeError(f"the compiler's process ended with code {done.returncode}:\n" + "\n".join(tail))
        made: dict[str, Any] = json.loads(file.read_text())
    if "error" in made:
        raise InputError(made["error"])
    return made


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reports of a request, as JSON: `{"reports": [...]}`, the first is what was asked for."""
    from mtjax.planning.compile import plan
    from mtjax.planning.search import nearest_that_fits, search

    config = settings.load(request["config"], request["overrides"])
    topology = find_topology(request["topology"], request["slices"])
    said = " ".join([request["config"], *request["overrides"]])
    run = functools.partial(plan, level=request["level"], phase=request["phase"], scratch=request["scratch"])
    if request["search"]:
        return {"reports": [report.to_json() for report in search(config, topology, run, said, request["tries"])]}
    report = run(config, topology, said)
    if not report.memory.fits:
        found = nearest_that_fits(config, topology, run, said, request["tries"])
        report = dataclasses.replace(report, advice=found)
    return {"reports": [report.to_json()]}


if __name__ == "__main__":
    try:
        made = answer(json.loads(sys.stdin.read()))
    except InputError as error:
        made = {"error": str(error)}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(made))
