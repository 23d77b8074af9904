"""The claim of docs/add_a_method.md, that a method is one new file: each example is copied to its folder and tested."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from mtjax.config import load, read_file, snapshot
from mtjax.objectives import OBJECTIVES

ROOT = pathlib.Path(__file__).parent.parent
ROW = re.compile(r"^\| \w+ \| `(mtjax/[\w/]+\.py)` \| \[[\w.]+\]\((examples/[\w.]+)\)", re.MULTILINE)

CONTRACTS = {
    "objective.py": "tests/objectives/test_contract.py",
    "task.py": "tests/data/test_contracts.py",
    "source.py": "tests/data/test_contracts.py",
    "schedule.py": "tests/optim/test_schedules.py",
    "metric.py": "tests/evaluation/test_metrics_contract.py",
    "grader.py": "tests/evaluation/test_graders_contract.py",
    "decoder.py": "tests/sampling/test_decoders.py",
    "adapter.py": "tests/model/test_adapters.py",
}
"""The contract tests of each example's kind."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A copy of the project in which the examples stand where the page says."""
    folder = tmp_path_factory.mktemp("grown")
    for name in ("mtjax", "tests", "configs", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        ignored = (
            {"ignore": shutil.ignore_patterns("__pycache__", "fixtures", "golden")} if copy == shutil.copytree else {}
        )
        copy(ROOT / name, folder / name, **ignored)
    for place, example in ROW.findall((ROOT / "docs" / "add_a_method.md").read_text()):
        assert not (folder / place).exists(), f"{place} exists"
        shutil.copy(ROOT / "docs" / example, folder / place)
    return folder


def test_the_page_shows_every_example():
    shown = {pathlib.Path(example).name for _, example in ROW.findall((ROOT / "docs" / "add_a_method.md").read_text())}
    assert shown == {file.name for file in (ROOT / "docs" / "examples").glob("*.py")} == set(CONTRACTS)


def run(folder, *words):
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_every_example_passes_the_contract_tests_of_its_kind(grown):
    names = " or ".join(
        pathlib.Path(place).stem for place, _ in ROW.findall((ROOT / "docs/add_a_method.md").read_text())
    )
    done = run(grown, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", names, *sorted(set(CONTRACTS.values())))
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 24


def test_every_example_is_listed_and_can_be_chosen(grown):
    said = run(grown, "-m", "mtjax.list").stdout
    for place, _ in ROW.findall((ROOT / "docs" / "add_a_method.md").read_text()):
        assert re.search(rf"^  {pathlib.Path(place).stem} ", said, re.MULTILINE), place
    words = ["objective:poly", "--objective.epsilon=1", "data.task:correction", "optim.schedule:polynomial"]
    words += ["data.source:flash_cards", "--data.source.path=cards.jsonl", "--help-all"]
    done = run(grown, "-m", "mtjax.train", "configs/tiny.py", *words)
    assert done.returncode == 0, done.stderr
    assert "--objective.epsilon" in done.stdout
    assert "--optim.schedule.power" in done.stdout


OWN = """
import dataclasses
from typing import ClassVar

from mtjax.config import read_file
from mtjax.objectives import base

@base.OBJECTIVES.register("halved")
@dataclasses.dataclass(frozen=True)
class Halved:
    \"\"\"Half the cross-entropy. Formula: `L = nll / 2`. Use it in this test.\"\"\"

    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False
    factor: float = 0.5

    def __call__(self, policy, batch, *, reference=None, key=None):
        scores = policy.scores(batch)
        return base.weighted_nll(scores._replace(logprob=self.factor * scores.logprob), batch, batch.weights)

config = dataclasses.replace(read_file("configs/tiny.py"), objective=Halved())
"""


def test_a_class_of_a_config_file_can_be_chosen_and_is_in_the_snapshot(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = tmp_path / "own.py"
    file.write_text(OWN)
    config = load(file, ["objective:nll"])
    assert OBJECTIVES.name_of(config.objective) == "nll"
    config = load(file, ["objective:halved", "--objective.factor=0.25"])
    assert config.objective.factor == 0.25
    (tmp_path / "snapshot.py").write_text(snapshot(config))
    assert read_file(tmp_path / "snapshot.py") == config
    vars(OBJECTIVES)["_entries"].pop("halved")


def test_a_class_of_a_config_file_gets_the_contract_tests(grown, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    environment = os.environ | {"PYTHONPATH": str(grown), "MTJAX_CONFIG": str(tmp_path / "own.py")}
    words = ["-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "halved", "tests/objectives/test_contract.py"]
    done = subprocess.run([sys.executable, *words], cwd=grown, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
