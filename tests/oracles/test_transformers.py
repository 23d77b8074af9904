"""Random checkpoints of every family against the PyTorch classes of transformers, where there is a torch to ask.

torch is no dependency: `MTJAX_TORCH` names a Python interpreter that has torch and transformers, such as
`MTJAX_TORCH=/opt/torch/bin/python pytest tests/oracles`; without it these tests are skipped.
"""

import json
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mtjax.model import huggingface
from mtjax.model.families import FAMILIES
from mtjax.model.families.tensors import hub_tensors, whole_to_hub

TORCH = os.environ.get("MTJAX_TORCH")
SEEDS = int(os.environ.get("MTJAX_ORACLE_SEEDS", "3"))
DECODERS = [name for name in FAMILIES if name != "t5"]  # `test_t5.py` has the encoder-decoder
pytestmark = pytest.mark.skipif(TORCH is None, reason="MTJAX_TORCH names no interpreter with torch")


def torch_does(*words, script="with_torch.py"):
    place = pathlib.Path(__file__).with_name(script)
    subprocess.run([TORCH, place, *map(str, words)], check=True, env=os.environ | {"JAX_PLATFORMS": ""})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    torch_does("make", folder, ",".join(DECODERS), SEEDS)
    return folder


def logits_and_gradient(model, params, tokens):
    """Logits, and the gradient of the mean next-token loss."""

    def loss(params):
        logits = model.logits(params, model.hidden(params, tokens, jnp.ones_like(tokens)))
        logprob = jax.nn.log_softmax(logits[:, :-1])
        return -jnp.mean(jnp.take_along_axis(logprob, tokens[:, 1:, None], -1)), logits

    (_, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return logits, gradient


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", DECODERS)
def test_logits_gradients_cache_and_export_equal_transformers(name, seed, made, tmp_path, record_property, one_device):
    folder = made / f"{name}_{seed}"
    oracle = np.load(f"{folder}.npz")
    model, params = huggingface.load(folder)
    tokens = jnp.asarray(oracle["tokens"], jnp.int32)
    logits, gradient = logits_and_gradient(model, params, tokens)
    worst = float(np.max(np.abs(logits - oracle["logits"])))
    np.testing.assert_allclose(logits, oracle["logits"], atol=2e-4)

    table = FAMILIES[name].table(model.config)
    ours = {hub: whole_to_hub(parts) for hub, parts in hub_tensors(table, gradient)}
    theirs = {key.removeprefix("gradient "): oracle[key] for key in oracle.files if key.startswith("gradient ")}
    assert ours.keys() == theirs.keys()
    largest = max(float(np.max(np.abs(each))) for each in theirs.values())
    apart = max(float(np.max(np.abs(ours[key] - theirs[key]))) for key in theirs) / largest
    assert apart < 1e-3
    print(f"{name} {seed}: logits {worst:.1e}, gradients {apart:.1e} of the largest")

    scaling = model.config.rope_scaling
    if scaling is None or scaling.kind != "longrope" or scaling.original_length >= tokens.shape[1]:
        hidden, cache = model.decode(params, model.init_cache(2, 24), tokens[:, :20], jnp.arange(20)[None].repeat(2, 0))
        parts, decode = [hidden], jax.jit(model.decode)
        for t in range(20, 24):
            hidden, cache = decode(params, cache, tokens[:, t : t + 1], jnp.full((2, 1), t))
            parts.append(hidden)
        np.testing.assert_allclose(model.logits(params, jnp.concatenate(parts, 1)), oracle["logits"], atol=2e-4)

    out = huggingface.save(tmp_path / "out", model, params, origin=huggingface.read_origin(folder))
    before, after = (safetensors.numpy.load_file(x / "model.safetensors") for x in (folder, out))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    plain = huggingface.save(tmp_path / "plain", model, params)  # without what was in the first config.json
    config = json.loads((plain / "config.json").read_text())  # the class has a padding id past these 53 tokens
    (plain / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    torch_does("logits", out, plain)
    for exported in (out, plain):
        np.testing.assert_allclose(np.load(f"{exported}.npz")["logits"], oracle["logits"], atol=1e-3)
