"""The notebook runs top to bottom at its tiny setting; without a kernel: its cells are executed in one namespace."""

import importlib.metadata
import json
import pathlib

import matplotlib as mpl
import pytest

pytestmark = pytest.mark.usefixtures("one_device")

NOTEBOOK = pathlib.Path(__file__).parent.parent / "docs" / "notebooks" / "learn_from_mistakes.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_notebook_runs_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("MTJAX_NOTEBOOK", "tiny")
    monkeypatch.setenv("MTJAX_NOTEBOOK_FOLDER", str(tmp_path))
    mpl.use("agg")
    namespace = {}
    for number, cell in enumerate(CELLS):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
    assert len(namespace["curves"]) == 4
    assert all(0 <= interval.mean <= 1 for curve in namespace["curves"].values() for interval in curve)
    assert "<html" in namespace["Page"](namespace["page"].read_text())._repr_html_()
    assert (tmp_path / "mined" / "solutions.jsonl").exists()


def test_the_notebook_is_committed_without_output():
    assert all(not cell.get("outputs") for cell in CELLS)


def install(tmp_path, monkeypatch, *, missing=True, repository=""):
    """What the first cell runs, without running it, in `tmp_path`."""
    ran, here = [], tmp_path / "work"
    here.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("MTJAX_REPOSITORY", repository)
    monkeypatch.setattr("subprocess.run", lambda words, check: ran.append(words))
    monkeypatch.setattr("shutil.which", lambda name: None)
    if missing:
        monkeypatch.setattr("importlib.metadata.version", lambda name: importlib.metadata.distribution("no-" + name))
    exec("".join(next(cell for cell in CELLS if cell["cell_type"] == "code")["source"]), {})
    return ran


def test_the_first_cell_installs_what_is_missing(tmp_path, monkeypatch):
    assert install(tmp_path, monkeypatch, missing=False) == []
    with pytest.raises(SystemExit, match="set REPOSITORY in this cell"):
        install(tmp_path, monkeypatch)
    clone, pip = install(tmp_path, monkeypatch, repository="git://host/mtjax")
    assert (clone[:2], pip[1:4]) == (["git", "clone"], ["-m", "pip", "install"])
    assert pip[-1].startswith(str(tmp_path / "work" / "mtjax-checkout"))
    (tmp_path / "mtjax" / "objectives").mkdir(parents=True)  # the notebook lies in a checkout
    (pip,) = install(tmp_path, monkeypatch)
    assert pip[-1].startswith(str(tmp_path))
    assert "checkout" not in pip[-1]
