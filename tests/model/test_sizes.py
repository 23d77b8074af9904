"""Published sizes: parameter counts of the table in the specs (models-and-rest 1.8), and golden rotary frequencies."""

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model import rope
from mtjax.model.families.base import config_from_json, config_to_json
from mtjax.model.sizes import SIZES, count_params, size

COUNTS = {
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "gemma2-2b": 2_614_341_888,
    "mixtral-8x7b": 46_702_792_704,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "olmoe-1b-7b": 6_919_161_856,
    "gemma3-1b": 999_885_952,
    "t5-small": 60_506_624,
    "flan-t5-small": 76_961_152,
    "flan-t5-base": 247_577_856,
    "flan-t5-large": 783_150_080,
    "flan-t5-xl": 2_849_757_184,
    "flan-t5-xxl": 11_135_332_352,
}

# Without a count in the table: 2 V D + D + L (2 D + D K (2 H + 2 G) + 3 D F), untied; 2 K more a layer for Qwen3.
BY_HAND = {
    "llama-2-70b": 2 * 32000 * 8192 + 8192 + 80 * (2 * 8192 + 8192 * 128 * (128 + 16) + 3 * 8192 * 28672),
    "qwen3-14b": 2 * 151936 * 5120 + 5120 + 40 * (2 * 5120 + 256 + 5120 * 128 * (80 + 16) + 3 * 5120 * 17408),
    "qwen3-32b": 2 * 151936 * 5120 + 5120 + 64 * (2 * 5120 + 256 + 5120 * 128 * (128 + 16) + 3 * 5120 * 25600),
    "llama-3.1-405b": 2 * 128256 * 16384 + 16384 + 126 * (2 * 16384 + 16384 * 128 * (256 + 16) + 3 * 16384 * 53248),
}


def gemma(v, d, f, layers, h, g, k, qk_norm):
    """V D + D + L (4 D + D K (2 H + 2 G) + 3 D F), tied; 2 K more a layer for Gemma 3."""
    return v * d + d + layers * (4 * d + d * k * (2 * h + 2 * g) + 3 * d * f + 2 * k * qk_norm)


def olmo(v, d, f, layers, h, g):
    """2 V D + D + L (2 D + D K (2 H + 2 G) + H K + G K + 3 D F), untied, K = 128: norms of all queries and keys."""
    return 2 * v * d + d + layers * (2 * d + d * 128 * (2 * h + 2 * g) + 128 * (h + g) + 3 * d * f)


def llama(v, d, f, layers, h, g, k):
    """2 V D + D + L (2 D + D K (2 H + 2 G) + 3 D F), untied."""
    return 2 * v * d + d + layers * (2 * d + d * k * (2 * h + 2 * g) + 3 * d * f)


BY_HAND |= {
    "gemma2-9b": gemma(256000, 3584, 14336, 42, 16, 8, 256, False),
    "gemma2-27b": gemma(256000, 4608, 36864, 46, 32, 16, 128, False),
    "gemma3-4b": gemma(262144, 2560, 10240, 34, 8, 4, 256, True),
    "gemma3-12b": gemma(262144, 3840, 15360, 48, 16, 8, 256, True),
    "gemma3-27b": gemma(262144, 5376, 21504, 62, 32, 16, 128, True),
    "olmo2-1b": olmo(100352, 2048, 8192, 16, 16, 16),
    "olmo2-7b": olmo(100352, 4096, 11008, 32, 32, 32),
    "olmo2-13b": olmo(100352, 5120, 13824, 40, 40, 40),
    "olmo2-32b": olmo(100352, 5120, 27648, 64, 40, 8),
    "olmo3-7b": olmo(100278, 4096, 11008, 32, 32, 32),
    "olmo3-32b": olmo(100278, 5120, 27648, 64, 40, 8),
    "phi-3-mini-4k": llama(32064, 3072, 8192, 32, 32, 32, 96),
    "qwen3-30b-a3b": llama(151936, 2048, 768 * 128, 48, 32, 4, 128) + 48 * (2048 * 128 + 256),  # router and norms
    "phi-4": llama(100352, 5120, 17920, 40, 40, 10, 128),
}


@pytest.mark.parametrize("name", SIZES)
def test_parameter_count(name):
    assert count_params(size(name)) == (COUNTS | BY_HAND)[name]


@pytest.mark.parametrize("name", SIZES)
def test_a_published_size_survives_config_json(name):
    assert config_from_json(config_to_json(size(name))) == size(name)


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("llama-3.1-8b", {16: 3.760603093e-02, 29: 2.166570764e-03, 32: 5.248461610e-04, 63: 3.068925989e-07}),
        ("llama-3.2-1b", {15: 1.290547928e-03, 16: 4.295567966e-04, 17: 9.708287803e-05, 31: 9.418306725e-08}),
        ("llama-3.2-3b", {29: 2.118406997e-03, 30: 1.290547928e-03, 34: 9.708287803e-05, 63: 7.672314972e-08}),
    ],
)
def test_rotary_frequencies_of_the_published_models(name, golden):
    config = size(name)
    inverse, factor = rope.frequencies(config.rope_theta, config.head_dim, config.rope_scaling)
    np.testing.assert_allclose(inverse[list(golden)], list(golden.values()), rtol=1e-8)
    assert factor == 1


def test_a_misspelt_size_is_suggested():
    with pytest.raises(InputError, match=r"'smollm-135m': did you mean 'smollm2-135m'"):
        size("smollm-135m")
