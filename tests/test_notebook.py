"""The notebook runs top to bottom at its tiny setting; without a kernel: its cells are executed in one namespace."""

import json
import pathlib

import matplotlib as mpl
import pytest

NOTEBOOK = pathlib.Path(__file__).parent.parent / "docs" / "notebooks" / "learn_from_mistakes.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_notebook_runs_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("MTJAX_NOTEBOOK", "tiny")
    monkeypatch.setenv("MTJAX_NOTEBOOK_FOLDER", str(tmp_path))
    mpl.use("agg")
    namespace = {}
    for number, cell in enumerate(CELLS):
        if cell["cell_type"] == "code" and "install" not in cell["metadata"].get("tags", []):
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
    assert len(namespace["curves"]) == 4
    assert all(0 <= interval.mean <= 1 for curve in namespace["curves"].values() for interval in curve)
    assert "<html" in namespace["Page"](namespace["page"].read_text())._repr_html_()
    assert (tmp_path / "mined" / "solutions.jsonl").exists()


def test_the_notebook_is_committed_without_output():
    assert all(not cell.get("outputs") for cell in CELLS)
