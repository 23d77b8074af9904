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
from mtjax.model.policy import make_policy
from mtjax.objectives.regularizers.load_balance import LoadBalance
from mtjax.types import Batch
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
QWEN_MOE = golden.COMMON | UNTIED | {"rms_norm_eps": 1e-6, "rope_theta": 1e6, "num_experts": 6}
QWEN_MOE |= {"num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": False}
LINEAR = {"rope_type": "linear", "factor": 8.0}

# name: config, tensors, parameters, CE, gradient norm, last logits of tokens 0..4, sum of absolute logits; for mixtures
# the load-balancing loss of transformers, too, and its coefficient in the loss whose gradient it is
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
    "mixtral": (
        golden.COMMON | UNTIED | {"model_type": "mixtral", "rope_theta": 1e6, "num_local_experts": 4}
        | {"num_experts_per_tok": 2, "sliding_window": None},
        *(79, 102176, 4.056228, 5.08641, (-0.68954, -0.43714, 1.30818, -0.65342, -0.69691), 297.5455),
        *(2.059663, 0.001),
    ),
    "qwen2_moe": (
        QWEN_MOE | {"model_type": "qwen2_moe", "shared_expert_intermediate_size": 40, "decoder_sparse_step": 2},
        *(91, 62432, 4.421455, 4.63622, (-0.10732, 0.47663, 0.39912, 1.30276, 0.41674), 328.3854),
        *(2.682023, 0.001),
    ),
    "qwen3_moe": (
        QWEN_MOE | {"model_type": "qwen3_moe", "head_dim": 16, "norm_topk_prob": True},
        *(111, 84128, 3.969683, 5.53790, (-0.73793, 0.68438, -0.32496, -1.21371, 1.21639), 297.0546),
        *(2.107687, 0.001),
    ),
    "olmoe": (
        golden.COMMON | UNTIED | {"model_type": "olmoe", "rope_theta": 1e4, "num_experts": 6, "intermediate_size": 24}
        | {"num_experts_per_tok": 2},
        *(111, 71904, 3.981104, 6.14274, (0.23046, 0.39296, -0.50413, 0.07951, 1.27846), 305.0186),
        *(2.112046, 0.01),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXTURES)
def test_golden_numbers_cache_and_round_trip(name, tmp_path):
    config, tensors, count, cross_entropy, norm, last, absolute, *balance = FIXTURES[name]
    golden.write(tmp_path / "in", config)
    model, params = huggingface.load(tmp_path / "in")
    assert sum(x.size for x in jax.tree.leaves(params)) == count
    tokens = jnp.asarray(golden.TOKENS, jnp.int32)[None]

    batch = Batch(tokens, jnp.ones(tokens.shape), jnp.ones_like(tokens), {})

    def loss(params):
        policy = make_policy(model, params)
        logits = model.logits(params, policy.hidden(batch))
        logprob = jax.nn.log_softmax(logits[:, :-1])
        value = -jnp.mean(jnp.take_along_axis(logprob, tokens[:, 1:, None], -1))
        auxiliary = LoadBalance(by_token=True, pool_layers=True)(policy, batch).value if balance else 0.0
        return value + auxiliary * (balance[1] if balance else 0), (value, auxiliary, logits)

    (_, (value, auxiliary, logits)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(auxiliary, balance[0] if balance else 0, atol=1e-5)
    np.testing.assert_allclose(logits[0, -1, :5], last, atol=2e-4)
    np.testing.assert_allclose(jnp.sum(jnp.abs(logits)), absolute, atol=2e-2)
    np.testing.assert_allclose(value, cross_entropy, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))), norm, rtol=1e-3)

    if name in ("gemma3", "phi3_short", "qwen2_moe"):  # what is kept in a cache depends on no other setting
        decode = jax.jit(lambda params, tokens, at: model.decode(params, model.init_cache(1, 12), tokens, at)[0])
        hidden = decode(params, tokens, jnp.arange(12)[None])
        np.testing.assert_allclose(model.logits(params, hidden), logits, atol=2e-5)
    if name == "phi3_long":
        with pytest.raises(huggingface.InputError, match="a cache of 12 positions, rope_scaling.original_length=8"):
            model.init_cache(1, 12)

    huggingface.save(tmp_path / "out", model, params, origin=huggingface.read_origin(tmp_path / "in"))
    assert huggingface.read_config(tmp_path / "out") == model.config
    before, after = golden.tensors(config), safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    assert len(before) == tensors
    assert before.keys() == after.keys()
    assert all(before[key].tobytes() == after[key].tobytes() for key in before)
