"""K-shot selection of LoRA experts by hand, with a planted one, and from runs to a trained mixture."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax import train
from mtjax.errors import ExitCode
from mtjax.export import main as export
from mtjax.model.adapters.loramoe import expert_weights
from mtjax.model.adapters.selection import omega, perplexity, ranks, select, similarity
from mtjax.runs.loading import load_any
from mtjax.select_experts import main as select_experts
from tests.devices import only_one_device


def test_golden_values():
    """Unit vectors (1, 0), (.8, .6), (0, 1): Omega of the first two is 1.25, of the last two 1.667."""
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]])
    cosines = vectors @ vectors.T
    assert omega(cosines, (0, 1)) == pytest.approx(1.25)
    assert omega(cosines, (1, 2)) == pytest.approx(1.667, abs=1e-3)
    assert omega(cosines, (0, 2)) == float("inf")
    assert ranks([2.0, 1.0, 1.0, 3.0]) == [3, 1, 2, 4]
    nats, tokens = np.array([4.0, 2.0]), np.array([4.0, 1.0])
    assert perplexity(nats, tokens, "paper") == pytest.approx(np.log(np.exp(4) + np.exp(2)))
    assert perplexity(nats, tokens, "code") == pytest.approx(np.log(np.exp(1) + np.exp(2)))
    assert np.isfinite(perplexity(np.array([5000.0]), np.array([9.0]), "paper"))
    weights = expert_weights(jnp.array(np.random.default_rng(0).normal(size=(50, 5))), 2)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    assert ((weights > 0).sum(-1) == 2).all()


def test_the_planted_one_is_chosen_with_what_differs_from_it():
    """Six LoRA: 0 is best; 1 is nearly as good and the same as 0; 2 is next and at right angles to it."""
    cosines = np.eye(6)
    cosines[0, 1] = cosines[1, 0] = 0.99
    cosines[0, 2] = cosines[2, 0] = 0.0
    rest = [pair for pair in itertools.combinations(range(6), 2) if pair not in ((0, 1), (0, 2))]
    for i, j in rest:
        cosines[i, j] = cosines[j, i] = 0.5
    found = select([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], cosines, 4, 2)
    assert found.kept == (0, 1, 2, 3)
    assert found.chosen == (0, 2)  # 2 + 6 + 1 = 9 against 2 + 4 + 6 = 12 of (0, 1)
    assert found.by_perplexity == found.by_accuracy == [1, 2, 3, 4, 5, 6]
    assert found.diversity == float("inf")


def test_similarity_is_the_cosine_of_the_products():
    rng = np.random.default_rng(0)
    draw = lambda: {"mlp": {"up": {"a": rng.normal(size=(2, 5, 3)), "b": rng.normal(size=(2, 3, 7))}}}
    one, other = draw(), draw()
    flat = lambda tree, layer: (tree["mlp"]["up"]["a"][layer] @ tree["mlp"]["up"]["b"][layer]).ravel()
    cosine = lambda x, y: x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    wanted = np.mean([cosine(flat(one, layer), flat(other, layer)) for layer in (0, 1)])
    assert similarity(one, other) == pytest.approx(wanted)
    assert similarity(one, one) == pytest.approx(1)
    zero = jax.tree.map(np.zeros_like, one)
    assert similarity(one, zero) == 0


WORDS = [
    str(pathlib.Path(__file__).parents[2] / "configs/tiny.py"),
    "--model.width=16",
    "--model.mlp_width=32",
    "--model.layers=1",
    "--data.source.count=80",
]
WORDS += ["--batch_size=4", "--held_out.source.count=20", "--no_tensorboard", "--no_self_check"]
LORA = [
    "model.adapter:lora",
    "--model.adapter.rank=2",
    "--model.adapter.alpha=4",
    "--model.adapter.targets",
    r"mlp\..*",
]
MIX = ["model.adapter:loramoe", "--model.adapter.experts=2", *LORA[1:], "--model.adapter.top_k=1"]


@pytest.mark.slow  # four runs; the parts of it are tested above and in test_loramoe.py
def test_from_a_bank_of_runs_to_a_trained_mixture(tmp_path, capsys, monkeypatch):
    """The experts are those of the bank at the start; the run is resumed, decodes, and refuses to be exported."""
    monkeypatch.chdir(tmp_path)

    def run(folder, *words):
        with only_one_device():
            return train.main([*WORDS, f"--run_dir={folder}", *words])

    assert run("start", "--steps=1") == ExitCode.DONE
    for number in (1, 2):
        assert run(f"l{number}", "--init_from=start", *LORA, "--steps=1", f"--seed={number}") == ExitCode.DONE
    with only_one_device():
        measured = ["--samples=1", "--limit=3", "--max_new_tokens=4"]
        assert select_experts(["l1", "l2", "--experts=2", *measured]) == ExitCode.DONE
        assert "--model.adapter.bank l1 l2" in capsys.readouterr().out
        assert select_experts(["l1", "--experts=2", *measured]) == ExitCode.BAD_INPUT
        assert select_experts(["l1", "start", "--experts=2", *measured]) == ExitCode.BAD_INPUT
    assert "start has no plain LoRA" in capsys.readouterr().err
    assert run("mix", "--init_from=start", *MIX, "--model.adapter.bank", "l1", "l2", "--steps=1") == ExitCode.DONE
    with only_one_device():
        mixed = load_any("mix")
        experts = [load_any(name, merge=False).params["adapter"] for name in ("l1", "l2")]
    assert mixed.model.config.adapter.top_k == 1
    a = mixed.params["adapter"]["layers"]["mlp"]["up"]["a"]
    for number, one in enumerate(experts):  # one step of a small learning rate away
        np.testing.assert_allclose(a[..., number, :], one["layers"]["mlp"]["up"]["a"], atol=2e-3)
    capsys.readouterr()
    assert run("other", *MIX, "--model.adapter.bank", "l1", "l2", "--steps=1") == ExitCode.BAD_INPUT
    assert "name it with --init_from" in capsys.readouterr().err
    with only_one_device():
        assert export(["mix", "out"]) == ExitCode.BAD_INPUT
    assert "loramoe cannot be merged" in capsys.readouterr().err
