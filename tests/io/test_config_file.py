"""Classes that a config file defines: their snapshot, whatever the file is called and wherever it goes."""

import dataclasses

import pytest

from mtjax.config import load, read_file, snapshot
from mtjax.objectives import OBJECTIVES
from mtjax.runs.folder import changed, prepare_folder

OWN = '''"""A config with an objective of its own: 'quotes', \\\\ and {braces}."""
import dataclasses
from mtjax.config import read_file
from mtjax.objectives import base

SCALE = 2.0

def scaled(x):
    return SCALE * x

def other():
    return 1

@base.OBJECTIVES.register("scaled")
@dataclasses.dataclass(frozen=True)
class Scaled(base.Settings):
    """Cross-entropy, scaled."""
    factor: float = 0.5

    def __call__(self, policy, batch, *, reference=None, key=None):
        scores = policy.scores(batch)
        return base.weighted_nll(scores._replace(logprob=scaled(scores.logprob)), batch, batch.weights)

tiny = read_file("configs/tiny.py")
optim = dataclasses.replace(tiny.optim, schedule_steps=60)
config = dataclasses.replace(tiny, objective=Scaled(), optim=optim, run_dir="runs/own")
'''


@pytest.fixture(autouse=True)
def no_traces():
    yield
    vars(OBJECTIVES)["_entries"].pop("scaled", None)


def begun(folder, name, text=OWN):
    """A config file, and a run folder that was begun with it."""
    file, run = folder / "here" / name, folder / "run"
    file.parent.mkdir(exist_ok=True)
    run.mkdir(exist_ok=True)
    file.write_text(text)
    config = load(file, [f"--run_dir={run}"])
    (run / "config.py").write_text(snapshot(config))
    return file, run


@pytest.mark.parametrize("name", ["my-run.py", "config.py", "1. try (copy).py", "class.py", "ünï.py"])
def test_a_run_goes_on_whatever_the_file_is_called_and_where_a_copy_lies(tmp_path, name):
    file, run = begun(tmp_path, name)
    assert changed(read_file(run / "config.py"), load(file, [f"--run_dir={run}"])) == {}
    copy = tmp_path / f"copy {name}"
    file.rename(copy)
    config = load(copy, ["objective:scaled", f"--run_dir={run}"])
    prepare_folder(config)
    assert OBJECTIVES.name_of(config.objective) == "scaled"
    assert OBJECTIVES.name_of(read_file(run / "config.py").objective) == "scaled"
    copy.unlink()  # the snapshot holds the text
    again = read_file(run / "config.py")
    assert (type(again.objective).__name__, again.objective.factor) == ("Scaled", 0.5)
    (tmp_path / "again.py").write_text(snapshot(again))
    assert read_file(tmp_path / "again.py") == again
    assert max(map(len, snapshot(again).splitlines())) < 200


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Cross-entropy, scaled."""', '"""Cross-entropy, scaled."""  # by a constant', True),
        ("return 1\n", "return 3\n", True),  # not used by the class
        ("config = ", "steps = 7\nconfig = ", True),
        ("SCALE = 2.0", "SCALE = 3.0", False),
        ("return SCALE * x", "return x * SCALE", False),
        ("logprob=scaled(", "logprob=-scaled(", False),
    ],
)
def test_an_edited_file_goes_on_unless_what_the_class_does_has_changed(tmp_path, old, new, same):
    file, run = begun(tmp_path, "my-run.py")
    assert old in OWN
    file.write_text(OWN.replace(old, new, 1))
    found = changed(read_file(run / "config.py"), load(file, [f"--run_dir={run}"]))
    assert found == ({} if same else {"objective": found.get("objective")})
    assert same or "class Scaled as it was at the first start" in found["objective"][0]


def test_a_setting_of_an_own_class_that_differs_is_named(tmp_path):
    file, run = begun(tmp_path, "config.py")
    now = load(file, [f"--run_dir={run}", "--objective.factor=0.25"])
    assert changed(read_file(run / "config.py"), now) == {"objective.factor": (0.5, 0.25)}


def test_a_snapshot_started_from_another_folder_goes_on_with_its_own_run(tmp_path, monkeypatch):
    folder, elsewhere = tmp_path / "runs" / "own", tmp_path / "elsewhere"
    folder.mkdir(parents=True)
    elsewhere.mkdir()
    config = dataclasses.replace(read_file("configs/tiny.py"), run_dir="runs/own")
    (folder / "config.py").write_text(snapshot(config))
    monkeypatch.chdir(elsewhere)
    assert load(folder / "config.py").run_dir == "runs/own"  # not a run's folder yet
    (folder / "metrics.jsonl").touch()
    assert load(folder / "config.py").run_dir == str(folder)
    assert load(folder / "config.py", ["--run_dir=new"]).run_dir == "new"
    monkeypatch.chdir(tmp_path)
    assert load(folder / "config.py").run_dir == "runs/own"
