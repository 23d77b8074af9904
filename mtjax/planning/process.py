"""The process that a plan compiles in: its environment, what must be installed, how it is started and heard."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from mtjax.errors import InputError
from mtjax.planning.topologies import Topology

NEEDS = {"tpu": ("libtpu", "tpu"), "cuda": ("jax_plugins.xla_cuda12", "plan-gpu")}
"""For each platform: the module that must be there, and the extra that brings it."""

QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",  # no question to a metadata server that is not there
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
    return out | ({"JAX_OPTIMIZATION_LEVEL": "O0"} if level == "fast" else {})


def check_installed(topology: Topology) -> None:
    """InputError where the compiler for this topology is not installed, with the command that installs it."""
    module, extra = NEEDS[topology.hardware.platform]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise InputError(
            f"planning for {topology.name} needs the compiler that comes with the extra '{extra}': "
            f"pip install 'mtjax[{extra}]' (no accelerator is needed)"
        )


def run_worker(request: dict[str, Any]) -> dict[str, Any]:
    """Run `mtjax.planning.worker` on a request; returns what it answers.

    Raises:
        InputError: the worker refused the input.
        RuntimeError: it died, with the end of what it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="mtjax-plan-") as folder:
        answer = pathlib.Path(folder) / "answer.json"
        said = pathlib.Path(folder) / "stderr"
        with said.open("wb") as stderr:
            done = subprocess.run(
                [sys.executable, "-m", "mtjax.planning.worker", str(answer)],
                input=json.dumps(request | {"scratch": folder}).encode(),
                stderr=stderr,
                stdout=stderr,
                env=environment(request["level"]),
            )
        if not answer.exists():
            tail = said.read_text(errors="replace").strip().splitlines()[-12:]
            raise RuntimeError(f"the compiler's process ended with code {done.returncode}:\n" + "\n".join(tail))
        made: dict[str, Any] = json.loads(answer.read_text())
    if "error" in made:
        raise InputError(made["error"])
    return made
