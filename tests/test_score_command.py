"""`python -m mtjax.score`: scores of every example by a model, and a run that trains on the upper half."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax import score, train
from mtjax.errors import ExitCode
from mtjax.runs.scoring import problem_of, token_ranks

TINY = str(pathlib.Path(__file__).parent.parent / "configs" / "tiny.py")
SMALL = ["--model.width=16", "--model.mlp_width=16", "--batch_size=4", "--tensorboard=False", "--data.source.count=30"]


def test_ranks_and_names_by_hand():
    logits = jnp.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    nll, rank = token_ranks(logits, jnp.array([1, 0]))
    np.testing.assert_allclose(nll, -jax.nn.log_softmax(logits)[jnp.arange(2), jnp.array([1, 0])], rtol=1e-6)
    assert rank.tolist() == [1, 1]  # equal logits are no more likely
    assert problem_of("a/b/right/0", {"a", "a/b"}) == "a/b"


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_scores_of_a_run_select_the_data_of_another(tmp_path, capsys):
    small, file = tmp_path / "small", tmp_path / "scores.jsonl"
    assert train.main([TINY, *SMALL, f"--run_dir={small}", "--steps=1", "held_out:None"]) == ExitCode.DONE
    assert (
        score.main([str(small), TINY, "--data.source.count=30", f"--output={file}", "--excluded=dropped"])
        == ExitCode.DONE
    )
    assert "data.selections=(Learnable(" in capsys.readouterr().out
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({record["problem"] for record in records}) == 30
    assert all(record["score"] is None or record["score"] >= 0 for record in records)
    config = tmp_path / "own.py"
    config.write_text(
        "import dataclasses\n"
        "from mtjax.config import read_file\n"
        "from mtjax.data.selection.learnable import Learnable\n"
        f"parent = read_file({TINY!r})\n"
        f"data = dataclasses.replace(parent.data, selections=(Learnable({str(file)!r}, 0.5),))\n"
        "config = dataclasses.replace(parent, data=data, held_out=None)\n"
    )
    assert train.main([str(config), *SMALL, f"--run_dir={tmp_path}/large", "--steps=1"]) == ExitCode.DONE
    assert "learnable dropped" in capsys.readouterr().out
    assert score.main([str(small)]) == ExitCode.BAD_INPUT
    assert "expected a model and a config" in capsys.readouterr().err
