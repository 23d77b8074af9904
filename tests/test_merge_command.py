"""`python -m mtjax.merge` on runs, their steps and exports."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from mtjax import train
from mtjax.errors import ExitCode, InputError
from mtjax.merge import main as merge
from mtjax.model import huggingface
from mtjax.model.language_model import make_language_model
from mtjax.runs.loading import load_any
from mtjax.runs.merging import check_alike
from tests.devices import only_one_device

WORDS = ["configs/tiny.py", "--model.width=16", "--model.mlp_width=32", "--model.layers=1", "--data.source.count=80"]
WORDS += ["--batch_size=4", "--held_out.source.count=20", "--no_tensorboard", "--no_self_check", "--checkpoint.every=1"]
MEASURE = ["--samples=2", "--limit=4", "--max_new_tokens=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs of two steps, the second from the first."""
    place = tmp_path_factory.mktemp("merge")
    with only_one_device():
        assert train.main([*WORDS, f"--run_dir={place / 'start'}", "--steps=2"]) == ExitCode.DONE
        words = [f"--run_dir={place / '1'}", f"--init_from={place / 'start'}", "--seed=1", "--steps=2"]
        assert train.main([*WORDS, *words]) == ExitCode.DONE
    return place


def run(*words):
    with only_one_device():
        return merge([str(word) for word in words])


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_soups_of_runs_and_steps(folder, capsys):
    """The soup of one run is its export; three models are mixed in float32; equal weights are noted."""
    assert run("soup", folder / "1", f"--output={folder / 'one'}") == ExitCode.DONE
    one = load_any(str(folder / "1"))
    same(huggingface.load(folder / "one")[1], one.params)
    step = folder / "1/checkpoints/1"
    assert run("soup", folder / "1", step, folder / "start", f"--output={folder / 'three'}", "--shares", 1, 1, 2) == 0
    parts = [one.params, load_any(str(folder / "1"), step=1).params, load_any(str(folder / "start")).params]
    wanted = jax.tree.map(lambda a, b, c: (a + b + 2 * c) / 4, *parts)
    found = load_any(str(folder / "three"))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-7), found.params, wanted)
    assert found.tokenizer.encode("12+5=17").ids == one.tokenizer.encode("12+5=17").ids
    card = (folder / "three/README.md").read_text()
    assert f"0.5 of {folder / 'start'}" in card
    capsys.readouterr()
    assert run("soup", folder / "1", folder / "one", f"--output={folder / 'twice'}") == ExitCode.DONE
    assert "have the same weights (fingerprint" in " ".join(capsys.readouterr().out.split())


def test_a_line_is_measured_chosen_from_and_written(folder, capsys):
    words = [f"--report={folder / 'report'}", f"--output={folder / 'line'}", "--points=3", "--choose=nats_per_token"]
    assert run("wise_ft", folder / "start", folder / "1", *words, *MEASURE) == ExitCode.DONE
    found = json.loads((folder / "report/merge.json").read_text())
    assert [point["share"] for point in found["points"]] == [0, 0.5, 1]
    assert {"pass@1", "pass@2", "nats_per_token"} <= found["points"][0]["numbers"].keys()
    nats = [point["numbers"]["nats_per_token"]["mean"] for point in found["points"]]
    best = (0, 0.5, 1)[int(np.argmin(nats))]
    pair = [load_any(str(folder / name)).params for name in ("start", "1")]
    wanted = jax.tree.map(lambda a, b: (1 - best) * a + best * b, *pair)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-7), huggingface.load(folder / "line")[1], wanted)
    page = (folder / "report/report.html").read_text()
    assert "share of the second model" in page
    assert (folder / "report/coverage.png").is_file()
    assert (folder / "report/loss.png").is_file()
    assert f"{best:g} of the way from" in capsys.readouterr().out


@pytest.fixture(scope="module")
def others(folder):
    """A model that does not belong to the runs."""
    own = load_any(str(folder / "1"))
    wide = make_language_model(dataclasses.replace(own.model.config, mlp_width=48))
    huggingface.save(folder / "wide", wide, jax.jit(wide.init)(jax.random.key(0)), tokenizer=own.tokenizer)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["soup", "1", "wide", "--output=out"],
            r"of another architecture than .*: model.mlp_width is 48 there and 32 here",
        ),
        (["soup", "1"], "say where the merged model goes, --output=FOLDER"),
        (["soup", "--output=out"], "got 0 models: soup takes at least 1"),
        (["wise_ft", "1", "start", "--points=1"], "points=1: expected at least 2"),
        (["wise_fit", "1", "start"], "unknown merge 'wise_fit': did you mean 'wise_ft'"),
        (["soup", "1", "nowhere", "--output=out"], "nowhere"),
        (["soup", "1", "start", "--sharez=1", "--output=out"], "sharez"),
    ],
)
def test_what_does_not_belong_together_is_refused(folder, others, words, said, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert run(*words) == ExitCode.BAD_INPUT
    assert re.search(said, capsys.readouterr().err)


def test_another_tokenizer_is_refused_by_its_fingerprint(folder, monkeypatch):
    """As many tokens, other texts."""
    own = load_any(str(folder / "1"))
    names = own.tokenizer._replace(chat_template="another", fingerprint="a" * 64)
    check_alike("one", own, "template", own._replace(tokenizer=names))
    shifted = names._replace(
        decode=lambda ids: own.tokenizer.decode([(id + 1) % own.tokenizer.vocab_size for id in ids])
    )
    with pytest.raises(InputError, match="has another tokenizer than one \\(fingerprint aaaaaaaaaaaaaaaa there"):
        check_alike("one", own, "other", own._replace(tokenizer=shifted))
