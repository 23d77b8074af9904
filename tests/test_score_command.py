"""`python -m mtjax.score`: scores of every example by a model, and a run that trains on the upper half."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax import score, train
from mtjax.errors import ExitCode
from mtjax.runs.ranking import Ranked, best_of_n, solution_score
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


def test_solutions_by_their_steps_by_hand():
    odds = np.log([4.0, 1.0, 9.0])  # probabilities 0.8, 0.5 and 0.9
    assert [solution_score(odds, by) for by in ("least", "product", "last")] == pytest.approx([0.5, 0.36, 0.9])
    assert np.isnan(solution_score(np.zeros(0), "product"))
    far = np.array([-1e4, 1e4])
    assert [solution_score(far, by) for by in ("least", "product", "last")] == [0, 0, 1]
    one = lambda problem, right, score: Ranked(problem, "", right, (), score)
    ranked = [one("a", True, 0.9), one("a", False, 0.8), one("b", False, 0.3), one("b", True, 0.3)]
    ranked += [one("b", True, float("nan")), one("c", True, 0.1)]  # only right: it says nothing
    found = best_of_n(ranked)
    assert (found.problems, found.best.mean) == (2, 0.75)  # of the two at 0.3 one is right
    assert found.any_one.mean == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert best_of_n(ranked[-1:]) is None


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_a_verifier_of_steps_ranks_solutions(tmp_path, capsys):
    """Steps of even numbers are right; what it has not seen is ranked by them, and its first error found."""
    draw = np.random.default_rng(0)
    step = lambda right: f"so {2 * draw.integers(10, 49) + (not right)}"
    records, solutions = [], []
    for number in range(300):
        labels = [True] * int(draw.integers(0, 3)) + [bool(draw.integers(0, 2))]
        steps = [step(label) for label in labels]
        records.append({"prompt": f"even {number}", "completions": steps, "labels": labels})
    for number in range(20):
        sides = [[step(True), step(right), step(True)] for right in (True, False, False)]
        right, *wrong = ["\n".join(side) for side in sides]
        solutions.append({"id": f"p{number}", "question": f"even {number}", "right": [right], "wrong": wrong})
    for name, lines in (("steps", records), ("solutions", solutions)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run, out = tmp_path / "run", tmp_path / "ranked.jsonl"
    words = ["objective:process_reward", "data.task:process_reward", "data.source:files", "held_out:None"]
    words += [f"--data.source.path={tmp_path}/steps.jsonl", "--data.tokenizer=bytes", "--data.sequence_length=64"]
    words += ["--model.width=32", "--model.mlp_width=32", "--batch_size=16", "--tensorboard=False", "--steps=150"]
    words += ["--min_target_share=0", "--model.max_length=64", "--optim.learning_rate=1e-2", f"--run_dir={run}"]
    assert train.main([TINY, *words]) == ExitCode.DONE
    capsys.readouterr()
    of = ["data.source:files", f"--data.source.path={tmp_path}/solutions.jsonl", f"--output={out}"]
    for by in ("least", "product"):
        assert score.main([str(run), TINY, *of, f"--by={by}"]) == ExitCode.DONE
        said = capsys.readouterr().out
        assert f"60 solutions of 20 problems, ranked by the {by} of their steps" in said
        assert "right in 100.0% (100.0% to 100.0%) of the 20 problems" in said
        assert "one at random: 33.3%" in said
    ranked = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["right"] for one in ranked[:3]] == [True, False, False]
    assert all(len(one["steps"]) == 3 for one in ranked)
    assert np.mean([one["steps"][1] < 0.5 for one in ranked if not one["right"]]) > 0.95
    assert score.main([str(tmp_path / "none"), TINY, "--by=least"]) == ExitCode.BAD_INPUT
    plain = tmp_path / "plain"
    assert train.main([TINY, *SMALL, f"--run_dir={plain}", "--steps=1", "held_out:None"]) == ExitCode.DONE
    assert score.main([str(plain), TINY, *of, "--by=last"]) == ExitCode.BAD_INPUT
    assert "is a run with the task 'mistake', and steps are ranked by" in capsys.readouterr().err
