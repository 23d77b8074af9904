"""Tiny models with made weights: both sides of a parity test fill them with the same integer hash.

The expected numbers in `test_parity.py` come from the PyTorch classes of transformers 4.57.6 (float32, CPU).
"""

import functools
import json
import operator

import jax
import numpy as np
import safetensors.numpy

COMMON = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
}
TOKENS = (7 * np.arange(12) + 3) % 48


def fill(n, shape):
    """Tensor number n: a hash of the flat index, uniform in [-1, 1)."""
    mask = np.uint64(0xFFFFFFFF)
    x = (np.arange(np.prod(shape), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(n * 40503 + 12345)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(2246822519)) & mask
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(3266489917)) & mask
    x ^= x >> np.uint64(16)
    return (2 * x.astype(np.float64) / 2**32 - 1).reshape(shape)


def shapes(config):
    """Hub names and shapes of every tensor of a Llama-like model."""
    d, f, k = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    h, g = config["num_attention_heads"] * k, config["num_key_value_heads"] * k
    out = {"model.embed_tokens.weight": (config["vocab_size"], d), "model.norm.weight": (d,)}
    if not config["tie_word_embeddings"]:
        out["lm_head.weight"] = (config["vocab_size"], d)
    for i in range(config["num_hidden_layers"]):
        block = {
            "input_layernorm.weight": (d,),
            "self_attn.q_proj.weight": (h, d),
            "self_attn.k_proj.weight": (g, d),
            "self_attn.v_proj.weight": (g, d),
            "self_attn.o_proj.weight": (d, h),
            "post_attention_layernorm.weight": (d,),
            "mlp.gate_proj.weight": (f, d),
            "mlp.up_proj.weight": (f, d),
            "mlp.down_proj.weight": (d, f),
        }
        if config["model_type"] == "qwen2":
            block |= {"self_attn.q_proj.bias": (h,), "self_attn.k_proj.bias": (g,), "self_attn.v_proj.bias": (g,)}
        if config["model_type"] == "qwen3":
            block |= {f"self_attn.{name}_norm.weight": (k,) for name in "qk"}
        out |= {f"model.layers.{i}.{name}": shape for name, shape in block.items()}
    return out


def shapes_of_table(config):
    """Hub names and shapes by the family's own table, whose entries of one name are parts of one tensor."""
    from mtjax.model.families import FAMILIES, config_from_json
    from mtjax.model.families.tensors import hub_shape
    from mtjax.model.language_model import make_language_model

    decoder, out = config_from_json(config), {}
    abstract = jax.eval_shape(make_language_model(decoder).init, jax.random.key(0))
    for entry in FAMILIES[config["model_type"]].table(decoder):
        shape = functools.reduce(operator.getitem, entry.path, abstract).shape
        rows, *rest = hub_shape(shape[entry.name.count("{}") :], entry.inputs)
        for name in entry.names(shape).values():
            out[name] = (out.get(name, (0,))[0] + rows, *rest)
    return out


def tensors(config):
    """Every tensor by hub name, float32; Gemma's norms add the 1 themselves."""
    by_hand = config["model_type"] in ("llama", "mistral", "qwen2", "qwen3")
    one, out = 0 if "gemma" in config["model_type"] else 1, {}
    for n, (name, shape) in enumerate(sorted((shapes if by_hand else shapes_of_table)(config).items())):
        u = fill(n, shape)
        out[name] = (one + 0.2 * u if "norm" in name else 0.2 * u).astype(np.float32)
    return out


def write(folder, config):
    """A hub folder with `config.json` and one safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(tensors(config), folder / "model.safetensors")
    return folder
