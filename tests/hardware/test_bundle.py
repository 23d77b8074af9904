"""The bundle for a bare machine: what it names exists, and on Python 3.12 with an image's packages alone it passes."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle():
    """The script that makes it, as a module."""
    spec = importlib.util.spec_from_file_location("hardware_bundle", ROOT / "launch" / "hardware_bundle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_it_names_exists_and_is_pinned(bundle):
    assert all((ROOT / name).exists() for name in bundle.SOURCES)
    pins = re.findall(r"^([\w.-]+)==", (ROOT / ".ci" / "constraints-3.12.txt").read_text(), re.M)
    plain = lambda name: name.lower().replace("-", "_")
    assert {plain(name) for name in bundle.WHEELS} <= {plain(name) for name in pins}


def test_its_script_is_sound(bundle, tmp_path):
    script = tmp_path / "check.sh"
    script.write_text(bundle.SCRIPT)
    checked = subprocess.run(
        [pathlib.Path(sys.executable).with_name("shellcheck"), script], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    said = subprocess.run(["bash", script], capture_output=True, text=True, env=os.environ | {"PYTHON": sys.executable})
    if sys.version_info[:2] != (3, 12):
        assert said.returncode == 1
        assert "error: this bundle has wheels for Python 3.12" in said.stderr


@pytest.mark.slow
def test_a_fresh_environment_with_an_images_packages_passes(bundle, tmp_path):
    """Python 3.12, its newest jax, no index; `PYTHON312` names an interpreter where `python3.12` is not on the path."""
    python = os.environ.get("PYTHON312") or shutil.which("python3.12")
    if python is None or subprocess.run([python, "-V"], capture_output=True).returncode:  # a shim may have none
        pytest.skip("there is no python3.12 on the path; set PYTHON312")
    assert bundle.make(tmp_path / "hardware-bundle") < bundle.LARGEST
    folder = shutil.move(tmp_path / "hardware-bundle", tmp_path / "elsewhere")
    subprocess.run([python, "-m", "venv", tmp_path / "image"], check=True)
    own = tmp_path / "image" / "bin" / "python"
    subprocess.run([own, "-m", "pip", "install", "-q", *bundle.IMAGE], check=True)
    drop = ("PYTHONPATH", "VIRTUAL_ENV", "JAX_COMPILATION_CACHE_DIR")
    bare = {name: value for name, value in os.environ.items() if name not in drop}
    bare |= {"PYTHON": str(own), "PIP_NO_INDEX": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    bare["XLA_FLAGS"] = ""  # one device, and none of the flags of the tests, which its newer jax may not know
    words = ["bash", f"{folder}/check.sh", "--minutes=9", f"--json={tmp_path / 'r.json'}"]
    said = subprocess.run(words, env=bare, capture_output=True, text=True, timeout=590, cwd="/")
    assert said.returncode == 0, said.stdout + said.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["verdict"] == "passed"
    assert found["python"].startswith("3.12.")
