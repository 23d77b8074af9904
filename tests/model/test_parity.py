"""Parity with the PyTorch models of transformers: golden numbers on made weights, both config dialects, round trips."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model import export, huggingface
from mtjax.model.policy import make_policy
from mtjax.types import Batch
from tests.model import golden

LLAMA = golden.COMMON | {"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 5e5}
QWEN = golden.COMMON | {"model_type": "qwen2", "tie_word_embeddings": True, "rope_theta": 1e6, "rms_norm_eps": 1e-6}
QWEN3 = QWEN | {"model_type": "qwen3", "tie_word_embeddings": False, "head_dim": 16}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SLIDE = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}

# name: config, parameters, CE, gradient norm, last logits of tokens 0..4, sum of absolute logits
FIXTURES = {
    "llama": (LLAMA, 37152, 3.935837, 5.37278, (-1.48675, -0.09612, 0.65873, 0.97833, 0.75210), 310.5375),
    "llama_1e4": (
        LLAMA | {"rope_theta": 1e4},
        *(37152, 3.935199, 5.63216, (-1.56749, -0.06344, 0.69713, 0.98190, 0.69527), 311.1061),
    ),
    "llama3_tied": (
        LLAMA | {"tie_word_embeddings": True, "head_dim": 16, "rope_scaling": LLAMA3},
        *(47904, 3.841124, 5.15525, (0.39124, -0.33764, -0.09935, -1.23340, 0.19526), 303.6183),
    ),
    "qwen2": (QWEN, 35872, 3.797802, 5.78966, (-0.16748, 0.31749, -0.12747, 0.11044, 0.27374), 294.9628),
    "qwen2_yarn": (
        QWEN | {"rope_theta": 1e4, "rope_scaling": YARN},
        *(35872, 3.797119, 5.85974, (-0.07087, 0.33442, -0.35544, 0.15957, 0.27988), 293.2220),
    ),
    "qwen2_sliding": (
        QWEN | SLIDE,
        *(35872, 3.858514, 6.25040, (-0.17413, 0.24162, 0.15481, -0.06662, 0.05129), 310.1391),
    ),
    "qwen3": (QWEN3, 49568, 3.896433, 4.49175, (0.19282, -0.72062, -0.12150, 0.04577, -0.04056), 303.8562),
    "mistral": (
        LLAMA | {"model_type": "mistral", "rope_theta": 1e4, "sliding_window": 4},
        *(37152, 3.766062, 5.95389, (-1.13257, -0.56743, -0.02851, -1.10596, 0.23462), 311.0894),
    ),
}


def new_dialect(config):
    """The same config as transformers 5.x writes it."""
    config = dict(config)
    rope = config.pop("rope_scaling", None) or {"rope_type": "default"}
    config["rope_parameters"] = {**rope, "rope_theta": config.pop("rope_theta")}
    if config.get("use_sliding_window"):
        config["layer_types"] = ["full_attention"] * 2 + ["sliding_attention"] * 2
    return config


def one_row():
    tokens = jnp.asarray(golden.TOKENS, jnp.int32)[None]
    ones = jnp.ones_like(tokens)
    return Batch(tokens, jnp.asarray(ones, jnp.float32), ones, {})


def test_the_hash_of_the_fixtures():
    np.testing.assert_allclose(golden.fill(0, (4,)), [-0.12374738, -0.95199034, -0.96163375, -0.53273348], atol=1e-8)
    np.testing.assert_allclose(golden.fill(5, (4,)), [-0.68636428, -0.31125291, -0.38486971, 0.52896719], atol=1e-8)


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize("dialect", ["4.x", "5.x"])
def test_golden_numbers(name, dialect, tmp_path):
    config, count, cross_entropy, norm, last, absolute = FIXTURES[name]
    golden.write(tmp_path, config)
    if dialect == "5.x":
        (tmp_path / "config.json").write_text(json.dumps(new_dialect(config)))
    model, params = huggingface.load(tmp_path)
    assert sum(x.size for x in jax.tree.leaves(params)) == count
    batch = one_row()
    logits = model.logits(params, model.hidden(params, batch.tokens, batch.segments))
    np.testing.assert_allclose(logits[0, -1, :5], last, atol=2e-4)
    np.testing.assert_allclose(jnp.sum(jnp.abs(logits)), absolute, atol=2e-2)  # 576 logits, printed to 4 decimals
    loss = lambda params: -make_policy(model, params).scores(batch).logprob.sum() / 11
    value, gradient = jax.value_and_grad(loss)(params)
    np.testing.assert_allclose(value, cross_entropy, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))), norm, rtol=1e-3)


def test_scores_of_the_first_fixture(tmp_path):
    model, params = huggingface.load(golden.write(tmp_path, LLAMA))
    expected = (
        -4.82326,
        -3.71659,
        -2.53896,
        -3.66064,
        -4.38414,
        -4.14111,
        -2.829,
        -3.7326,
        -4.63496,
        -5.20261,
        -3.63033,
    )
    logprob = make_policy(model, params).scores(one_row()).logprob[0]
    np.testing.assert_allclose(logprob[1:], expected, atol=2e-5)
    assert logprob[0] == 0
    np.testing.assert_allclose(logprob[7:].sum(), -20.0295, atol=1e-4)  # the first 7 tokens as the prompt


def test_greedy_continuation_of_the_first_fixture(tmp_path):
    """6, then eleven times 19: by the cache, a token at a time after a prefill."""
    model, params = huggingface.load(golden.write(tmp_path, LLAMA))
    hidden, cache = model.decode(params, model.init_cache(1, 24), one_row().tokens, jnp.arange(12)[None])
    out = []
    for position in range(12, 24):
        out.append(int(jnp.argmax(model.logits(params, hidden[:, -1]))))
        hidden, cache = model.decode(params, cache, jnp.array([[out[-1]]]), jnp.array([[position]]))
    assert out == [6] + 11 * [19]


@pytest.mark.parametrize("name", FIXTURES)
def test_export_then_import_gives_equal_bytes(name, tmp_path):
    golden.write(tmp_path / "in", FIXTURES[name][0])
    model, params = huggingface.load(tmp_path / "in")
    huggingface.save(tmp_path / "out", model, params)
    again, same = huggingface.load(tmp_path / "out")
    assert again.config == model.config
    chex.assert_trees_all_equal(same, params)
    before = golden.tensors(FIXTURES[name][0])
    after = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[key].tobytes() == after[key].tobytes() for key in before)


def test_sharded_files_and_a_mesh_and_bfloat16(tmp_path, monkeypatch):
    model, params = huggingface.load(golden.write(tmp_path / "in", LLAMA))
    monkeypatch.setattr(export, "SHARD_BYTES", 40_000)
    huggingface.save(tmp_path / "out", model, params)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    mesh = make_mesh(MeshSpec(data=2, fsdp=2, tensor=2))
    _, placed = huggingface.load(tmp_path / "out", mesh=mesh)
    jax.tree.map(np.testing.assert_array_equal, placed, params)
    assert placed["layers"]["mlp"]["up"]["kernel"].addressable_shards[0].data.shape == (4, 16, 28)
    half = {name: x.astype("bfloat16") for name, x in golden.tensors(LLAMA).items()}
    safetensors.numpy.save_file(half, tmp_path / "in" / "model.safetensors")
    _, rounded = huggingface.load(tmp_path / "in")
    np.testing.assert_allclose(rounded["head"]["kernel"], params["head"]["kernel"], rtol=1e-2)


def broken(folder, what):
    golden.write(folder, LLAMA)
    config, weights = folder / "config.json", folder / "model.safetensors"
    if what == "family":
        config.write_text(json.dumps(LLAMA | {"model_type": "lama"}))
    elif what == "rope":
        config.write_text(json.dumps(LLAMA | {"rope_scaling": {"type": "longrope"}}))
    elif what == "json":
        config.write_text(config.read_text()[:-5])
    elif what == "no config":
        config.unlink()
    elif what == "no weights":
        weights.unlink()
    elif what == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif what == "shape":
        config.write_text(json.dumps(LLAMA | {"intermediate_size": 60}))
    else:
        tensors = golden.tensors(LLAMA)
        if what == "missing":
            del tensors["model.norm.weight"]
        else:
            tensors["model.layers.0.self_attn.q_norm.weight"] = np.ones(8, np.float32)
        safetensors.numpy.save_file(tensors, weights)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("family", "model_type 'lama' is not supported; expected one of .*llama,"),
        ("rope", "rope type 'longrope' is not supported"),
        ("json", "config.json is not JSON"),
        ("no config", "no config.json there"),
        ("no weights", "no model.safetensors and no"),
        ("cut", "not a complete safetensors file"),
        ("shape", r"'model.layers.0.mlp.gate_proj.weight' has shape \(56, 32\)"),
        ("missing", "'model.norm.weight' is missing; is the file complete"),
        ("extra", "no place for, e.g.*q_norm"),
    ],
)
def test_a_broken_folder_is_refused(what, message, tmp_path):
    broken(tmp_path, what)
    with pytest.raises(InputError, match=message):
        huggingface.load(tmp_path)
