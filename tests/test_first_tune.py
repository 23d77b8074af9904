"""docs/first_tune.md: its commands, run in order as they stand there, do what the page says."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "first_tune.md").read_text()
COMMANDS = re.findall(r"^python -m (mtjax\.\w+) (.*)$", PAGE, re.MULTILINE)


def test_the_page_goes_from_data_to_export():
    names = [name.removeprefix("mtjax.") for name, _ in COMMANDS]
    assert names == ["inspect", "new", "evaluate", "train", "plot", "generate", "evaluate", "export", "generate"]
    for name in ("teams.jsonl", "teams_test.jsonl"):
        assert (ROOT / "docs" / "examples" / name).is_file()
    lines = (ROOT / "docs" / "examples" / "teams.jsonl").read_text().splitlines()
    assert len(lines) == 40
    assert json.loads(lines[0]) == json.loads(re.search(r'^\{"prompt".*$', PAGE, re.MULTILINE)[0])


@pytest.mark.slow
def test_the_commands_of_the_page_run_and_the_model_learns(tmp_path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    began, said = time.monotonic(), []
    for name, words in COMMANDS:
        done = subprocess.run(
            f"{sys.executable} -m {name} {words}", shell=True, cwd=tmp_path, capture_output=True, text=True,
            env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    share = lambda folder: json.loads((tmp_path / folder / "evaluation.json").read_text())["metrics"]["plain"]["greedy"]
    assert share("runs/teams_before")["mean"] <= 0.2
    assert share("runs/teams/evaluation")["mean"] >= 0.6
    assert "delivery" in said[5]
    assert said[8].split("\n")[-2] == said[5].split("\n")[-2]  # the export answers as the run does
    assert time.monotonic() - began < 1800  # ten minutes on two free cores
