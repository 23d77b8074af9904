# The check of docs/hardware.md as one folder for a machine without a network: sources, and the wheels an image lacks.
#
# Needs:    a package index that pip can reach, here; on the other machine Linux x86-64, Python 3.12, and an image with
#           jax 0.11 or newer (CUDA 12 or 13, or TPU), flax, optax, orbax-checkpoint and transformers.
# Command:  make hardware-bundle      which is  python launch/hardware_bundle.py build/hardware-bundle
#           Copy the folder to the other machine, and there:
#             bash hardware-bundle/check.sh --minutes=10 --json=report.json
# Expect:   build/hardware-bundle: 7.1 MB; copy it, and run there: ...
#           On the other machine the lines of the check; nothing is installed.

"""Makes the bundle: `sources`, `wheels`, and the script that is run on the other machine."""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ("mtjax", "configs", "launch", "docs/hardware.md", "pyproject.toml", "README.md", "LICENSE")
PYTHON = "3.12"
LARGEST = 60e6  # bytes of the folder

IMAGE = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers")
"""What the image has, with all that these need: NumPy, SciPy, tensorstore, etils, rich, tokenizers and so on."""

WHEELS = (
    "tyro", "docstring_parser", "typeguard",  # the command line
    "msgspec",  # records
    "jaxtyping", "wadler_lindig",  # shapes in the types
    "rapidfuzz",  # edit distance
    "jinja2", "markupsafe",  # chat templates
    "chex", "toolz", "absl-py",  # assertions on shapes
)  # fmt: skip
"""What the check imports beside: nothing of these is taken from the image."""

SCRIPT = """#!/usr/bin/env bash
# Checks mtjax on this machine; see docs/hardware.md in sources. Options: --minutes=10 --json=report.json
# It unpacks wheels into this folder once, installs nothing and needs no network. PYTHON=... chooses the interpreter.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
"$python" - "$here" <<'END'
import importlib.util, pathlib, sys, zipfile
here = pathlib.Path(sys.argv[1])
if sys.version_info[:2] != (3, 12):
    sys.exit(f"error: this bundle has wheels for Python 3.12, and {sys.executable} is "
             f"{sys.version_info[0]}.{sys.version_info[1]}; set PYTHON to an interpreter of 3.12")
lacks = [name for name in ("jax", "flax", "optax", "orbax.checkpoint", "transformers")
         if importlib.util.find_spec(name.partition(".")[0]) is None]
if lacks:
    sys.exit(f"error: this Python has no {', '.join(lacks)}, which the bundle takes from the image; "
             "set PYTHON to the interpreter that has them")
unpacked = here / "unpacked"
if not unpacked.exists():
    beside = here / "unpacked.part"
    for wheel in sorted((here / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(beside)
    beside.rename(unpacked)
END
export PYTHONPATH="$here/sources:$here/unpacked"
export HF_HUB_OFFLINE=1 PIP_NO_INDEX=1
exec "$python" -m mtjax.check_hardware "$@"
"""


def make(folder: pathlib.Path) -> int:
    """Write the bundle into `folder`, which is made anew; returns its size in bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wheels").mkdir(parents=True)
    for name in SOURCES:
        source, place = ROOT / name, folder / "sources" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    pins = ROOT / ".ci" / f"constraints-{PYTHON}.txt"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-c", str(pins)]
    command += [
        "--python-version",
        PYTHON,
        "--implementation",
        "cp",
        "--abi",
        "cp312",
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]
    for kind in ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "linux_x86_64", "any"):
        command += ["--platform", kind]
    subprocess.run([*command, "-d", str(folder / "wheels"), *WHEELS], check=True)
    (folder / "check.sh").write_text(SCRIPT)
    (folder / "check.sh").chmod(0o755)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "hardware-bundle")
    size = make(place)
    if size > LARGEST:
        sys.exit(f"error: {place} has {size / 1e6:.1f} MB; expected at most {LARGEST / 1e6:.0f}")
    print(f"{place}: {size / 1e6:.1f} MB; copy it, and run there:")
    print(f"  bash {place.name}/check.sh --minutes=10 --json=report.json")
