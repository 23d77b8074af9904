"""The notebooks run top to bottom at their tiny setting, without a kernel: their cells share one namespace."""

import importlib.metadata
import importlib.util
import json
import pathlib
import re

import jax
import matplotlib as mpl
import pytest

from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from tests.chat_templates import chat_tokenizer

pytestmark = pytest.mark.usefixtures("one_device")

FOLDER = pathlib.Path(__file__).parent.parent / "docs" / "notebooks"
COLAB = "https://colab.research.google.com/"
NOTEBOOKS = {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.ipynb"))}


NOT_EXECUTED: set[str] = set()
"""Committed without outputs: `make notebooks` has not run for them in full since they were changed."""


def code(name):
    """The cells of code of a notebook, by number."""
    cells = enumerate(NOTEBOOKS[name]["cells"])
    return {number: "".join(cell["source"]) for number, cell in cells if cell["cell_type"] == "code"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Executes a notebook in an empty folder and gives its names."""

    def executed(name, model="smollm2", mode="tiny"):
        monkeypatch.setenv("MTJAX_NOTEBOOK", mode)
        monkeypatch.setenv("MTJAX_NOTEBOOK_FOLDER", str(tmp_path / "made"))
        monkeypatch.setenv("MTJAX_NOTEBOOK_MODEL", str(model))
        monkeypatch.chdir(tmp_path)
        mpl.use("agg")
        namespace = {"__name__": "__main__"}
        for number, text in code(name).items():
            exec(compile(text, f"cell {number} of {name}", "exec"), namespace)
        mpl.pyplot.close("all")
        return namespace

    return executed


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A folder with a very small chat model, as Hugging Face has them."""
    folder, tokenizer = tmp_path_factory.mktemp("small"), chat_tokenizer("smollm2")
    shape = DecoderConfig(vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, kv_heads=1, mlp_width=16)
    model = make_language_model(shape)
    huggingface.save(folder / "model", model, jax.jit(model.init)(jax.random.key(0)))
    tokenizer.save(folder / "model")
    return folder / "model"


def learned_from_mistakes(found, made):
    assert len(found["curves"]) == 4
    assert all(0 <= interval.mean <= 1 for curve in found["curves"].values() for interval in curve)
    assert "<html" in found["Page"](found["page"].read_text())._repr_html_()
    assert (made / "mined" / "solutions.jsonl").exists()


def tuned(found, made, least=0.0):
    assert len(found["prompts"]) == 12
    answers = [json.loads(line)["completion"].split()[-1] for line in found["data"].read_text().splitlines()]
    assert answers == ["delivery", "payment", "returns", "account"] * 8
    assert {"loss", "held_out_loss"} <= found["lines"][-1].keys() | found["lines"][0].keys()
    assert least <= found["after"].mean <= 1
    assert huggingface.check(made / "export")


def wrote_an_objective(found, made):
    assert str(found["config"].objective) == "Poly(epsilon=2.0)"
    assert [len((made / f"poly_{n}" / "metrics.jsonl").read_text().splitlines()) >= 3 for n in (0, 1)] == [True, True]


CHECKS = {"learn_from_mistakes": learned_from_mistakes, "tune_on_your_file": tuned}
CHECKS["write_an_objective"] = wrote_an_objective


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "tune_on_your_file")) for name in NOTEBOOKS]
)
def test_a_notebook_runs_top_to_bottom(name, run, small_model, tmp_path):
    CHECKS[name](run(name, small_model), tmp_path / "made")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_full(name, run, tmp_path):
    found = run(name, mode="")
    if name == "tune_on_your_file":
        tuned(found, tmp_path / "made", least=0.5)
    else:
        CHECKS[name](found, tmp_path / "made")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_outputs_are_small_and_of_a_whole_run(name):
    """`make notebooks` makes them: each cell once in order, short texts, pictures, no weights and arrays."""
    cells = [cell for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == "code"]
    if name in NOT_EXECUTED:
        assert not any(cell["outputs"] for cell in cells), "it has outputs: take it off the list"
        return
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    texts = ["".join(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs]
    assert max(map(len, texts)) < 6000
    assert not any(re.search(r"array\(\[|Array\(\[", text) for text in texts)
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 400_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_says_how_to_open_it_and_how_long_it_takes(name):
    """The badge and the first cell have the project's address; `make notebooks` writes it."""
    first = "".join(NOTEBOOKS[name]["cells"][0]["source"])
    assert re.search(r"\]\(https://colab\.research\.google\.com/", first)
    assert re.search(r"about \w+ minutes? on two", first)
    installs = {code(name)[min(code(name))] for name in NOTEBOOKS}
    assert len(installs) == 1
    assert NOTEBOOKS[name] == site_module("notebooks").addressed(NOTEBOOKS[name], FOLDER / f"{name}.ipynb")


def site_module(name):
    """A module of docs/site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER.parent / "site"))
        return importlib.import_module(name)


@pytest.mark.parametrize(
    ("address", "opens"),
    [
        ("", COLAB + "#upload=true"),
        (
            "https://github.com/me/mine.git",
            COLAB + "github/me/mine/blob/main/docs/notebooks/x.ipynb",
        ),
        ("https://host.org/me/mine", COLAB + "#upload=true"),
    ],
)
def test_the_badge_follows_the_address_of_the_project(address, opens, monkeypatch):
    monkeypatch.setenv("MTJAX_REPOSITORY", address)
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "\n", "Text."]},
            NOTEBOOKS["tune_on_your_file"]["cells"][1],
        ]
    }
    made = site_module("notebooks").addressed(notebook, pathlib.Path("x.ipynb"))
    assert f"svg)]({opens})\n\nText." in "".join(made["cells"][0]["source"])
    assert f'"MTJAX_REPOSITORY", "{address}")' in "".join(made["cells"][1]["source"])
    assert site_module("notebooks").addressed(made, pathlib.Path("x.ipynb")) == made


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
    exec(next(iter(code("learn_from_mistakes").values())), {})
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
