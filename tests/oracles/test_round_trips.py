"""`mtjax.export` of every family, of merged LoRA and of the adapter alone, read again by transformers and peft.

Where there is a torch to ask, as in `test_transformers.py`.
"""

import dataclasses
import json
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax import export, merge
from mtjax.model import catalog, huggingface, peft
from mtjax.model.adapters.base import at, chosen_maps, put
from mtjax.model.adapters.lora import Lora
from mtjax.model.language_model import make_language_model
from tests.oracles.test_transformers import DECODERS, TORCH, made  # noqa: F401 - a fixture

pytestmark = pytest.mark.skipif(TORCH is None, reason="MTJAX_TORCH names no interpreter with torch")
MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe")
ATTENTION = ("attention.query", "attention.out")
RSLORA = Lora(rank=2, alpha=3.0, targets=ATTENTION, rslora=True, layers=(0, 2))
EXPERTS = Lora(rank=2, alpha=3.0, targets=(*ATTENTION, r"experts\.(gate|up|down)"))
# The other matrices of Phi-3 are joined; peft 0.21 takes the MLP of dense layers in Qwen3-MoE for experts.
SOME = {"phi3": ("attention.out", "mlp.down"), "qwen3_moe": ("attention.*",)}
CASES = [(name, "plain", Lora(rank=3, alpha=6.0, targets=SOME.get(name, ()))) for name in DECODERS]
CASES += [(name, "experts", EXPERTS) for name in MIXTURES if name != "qwen2_moe"]  # which peft 0.21 does not load
CASES += [("qwen3", "rslora", RSLORA), ("gemma3_text", "dora", Lora(rank=2, alpha=4.0, dora=True))]
CASES += [("olmoe", "down", Lora(rank=2, targets=(r"experts\.down",), layers=(1,)))]


@pytest.fixture(scope="module")
def torch_logits():
    """A function of a folder: the logits of torch, from one process for all tests."""
    script, env = pathlib.Path(__file__).with_name("with_torch.py"), os.environ | {"JAX_PLATFORMS": ""}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen([TORCH, script, "serve"], env=env, **pipes) as process:

        def ask(folder):
            process.stdin.write(f"{folder}\n")
            answer = process.stdout.readline()
            assert answer == "done\n", answer
            return np.load(f"{folder}.npz")["logits"]

        yield ask
        process.stdin.close()


def logits_of(model, params, tokens):
    return np.asarray(model.logits(params, model.hidden(params, tokens, jnp.ones_like(tokens))))


def without_padding_id(folder):
    """transformers refuses a padding id past the rows of the tiny embedding."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))


def adapted(folder, adapter, seed):
    """A checkpoint with an adapter whose B is not zero."""
    base, params = huggingface.load(folder)
    model = make_language_model(dataclasses.replace(base.config, adapter=adapter))
    params = model.complete(jax.random.key(seed), {"base": params})
    noise = np.random.default_rng(seed)
    chosen, _ = chosen_maps(peft.without(model), adapter)
    live = lambda of, x: np.asarray(of.ranks).reshape(-1, *(1,) * (x.ndim - 1)) > 0
    moved = lambda of, x: jnp.asarray(x + 0.1 * live(of, x) * noise.standard_normal(x.shape), x.dtype)
    own = {
        path: jax.tree.map(lambda x, of=of: moved(of, x), at(params["adapter"], path)) for path, of in chosen.items()
    }
    return model, {**params, "adapter": put({}, own)}


@pytest.mark.parametrize("name", DECODERS)
def test_an_exported_model_has_the_logits_of_transformers(name, made, torch_logits, tmp_path, one_device, capsys):  # noqa: F811
    source = made / f"{name}_0"
    oracle = np.load(f"{source}.npz")
    for what, words in {"same": [], "split": ["--max_shard_size=20KB", "--dtype=float32"]}.items():
        assert export.main([str(source), str(tmp_path / what), "--tokenizer=arithmetic", *words]) == 0
        assert "read again; the weights differ by at most 0" in capsys.readouterr().out
        without_padding_id(tmp_path / what)
        apart = np.abs(torch_logits(tmp_path / what) - oracle["logits"]).max()
        print(f"{name} {what}: {apart:.1e}")
        assert apart < 1e-3


@pytest.mark.parametrize(("name", "kind", "adapter"), CASES, ids=[f"{name}-{kind}" for name, kind, _ in CASES])
def test_an_adapter_and_its_merge_have_these_logits_in_peft(
    name, kind, adapter, made, torch_logits, tmp_path, one_device, capsys  # noqa: F811
):  # fmt: skip
    source = made / f"{name}_0"
    model, params = adapted(source, adapter, 5)
    tokens = jnp.asarray(np.load(f"{source}.npz")["tokens"], jnp.int32)
    ours = logits_of(model, params, tokens)
    assert np.abs(ours - np.load(f"{source}.npz")["logits"]).max() > 1e-2
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    adapter.mkdir()
    peft.save_adapter(adapter, model, params, str(source))
    assert export.main([str(adapter), str(merged), "--tokenizer=arithmetic", "--dtype=float32"]) == 0
    assert export.main([str(adapter), str(tmp_path / "again"), "--tokenizer=arithmetic", "--what=adapter"]) == 0
    assert "and equal" in capsys.readouterr().out
    without_padding_id(merged)
    np.testing.assert_allclose(logits_of(*huggingface.load(merged), tokens), ours, atol=2e-4)
    np.testing.assert_allclose(logits_of(*catalog.load_model(str(tmp_path / "again")), tokens), ours, atol=1e-6)
    for folder in (merged, adapter, tmp_path / "again"):
        apart = np.abs(torch_logits(folder) - ours).max()
        print(f"{name} {kind} {folder.name}: {apart:.1e}")
        assert apart < 1e-3


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3_moe"])
def test_a_merged_export_has_these_logits_in_transformers(name, made, torch_logits, tmp_path, one_device):  # noqa: F811
    """The mean of two models, and a point between them; their logits are those that the mixed parameters have here."""
    source, oracle = made / f"{name}_0", np.load(made / f"{name}_0.npz")
    tokens = jnp.asarray(oracle["tokens"], jnp.int32)
    model, params = huggingface.load(source)
    noise = np.random.default_rng(3)
    other = jax.tree.map(lambda x: x + 0.1 * noise.standard_normal(x.shape).astype(np.float32), params)
    huggingface.save(tmp_path / "other", model, other)
    for method, share, words in (("soup", 0.5, []), ("wise_ft", 0.25, ["--fraction=0.25"])):
        out = tmp_path / method
        words = [method, source, tmp_path / "other", f"--output={out}", "--tokenizer=arithmetic", *words]
        assert merge.main(list(map(str, words))) == 0
        without_padding_id(out)
        ours = logits_of(model, jax.tree.map(lambda a, b, s=share: (1 - s) * a + s * b, params, other), tokens)
        assert np.abs(ours - oracle["logits"]).max() > 1e-2
        apart = np.abs(torch_logits(out) - ours).max()
        print(f"{name} {method}: {apart:.1e}")
        assert apart < 1e-3
