"""Every registered family: its config in JSON is read by transformers too, and its published sizes are its own.

Qwen3 against NumPy in float64, which shares no code with the decoder.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError, note
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families import FAMILIES, config_from_json, config_to_json, family_of
from mtjax.model.families.base import Family
from mtjax.model.language_model import make_language_model
from mtjax.model.mixture import Mixture
from mtjax.model.rope import RopeScaling
from tests.model import golden

SMALL = DecoderConfig(vocab_size=48, width=16, layers=3, heads=4, kv_heads=2, head_dim=8, mlp_width=24)
SLIDES = {"window": 4, "window_layers": (True, False, True)}
LINEAR_ROPE = RopeScaling("linear", 8.0, original_length=2048)
LONGROPE = RopeScaling("longrope", 4.0, original_length=512, short_factor=(1.0, 2.0), long_factor=(2.0, 3.0))
# What a decoder of the family needs to be no one of another family, and what only this family has.
OWN = {
    "mistral": {"window": 4},
    "gemma2": SLIDES | {"query_scalar": 24, "score_cap": 50.0, "logit_cap": None},
    "gemma3_text": SLIDES | {"rope_theta": 1e6, "rope_scaling": LINEAR_ROPE, "local_theta": 1e4},
    "olmo3": SLIDES | {"rope_scaling": RopeScaling("yarn", 4.0, original_length=512), "local_theta": 1e4},
    "mixtral": {"mixture": Mixture(4, 2, 24)},
    "olmoe": {"head_dim": 4, "mixture": Mixture(4, 2, 24, normalize=False), "clip_qkv": 8.0},
    "qwen2_moe": {"qkv_bias": True, "mixture": Mixture(4, 2, 8, normalize=False, shared_width=8, dense_layers=(0, 2))},
    "qwen3_moe": {"mixture": Mixture(4, 2, 8, dense_layers=(1,))},
    "phi3": {"head_dim": 4, "rope_scaling": LONGROPE},
}
DECODERS = [name for name in FAMILIES if name != "t5"]  # `test_t5.py` has the encoder-decoder
every_family = pytest.mark.parametrize("name", DECODERS)


@every_family
def test_a_decoder_of_the_family_survives_json_and_transformers(name):
    from transformers import CONFIG_MAPPING

    wanted = dataclasses.replace(SMALL, **{**FAMILIES[name].switches, **OWN.get(name, {})})
    assert family_of(wanted) == name
    written = json.loads(json.dumps(config_to_json(wanted)))
    assert config_from_json(written) == wanted
    if name not in CONFIG_MAPPING:  # a family of your own
        return
    theirs = CONFIG_MAPPING[written.pop("model_type")].from_dict(written)
    assert config_from_json(theirs.to_dict()) == wanted
    assert FAMILIES[name].architecture == type(theirs).__name__.replace("TextConfig", "Config").replace(
        "Config", "ForCausalLM"
    )


@every_family
def test_what_the_file_leaves_out_is_as_in_transformers(name):
    from transformers import CONFIG_MAPPING

    if name not in CONFIG_MAPPING:
        pytest.skip("transformers has no such model_type")
    bare = {"model_type": name, "vocab_size": 48, "hidden_size": 512, "intermediate_size": 24}
    bare |= {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
    theirs = CONFIG_MAPPING[name].from_dict({key: value for key, value in bare.items() if key != "model_type"})
    assert config_from_json(bare) == config_from_json(theirs.to_dict())


@every_family
def test_the_tensors_are_the_parameters(name):
    for tied in (False, True):
        config = dataclasses.replace(SMALL, tied=tied, **{**FAMILIES[name].switches, **OWN.get(name, {})})
        shapes = jax.eval_shape(make_language_model(config).init, jax.random.key(0))
        paths = {tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)}
        table = FAMILIES[name].table(config)
        assert {entry.path for entry in table} == paths
        assert len(table) == len(paths)
        assert name == "phi3" or len({entry[1:] for entry in table}) == len(table)


@every_family
def test_published_sizes_belong_to_their_family(name):
    for size in FAMILIES[name].sizes.values():
        assert FAMILIES[name].holds(size)
        assert family_of(size) == name or name == "phi3"  # Phi-4 is a Llama to us


def test_the_nearest_family_is_named_where_none_fits():
    with pytest.raises(huggingface.InputError, match="qkv_bias=True, qk_norm=True and window=None: change"):
        family_of(dataclasses.replace(SMALL, qkv_bias=True, qk_norm=True))


LLAMA = golden.COMMON | {"model_type": "llama", "tie_word_embeddings": False}
LINEAR = {"rope_type": "linear", "factor": 2.0}
NEW = {"rope_type": "default", "rope_theta": 5e5}
TO_LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


# Logits of tokens 0..2 behind the fixture's tokens, from LlamaForCausalLM of transformers 5.23.0 (torch 2.13.0, CPU).
@pytest.mark.parametrize(
    ("rope", "theta", "logits", "said"),
    [
        ({"rope_parameters": NEW, "rope_scaling": None}, 5e5, (-1.48675, -0.09612, 0.65873), ""),
        ({"rope_parameters": NEW, "rope_theta": 1e4}, 5e5, (-1.48675, -0.09612, 0.65873), "not rope_theta=10000.0"),
        ({"rope_parameters": NEW, "rope_scaling": LINEAR}, 1e4, (-1.69617, 0.03472, 0.83056), "rope_scaling is used"),
        (
            {"rope_parameters": NEW, "rope_scaling": LINEAR | {"rope_theta": 5e5}},
            *(5e5, (-1.68054, 0.02009, 0.82618), "rope_scaling is used"),
        ),
        (
            {"rope_parameters": NEW, "rope_scaling": LINEAR, "rope_theta": 5e5},
            *(5e5, (-1.68054, 0.02009, 0.82618), "rope_scaling is used"),
        ),
        (
            {"rope_parameters": LINEAR | {"rope_theta": 5e5}, "rope_scaling": {}},
            *(5e5, (-1.68054, 0.02009, 0.82618), ""),
        ),
        (
            {"rope_scaling": LINEAR | {"type": "dynamic"}},
            *(1e4, (-1.69617, 0.03472, 0.83056), "rope_type 'linear' is used, not type 'dynamic'"),
        ),
        ({"rope_scaling": {"factor": 4.0}}, 1e4, (-1.56749, -0.06344, 0.69713), "'default' does not use factor"),
        (
            {"rope_scaling": TO_LLAMA3, "original_max_position_embeddings": 32},
            *(1e4, (-1.45756, -0.11206, 0.65534), "original_max_position_embeddings=32 is used, not 64"),
        ),
    ],
)
def test_rotary_settings_in_two_places_are_read_as_by_transformers_and_said(
    rope, theta, logits, said, tmp_path, capsys
):
    note.cache_clear()
    model, params = huggingface.load(golden.write(tmp_path, LLAMA | rope))
    assert model.config.rope_theta == theta
    tokens = jnp.asarray(golden.TOKENS, jnp.int32)[None]
    found = model.logits(params, model.hidden(params, tokens, jnp.ones_like(tokens)))
    np.testing.assert_allclose(found[0, -1, :3], logits, atol=2e-4)
    told = capsys.readouterr().err
    assert said in told
    assert bool(said) == bool(told)


@pytest.mark.parametrize("other", [{}, {"rope_parameters": NEW}, {"rope_scaling": LINEAR}])
@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"rope_type": "longrope", "factor": 2.0}, "rope type 'longrope' is not supported; expected default, linear,"),
        ({"type": "mrope", "mrope_section": [1, 1, 2]}, "rope type 'mrope' is not supported"),
        ({"rope_type": "linear", "type": "ntk", "factor": 2.0}, "rope type 'ntk' is not supported"),
        ({"rope_type": "linear", "factor": 2.0, "long_factor": [1.0]}, "rotary option 'long_factor' is not known"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5"),
        ({"full_attention": {"rope_theta": 1e4}}, "expected a flat dict"),
        ([1, 2], "expected a flat dict"),
    ],
)
def test_unknown_rotary_settings_are_refused_wherever_they_stand(key, rope, message, other):
    with pytest.raises(InputError, match=f"config.json: {key}.*{message}"):
        config_from_json(LLAMA | other | {key: rope})


def read_by(name):
    """Keys of `config.json` that only some families read, this one too."""
    kind = FAMILIES[name]
    return {*kind.reads, kind.activation_key, *(key.name for key in (*kind.settings.values(), *kind.mixture.values()))}


@every_family
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention_bias", True), ("mlp_bias", True), ("attn_logit_softcapping", 50.0),
        ("final_logit_softcapping", 30.0), ("query_pre_attn_scalar", 144), ("hidden_activation", "gelu"),
        ("num_local_experts", 8), ("num_experts_per_tok", 2), ("residual_multiplier", 0.22), ("logits_scaling", 8.0),
        ("embedding_multiplier", 12.0), ("clip_qkv", 8.0), ("use_qk_norm", True), ("no_rope_layers", [1, 0]),
        ("per_layer_config", {"0": {}}), ("transformers_weights", "other.safetensors"), ("rope_interleaved", True),
        ("dual_chunk_attention_config", {"chunk_size": 4}), ("is_encoder_decoder", True), ("vision_config", {"a": 1}),
        ("attention_chunk_size", 8192), ("use_bias", True), ("parallel_attn", True), ("alibi", True),
        ("mup_base_width", 256), ("attention_multiplier", 0.5), ("layernorm_epsilon", 1e-5), ("mtp_num_layers", 1),
    ],
)  # fmt: skip
def test_a_key_that_speaks_of_the_computation_is_refused_by_name(name, key, value):
    if key in read_by(name):
        return
    with pytest.raises(InputError, match=f"config.json: {key} is .* {name} decoder has no such setting"):
        config_from_json(LLAMA | {"model_type": name, key: value})


def test_a_window_where_the_family_has_none_is_refused():
    for key, value in (("sliding_window", 4), ("layer_types", ["sliding_attention"] * 4), ("use_sliding_window", True)):
        with pytest.raises(InputError, match=f"config.json: {key} is"):
            config_from_json(LLAMA | {key: value})
    for changed in ({"use_sliding_window": False, "sliding_window": 4}, {"sliding_window": None}):
        for name in ("qwen2", "qwen3"):  # transformers fails later, with a TypeError
            with pytest.raises(InputError, match="layer_types has 'sliding_attention', but sliding_window is null"):
                config_from_json(LLAMA | {"model_type": name, "layer_types": ["sliding_attention"] * 4} | changed)


@every_family
def test_settings_that_are_switched_off_and_unknown_notes_are_read(name, capsys):
    note.cache_clear()
    idle = {"attn_logit_softcapping": None, "num_experts": None, "residual_multiplier": 1.0, "attention_bias": False}
    idle |= {"layer_types": ["full_attention"] * 4, "quantization_config": None, "hidden_activation": "silu"}
    idle |= {"rope_interleaved": False, "is_llama_config": True, "transformers.js_config": {"dtype": "q4"}}
    idle = {key: value for key, value in idle.items() if key not in read_by(name)}
    idle |= {"max_window_layers": 28, "use_cache": True, "pretraining_tp": 1, "_name_or_path": "x", "pruned_heads": {}}
    family = LLAMA | {"model_type": name, "sliding_window": None}
    family |= {FAMILIES[name].activation_key: FAMILIES[name].activations[0], "layer_types": ["full_attention"] * 4}
    assert config_from_json(family | idle) == config_from_json(family)
    assert not capsys.readouterr().err
    assert config_from_json(family | {"my_notes": "ours", "attention_dropout": 0.1}) == config_from_json(family)
    told = capsys.readouterr().err
    assert "my_notes" in told
    assert "attention_dropout is not applied" in told


@pytest.mark.parametrize("names", [["LlamaForSequenceClassification"], ["LlamaModel"], "RewardModel"])
def test_another_head_is_refused(names):
    with pytest.raises(InputError, match="has no language-model head; expected LlamaForCausalLM"):
        config_from_json(LLAMA | {"architectures": names})
    assert config_from_json(LLAMA | {"architectures": ["LLaMAForCausalLM"]}) == config_from_json(LLAMA)


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


def test_a_constant_of_a_family_may_stand_in_the_file_with_its_value():
    class Constant(Family):
        architecture, max_length, constants = "ConstantForCausalLM", 64, {"branch_norm_eps": 1e-5}

    given = {
        "hidden_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "vocab_size": 16,
        "intermediate_size": 8,
    }
    assert Constant.from_json("constant", given | {"branch_norm_eps": 1e-5}).width == 8
    with pytest.raises(InputError, match="branch_norm_eps is 0.001"):
        Constant.from_json("constant", given | {"branch_norm_eps": 1e-3})
