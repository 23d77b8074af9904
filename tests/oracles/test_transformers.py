"""Random checkpoints of every family against the PyTorch classes of transformers, where there is a torch to ask.

torch is no dependency: `MTJAX_TORCH` names a Python interpreter that has torch and transformers, such as
`MTJAX_TORCH=/opt/torch/bin/python pytest tests/oracles`; without it these tests are skipped.
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
import safetensors.numpy

from mtjax.model import huggingface
from mtjax.model.families import FAMILIES
from mtjax.model.families.tensors import hub_tensors, whole_to_hub
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.types import Batch

TORCH = os.environ.get("MTJAX_TORCH")
SEEDS = int(os.environ.get("MTJAX_ORACLE_SEEDS", "3"))
KERNELS = ("plain", "blocked")
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
    apart = np.max([np.max(np.abs(ours[key] - theirs[key])) for key in theirs]) / largest
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


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", DECODERS)
def test_blocks_packing_and_a_head_at_targets_alone_equal_transformers(name, seed, made, one_device):
    """Two texts of 61 tokens and two of 37, each by itself and behind padding in blocks, and packed into a row.

    The row's log-probabilities and their gradient are those of the policy that a training step has: logits at targets
    alone, in chunks. A text whose rotary frequencies depend on the row's length is not packed.
    """
    oracle, (model, params) = np.load(f"{made / f'{name}_{seed}'}.npz"), huggingface.load(made / f"{name}_{seed}")
    kinds = {kind: make_language_model(dataclasses.replace(model.config, attention=kind)) for kind in KERNELS}
    texts = [(oracle[f"tokens {n}"][row], oracle[f"logits {n}"][row]) for n in (37, 61) for row in (0, 1)]
    for length in (37, 61):
        tokens = jnp.asarray(oracle[f"tokens {length}"], jnp.int32)
        logits = model.logits(params, model.hidden(params, tokens, jnp.ones_like(tokens)))
        np.testing.assert_allclose(logits, oracle[f"logits {length}"], atol=2e-4)
    scaling = model.config.rope_scaling
    if scaling is not None and scaling.kind == "longrope":
        return
    padded = [jnp.pad(tokens, ((0, 0), (0, 96 - 61))), jnp.pad(jnp.ones_like(tokens), ((0, 0), (0, 96 - 61)))]
    logits = model.logits(params, kinds["blocked"].hidden(params, *padded))[:, :61]
    np.testing.assert_allclose(logits, oracle["logits 61"], atol=2e-4)
    row, segments = np.zeros((1, 224), np.int32), np.zeros((1, 224), np.int32)
    weights, wanted, place = np.zeros((1, 224), np.float32), np.zeros(224), 0
    for number, (text, logits) in enumerate(texts, 1):
        inside = slice(place, place + len(text))
        row[0, inside], segments[0, inside] = text, number
        targets = np.arange(1, len(text), 1 + number % 2)  # every token, or every other one
        weights[0, place + targets] = 1
        wanted[place + targets] = jax.nn.log_softmax(logits)[targets - 1, text[targets]]
        place += len(text)
    batch = Batch(jnp.asarray(row), jnp.asarray(weights), jnp.asarray(segments), {})
    gradients = {}
    for kind, one in kinds.items():

        def loss(params, one=one):
            found = make_policy(one, params, chunk=32, targets_only=True).scores(batch).logprob
            return -jnp.sum(jnp.where(batch.weights > 0, found, 0)), found

        (_, found), gradients[kind] = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        live = weights[0] > 0
        np.testing.assert_allclose(np.asarray(found)[0][live], wanted[live], atol=3e-4)
    largest = max(float(np.max(np.abs(x))) for x in jax.tree.leaves(gradients["plain"]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3 * largest), *gradients.values())
