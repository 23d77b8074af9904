"""Every registered family: its config in JSON is read by transformers too, and its published sizes are its own.

Qwen3 against NumPy in float64, which shares no code with the decoder.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families import FAMILIES, config_from_json, config_to_json, family_of
from mtjax.model.language_model import make_language_model
from tests.model import golden

SMALL = DecoderConfig(vocab_size=48, width=16, layers=3, heads=4, kv_heads=2, head_dim=8, mlp_width=24)
every_family = pytest.mark.parametrize("name", list(FAMILIES))


@every_family
def test_a_decoder_of_the_family_survives_json_and_transformers(name):
    from transformers import CONFIG_MAPPING

    wanted = dataclasses.replace(SMALL, **FAMILIES[name].switches)
    if name == "mistral":  # without a window its decoder is a Llama
        wanted = dataclasses.replace(wanted, window=4)
    assert family_of(wanted) == name
    written = json.loads(json.dumps(config_to_json(wanted)))
    assert config_from_json(written) == wanted
    theirs = CONFIG_MAPPING[written.pop("model_type")].from_dict(written)
    assert config_from_json(theirs.to_dict()) == wanted
    assert FAMILIES[name].architecture == type(theirs).__name__.replace("Config", "ForCausalLM")


@every_family
def test_what_the_file_leaves_out_is_as_in_transformers(name):
    from transformers import CONFIG_MAPPING

    bare = {"model_type": name, "vocab_size": 48, "hidden_size": 512, "intermediate_size": 24}
    bare |= {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
    theirs = CONFIG_MAPPING[name].from_dict({key: value for key, value in bare.items() if key != "model_type"})
    assert config_from_json(bare) == config_from_json(theirs.to_dict())


@every_family
def test_the_tensors_are_the_parameters(name):
    for tied in (False, True):
        config = dataclasses.replace(SMALL, tied=tied, **FAMILIES[name].switches)
        shapes = jax.eval_shape(make_language_model(config).init, jax.random.key(0))
        paths = {tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)}
        table = FAMILIES[name].table(config)
        assert {entry.path for entry in table} == paths
        assert len({entry.name for entry in table}) == len(table) == len(paths)


@every_family
def test_published_sizes_belong_to_their_family(name):
    for size in FAMILIES[name].sizes.values():
        assert family_of(size) == name


def test_the_nearest_family_is_named_where_none_fits():
    with pytest.raises(huggingface.InputError, match="qkv_bias=True, qk_norm=True and window=None: change"):
        family_of(dataclasses.replace(SMALL, qkv_bias=True, qk_norm=True))


def qwen3(tensors, config, tokens):
    """Logits `[T, V]` of one row in NumPy, float64, a position and a head at a time."""
    w = {name: x.astype(np.float64) for name, x in tensors.items()}
    heads, groups, width = (config[k] for k in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    norm = lambda x, scale: scale * x / np.sqrt(np.mean(x * x, -1, keepdims=True) + config["rms_norm_eps"])
    silu = lambda x: x / (1 + np.exp(-x))

    def turned(x, position):
        half = width // 2
        angle = position * config["rope_theta"] ** (-np.arange(half) / half)
        pairs = (x[:half] + 1j * x[half:]) * np.exp(1j * angle)
        return np.concatenate([pairs.real, pairs.imag])

    x = w["model.embed_tokens.weight"][tokens]
    for layer in range(config["num_hidden_layers"]):
        own = {
            n.removeprefix(f"model.layers.{layer}."): v for n, v in w.items() if n.startswith(f"model.layers.{layer}.")
        }
        inner = norm(x, own["input_layernorm.weight"])
        seen = np.zeros((len(tokens), heads * width))
        for head in range(heads):
            rows = slice(head * width, (head + 1) * width)
            group = head // (heads // groups)
            shared = slice(group * width, (group + 1) * width)
            query = norm(inner @ own["self_attn.q_proj.weight"][rows].T, own["self_attn.q_norm.weight"])
            key = norm(inner @ own["self_attn.k_proj.weight"][shared].T, own["self_attn.k_norm.weight"])
            value = inner @ own["self_attn.v_proj.weight"][shared].T
            query, key = (np.stack([turned(row, t) for t, row in enumerate(each)]) for each in (query, key))
            for t in range(len(tokens)):
                weights = np.exp(key[: t + 1] @ query[t] / np.sqrt(width))
                seen[t, rows] = weights @ value[: t + 1] / weights.sum()
        x = x + seen @ own["self_attn.o_proj.weight"].T
        inner = norm(x, own["post_attention_layernorm.weight"])
        gate, up = (inner @ own[f"mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (silu(gate) * up) @ own["mlp.down_proj.weight"].T
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return norm(x, w["model.norm.weight"]) @ head.T


@pytest.mark.parametrize("tied", [False, True])
def test_qwen3_equals_numpy_with_and_without_a_cache(tied, tmp_path):
    config = golden.COMMON | {"model_type": "qwen3", "tie_word_embeddings": tied, "rope_theta": 1e6}
    config |= {"head_dim": 16, "rms_norm_eps": 1e-6, "num_hidden_layers": 2, "attention_bias": False}
    model, params = huggingface.load(golden.write(tmp_path, config))
    assert model.config.qk_norm
    assert ("head" in params) == (not tied)
    expected = qwen3(golden.tensors(config), config, golden.TOKENS)
    tokens = jnp.asarray(golden.TOKENS, jnp.int32)[None]
    logits = model.logits(params, model.hidden(params, tokens, jnp.ones_like(tokens)))
    np.testing.assert_allclose(logits[0], expected, atol=2e-5)
    hidden, cache = model.decode(params, model.init_cache(1, 12), tokens[:, :7], jnp.arange(7)[None])
    parts, decode = [hidden], jax.jit(model.decode)
    for t in range(7, 12):
        hidden, cache = decode(params, cache, tokens[:, t : t + 1], jnp.array([[t]]))
        parts.append(hidden)
    np.testing.assert_allclose(model.logits(params, jnp.concatenate(parts, 1))[0], expected, atol=2e-5)
