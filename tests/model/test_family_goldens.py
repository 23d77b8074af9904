"""Gemma, OLMo, Phi and the mixtures against the PyTorch classes of transformers, on made weights.

Gemma 2, Gemma 3 and the mixtures have the numbers of 4.57.6, OLMo and Phi those of 5.24.0 (torch 2.13.0); float32, CPU.
`tests/oracles` asks torch itself.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mtjax.model import decoder, huggingface
from tests.model import golden


@pytest.fixture(autouse=True)
def cheap(one_device, monkeypatch):
    """One device, and layers in a loop, which compiles faster than four of them in a row."""
    monkeypatch.setattr(decoder, "UNROLL_LAYERS", 0)


TIED, UNTIED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
NO_HEAD_DIM = {key: value for key, value in golden.COMMON.items() if key != "head_dim"}
GEMMA = golden.COMMON | {"head_dim": 16, "rms_norm_eps": 1e-6, "sliding_window": 4} | TIED
GEMMA.pop("hidden_act")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}
LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.5, 2.0], "long_factor": [1.25, 2.5, 4.0]}
PHI = NO_HEAD_DIM | {"model_type": "phi3", "rope_theta": 1e4, "rope_scaling": LONGROPE, "num_hidden_layers": 2}
PHI |= {"partial_rotary_factor": 0.75}
LINEAR = {"rope_type": "linear", "factor": 8.0}

# name: config, tensors, parameters, CE, gradient norm, last logits of tokens 0..4, sum of absolute logits
FIXTURES = {
    "gemma2": (
        GEMMA | {"model_type": "gemma2", "query_pre_attn_scalar": 24, "rope_theta": 1e4},
        *(46, 48160, 3.717524, 9.10208, (-0.48362, 0.22614, -0.10856, 0.33247, 0.44246), 297.0208),
    ),
    "gemma3": (
        GEMMA | {"model_type": "gemma3_text", "query_pre_attn_scalar": 16, "num_hidden_layers": 7, "rope_theta": 1e6}
        | {"rope_local_base_freq": 1e4, "rope_scaling": LINEAR, "sliding_window_pattern": 6},
        *(93, 83328, 3.680349, 9.31300, (-0.56459, 0.34037, -0.48787, -0.58522, 0.03020), 311.7053),
    ),
    "olmo2": (
        NO_HEAD_DIM | UNTIED | {"model_type": "olmo2", "rope_theta": 5e5, "num_hidden_layers": 2},
        *(25, 20224, 4.213857, 8.15316, (-1.1471, -0.19242, 1.09618, 0.44717, -0.21162), 320.5611),
    ),
    "olmo3": (
        NO_HEAD_DIM | UNTIED | {"model_type": "olmo3", "sliding_window": 4, "rope_theta": 1e4, "rope_scaling": YARN},
        *(47, 37344, 4.111076, 8.29166, (1.37025, 1.1477, 0.38637, -0.16398, -1.09375), 279.8976),
    ),
    "phi3_short": (
        PHI | UNTIED | {"original_max_position_embeddings": 16, "sliding_window": 4},
        *(15, 20128, 4.138832, 5.39715, (-0.66491, -1.11923, 1.22232, 1.65908, 0.08178), 300.4135),
    ),
    "phi3_long": (
        PHI | TIED | {"original_max_position_embeddings": 8},
        *(14, 18592, 4.058825, 4.72939, (-1.00549, 0.28832, 0.06717, -0.22427, 0.25661), 319.5331),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXTURES)
def test_golden_numbers_cache_and_round_trip(name, tmp_path):
    config, tensors, count, cross_entropy, norm, last, absolute = FIXTURES[name]
    golden.write(tmp_path / "in", config)
    model, params = huggingface.load(tmp_path / "in")
    assert sum(x.size for x in jax.tree.leaves(params)) == count
    tokens = jnp.asarray(golden.TOKENS, jnp.int32)[None]

    def loss(params):
        logits = model.logits(params, model.hidden(params, tokens, jnp.ones_like(tokens)))
        logprob = jax.nn.log_softmax(logits[:, :-1])
        return -jnp.mean(jnp.take_along_axis(logprob, tokens[:, 1:, None], -1)), logits

    (value, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(logits[0, -1, :5], last, atol=2e-4)
    np.testing.assert_allclose(jnp.sum(jnp.abs(logits)), absolute, atol=2e-2)
    np.testing.assert_allclose(value, cross_entropy, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))), norm, rtol=1e-3)

    if name != "phi3_long":  # 12 tokens in a row of 8: the keys of a cache would have to be turned again
        decode = jax.jit(lambda params, tokens, at: model.decode(params, model.init_cache(1, 12), tokens, at)[0])
        hidden = decode(params, tokens, jnp.arange(12)[None])
        np.testing.assert_allclose(model.logits(params, hidden), logits, atol=2e-5)
    else:
        with pytest.raises(huggingface.InputError, match="a cache of 12 positions, rope_scaling.original_length=8"):
            model.init_cache(1, 12)

    huggingface.save(tmp_path / "out", model, params, origin=huggingface.read_origin(tmp_path / "in"))
    assert huggingface.read_config(tmp_path / "out") == model.config
    before, after = golden.tensors(config), safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    assert len(before) == tensors
    assert before.keys() == after.keys()
    assert all(before[key].tobytes() == after[key].tobytes() for key in before)
