"""The command `mtjax` lists and runs the commands; an installed package brings what a checkout has beside it."""

import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

import mtjax
from mtjax import __main__, config
from mtjax.errors import ExitCode, InputError
from mtjax.io import config_file
from tests.test_house import DOORS

ROOT = pathlib.Path(__file__).parent.parent


def test_it_lists_every_command_with_a_sentence(capsys):
    assert __main__.main([]) == __main__.main(["--help"]) == ExitCode.DONE
    said = capsys.readouterr().out
    listed = dict(re.findall(r"^  (\w+) +(\S.*)$", said, re.MULTILINE))
    assert listed.keys() == DOORS
    assert all(10 < len(about) < 150 and "`" not in about for about in listed.values()), listed


def test_it_runs_a_command_with_its_words_and_exit_code(capsys):
    assert __main__.main(["list", "average"]) == ExitCode.DONE
    assert "ema" in capsys.readouterr().out
    assert __main__.main(["list", "averag"]) == ExitCode.BAD_INPUT
    assert "did you mean 'average'?" in capsys.readouterr().err
    assert __main__.main(["trian"]) == ExitCode.BAD_INPUT
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_the_console_script_is_that_function():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"mtjax": "mtjax.__main__:main"}


def test_a_config_of_mtjax_is_found_where_there_is_no_such_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = config.read_file("configs/tiny.py")
    assert tiny.run_dir == "runs/tiny"
    own = tmp_path / "configs" / "tiny.py"
    own.parent.mkdir()
    own.write_text((ROOT / "configs" / "tiny.py").read_text().replace("runs/tiny", "runs/mine"))
    assert config.read_file("configs/tiny.py").run_dir == "runs/mine"
    installed = tmp_path / "site" / "mtjax" / "configs"
    installed.mkdir(parents=True)
    (installed / "other.py").write_text("")
    monkeypatch.setattr(config_file, "CONFIGS", installed)
    assert config_file.shipped(pathlib.Path("configs/other.py")) == installed / "other.py"
    assert config_file.shipped(pathlib.Path("configs/none.py")) == pathlib.Path("configs/none.py")


@pytest.mark.slow
def test_a_wheel_holds_the_configs_and_templates_and_the_urls_of_the_variable(tmp_path):
    source = tmp_path / "source"  # setuptools leaves a folder `build` where it builds
    for name in ("mtjax", "configs"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)]
    env = {"MTJAX_REPOSITORY": "https://example.org/fork", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(words, check=True, env=env)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        about = files.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {f"mtjax/configs/{file.name}" for file in (ROOT / "configs").glob("*.py")} <= names
    templates = ROOT / "mtjax" / "reporting" / "templates"
    assert {f"mtjax/reporting/templates/{file.name}" for file in templates.iterdir()} <= names
    assert "Project-URL: Issues, https://example.org/fork/issues" in about


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import json\n\nclass Broken(:\n", r"line 3: SyntaxError: invalid syntax"),
        ("from json import nothing\n", r"line 1: ImportError: cannot import name 'nothing'"),
        ("import json\njson.loads('{')\n", r"line 2: JSONDecodeError: Expecting property name"),
    ],
)
def test_a_method_whose_file_cannot_be_imported_is_one_line_that_names_it(text, said, tmp_path, monkeypatch, capsys):
    """A folder of methods of our own, as the kinds of mtjax have; a command ends with the line and exit code 2."""
    (tmp_path / "my_methods").mkdir()
    (tmp_path / "my_methods" / "broken.py").write_text(text)
    (tmp_path / "my_methods" / "__init__.py").write_text(
        "from mtjax.registry import import_modules\n\nimport_modules(__name__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        InputError, match=rf"^\S+my_methods/broken.py, {said}.*; fix the file, or take it out"
    ) as caught:
        importlib.import_module("my_methods")
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    mtjax._on_exception(InputError, caught.value, None)
    assert ended[:1] == [2]
    assert capsys.readouterr().err.startswith(f"error: {caught.value}\n")
