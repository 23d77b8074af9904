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
    "family.py": "tests/model/test_families.py",
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


@pytest.mark.slow
def test_every_example_passes_the_contract_tests_of_its_kind(grown):
    names = " or ".join(
        pathlib.Path(place).stem for place, _ in ROW.findall((ROOT / "docs/add_a_method.md").read_text())
    )
    done = run(grown, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", names, *sorted(set(CONTRACTS.values())))
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 24


CHECKPOINT = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(0)
D, H, G, K, F, V, L = 12, 3, 1, 4, 20, 48, 2
shapes = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,), "lm_head.weight": (V, D)}
for layer in range(L):
    at = f"model.layers.{layer}."
    shapes |= {at + name + ".weight": (D,) for name in
               ("input_layernorm", "post_attention_layernorm", "attention_norm", "feed_forward_norm")}
    shapes |= {at + "self_attn.q_proj.weight": (H * K, D), at + "self_attn.o_proj.weight": (D, H * K)}
    shapes |= {at + f"self_attn.{name}_proj.weight": (G * K, D) for name in "kv"}
    shapes |= {at + f"mlp.{name}_proj.weight": (F, D) for name in ("gate", "up")}
    shapes |= {at + "mlp.down_proj.weight": (D, F)}
w = {name: rng.normal(0.5 if len(shape) == 1 else 0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
save_file(w, sys.argv[1] + "/model.safetensors")
config = {"model_type": "my_llama", "architectures": ["MyLlamaForCausalLM"], "vocab_size": V, "hidden_size": D,
          "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": H, "num_key_value_heads": G,
          "rms_norm_eps": 1e-5, "tie_word_embeddings": False}
json.dump(config, open(sys.argv[1] + "/config.json", "w"))

norm = lambda x, name: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[name + ".weight"]
tokens = np.arange(9) * 7 % V
angle = np.arange(9)[:, None] / 10000 ** (np.arange(0, K, 2) / K)
def turn(x):  # [T, K], the halves are pairs
    a, b = x[:, : K // 2], x[:, K // 2 :]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)
x = w["model.embed_tokens.weight"][tokens].astype(np.float64)
for layer in range(L):
    at = f"model.layers.{layer}."
    inner = norm(x, at + "input_layernorm")
    q, k, v = (inner @ w[at + f"self_attn.{name}_proj.weight"].T for name in "qkv")
    seen = []
    for head in range(H):
        scores = turn(q[:, head * K : head * K + K]) @ turn(k).T / np.sqrt(K)
        scores = np.where(np.tril(np.ones((9, 9))) > 0, scores, -1e30)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        seen.append(weights / weights.sum(-1, keepdims=True) @ v)
    x = x + norm(np.concatenate(seen, -1) @ w[at + "self_attn.o_proj.weight"].T, at + "attention_norm")
    inner = norm(x, at + "post_attention_layernorm")
    gate, up = (inner @ w[at + f"mlp.{name}_proj.weight"].T for name in ("gate", "up"))
    out = (gate / (1 + np.exp(-gate)) * up) @ w[at + "mlp.down_proj.weight"].T
    x = x + norm(out, at + "feed_forward_norm")
wanted = norm(x, "model.norm") @ w["lm_head.weight"].T

from mtjax.model import huggingface
model, params = huggingface.load(sys.argv[1])
logits = lambda params: model.logits(params, model.hidden(params, tokens[None], jnp.ones((1, 9), jnp.int32)))[0]
print("apart", np.abs(np.asarray(logits(params)) - wanted).max())
_, again = huggingface.load(huggingface.save(sys.argv[1] + "/again", model, params))
print("again", all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (params, again)))))
"""


def test_a_checkpoint_of_the_new_family_is_read_and_written(grown, tmp_path):
    """Against NumPy in float64, which knows nothing of the family's file."""
    done = run(grown, "-c", CHECKPOINT, str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(re.search(r"apart (.*)", done.stdout)[1]) < 1e-4
    assert "again True" in done.stdout
    said = run(grown, "-m", "mtjax.inspect", str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert "my_llama" in said.stdout
    assert re.search(r"^loads +(\w+)", said.stdout, re.MULTILINE)[1] == "yes"


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


@pytest.mark.slow
def test_a_class_of_a_config_file_gets_the_contract_tests(grown, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    environment = os.environ | {"PYTHONPATH": str(grown), "MTJAX_CONFIG": str(tmp_path / "own.py")}
    words = ["-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "halved", "tests/objectives/test_contract.py"]
    done = subprocess.run([sys.executable, *words], cwd=grown, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
