"""Mixtral: the shape of Mistral with a mixture of experts in every layer."""

from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Key, WindowInAllLayers, shape
from mtjax.model.families.keys import EXPERT_COUNTS, number, number_of_experts
from mtjax.model.families.rotary import Rotary
from mtjax.model.families.tables import (
    ATTENTION,
    EMBED,
    END,
    NORM_BEFORE_ATTENTION,
    NORM_BEFORE_MLP,
    experts,
)
from mtjax.model.mixture import Mixture

MIXTRAL = DecoderConfig(vocab_size=32000, head_dim=128, rope_theta=1e6, max_length=32768)


@FAMILIES.register("mixtral")
class Mixtral(WindowInAllLayers):
    """The shape of Llama with experts in place of the MLP; the two experts of a token have weights that sum to 1.

    Formula: `sum_k w_k MLP_{e_k}(x)`, `w` the K largest of `softmax(R x)`, divided by their sum.

    Want it for Mixtral 8x7B and 8x22B.

    Source: Jiang et al., "Mixtral of Experts", 2024 (arXiv 2401.04088).
    """

    architecture = "MixtralForCausalLM"
    max_length = 131072
    norm_eps = 1e-5
    rotary = Rotary(1e6)
    mixture = {
        "experts": Key("num_local_experts", number_of_experts, 8),
        "per_token": Key("num_experts_per_tok", number, 2),
        "width": Key("intermediate_size", number),
    }
    reads = ("sliding_window", *EXPERT_COUNTS)
    tensors = (
        *EMBED, *NORM_BEFORE_ATTENTION, *ATTENTION, *NORM_BEFORE_MLP,
        *experts("block_sparse_moe", "gate", "w1", "w3", "w2"), *END,
    )  # fmt: skip
    sizes = {"mixtral-8x7b": shape(32, 32, 8, 4096, 14336, MIXTRAL, mixture=Mixture(8, 2, 14336))}
