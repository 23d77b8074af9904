"""Llama 2 and 3.x, and SmolLM2, which has the same shape."""

from dataclasses import replace

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Family, shape
from mtjax.model.rope import RopeScaling

LLAMA_2 = shape(32, 32, 32, 4096, 11008, vocab_size=32000, head_dim=128, rope_theta=1e4, max_length=4096)
LLAMA_3 = replace(LLAMA_2, vocab_size=128256, kv_heads=8, mlp_width=14336, rope_theta=5e5, max_length=8192)
LONG = RopeScaling("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_length=8192)
LLAMA_31 = replace(LLAMA_3, rope_scaling=LONG, max_length=131072)
LLAMA_32 = replace(LLAMA_31, rope_scaling=replace(LONG, factor=32.0), tied=True)
SMOLLM2 = DecoderConfig(
    vocab_size=49152, head_dim=64, rope_theta=1e5, norm_eps=1e-5, tied=True, max_length=8192, init_scale=1 / 24
)


@FAMILIES.register("llama")
class Llama(Family):
    """Pre-norm decoder with RMSNorm, rotary positions, grouped-query attention and a gated MLP; no biases.

    Want it for Llama 2 and 3.x and for models of the same shape, such as SmolLM2.

    Source: Touvron et al., "Llama 2: Open Foundation and Fine-Tuned Chat Models", 2023 (arXiv 2307.09288); Llama Team,
    "The Llama 3 Herd of Models", 2024 (arXiv 2407.21783).
    """

    architecture = "LlamaForCausalLM"
    max_length = 2048
    constants = {"attention_bias": False, "mlp_bias": False}
    sizes = {
        "llama-2-7b": LLAMA_2,
        "llama-2-70b": shape(80, 64, 8, 8192, 28672, LLAMA_2),
        "llama-3-8b": LLAMA_3,
        "llama-3.1-8b": LLAMA_31,
        "llama-3.1-70b": shape(80, 64, 8, 8192, 28672, LLAMA_31),
        "llama-3.1-405b": shape(126, 128, 8, 16384, 53248, LLAMA_31),
        "llama-3.2-1b": shape(16, 32, 8, 2048, 8192, LLAMA_32, head_dim=64),
        "llama-3.2-3b": shape(28, 24, 8, 3072, 8192, LLAMA_32),
        "smollm2-135m": shape(30, 9, 3, 576, 1536, SMOLLM2),
        "smollm2-360m": shape(32, 15, 5, 960, 2560, SMOLLM2),
        "smollm2-1.7b": shape(24, 32, 32, 2048, 8192, SMOLLM2, rope_theta=1.3e5),
    }
