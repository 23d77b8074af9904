"""Qwen1.5-MoE and Qwen2-MoE: the shape of Qwen2 with experts, one of which all tokens go to."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families.base import FAMILIES, Key, shape
from mtjax.model.families.keys import EXPERT_COUNTS, flag, number, number_of_experts, sliding_window
from mtjax.model.families.qwen2 import QWEN25, Qwen2
from mtjax.model.families.tables import EXPERTS, LLAMA_TENSORS, QKV_BIAS, Entry, in_layer
from mtjax.model.mixture import Mixture


def dense_layers(config: Mapping[str, Any], key: str, default: Any) -> tuple[int, ...]:
    """Layers with a plain MLP: those of `mlp_only_layers`, and all but each `decoder_sparse_step`-th."""
    named, layers = config.get(key) or [], number(config, "num_hidden_layers")
    if not isinstance(named, list | tuple) or not all(type(layer) is int for layer in named):
        raise InputError(f"config.json: {key} is {named!r:.80}; expected a list of layers, from 0")
    step = number(config, "decoder_sparse_step", 1)
    return tuple(layer for layer in range(layers) if layer in named or (layer + 1) % step)


@FAMILIES.register("qwen2_moe")
class Qwen2Moe(Qwen2):
    """The shape of Qwen2 with experts, and a shared expert that all tokens go to, times `sigmoid(g x)`.

    The K weights of a token are the router's probabilities, which sum to 1 only if `norm_topk_prob` is true. Layers in
    `mlp_only_layers`, and all but each `decoder_sparse_step`-th, have a plain MLP.

    Want it for Qwen1.5-MoE-A2.7B and Qwen2-57B-A14B.

    Source: Qwen Team, "Qwen2 Technical Report", 2024 (arXiv 2407.10671).
    """

    architecture = "Qwen2MoeForCausalLM"
    settings: ClassVar[Mapping[str, Key]] = {"qkv_bias": Key("qkv_bias", flag, True)}
    mixture: ClassVar[Mapping[str, Key]] = {
        "experts": Key("num_experts", number_of_experts, 60),
        "per_token": Key("num_experts_per_tok", number, 4),
        "width": Key("moe_intermediate_size", number, 1408),
        "normalize": Key("norm_topk_prob", flag, False),
        "shared_width": Key("shared_expert_intermediate_size", number, 5632),
        "dense_layers": Key("mlp_only_layers", dense_layers),
    }
    reads: ClassVar[tuple[str, ...]] = (*Qwen2.reads, "decoder_sparse_step", *EXPERT_COUNTS)
    constants: ClassVar[Mapping[str, Any]] = {"decoder_sparse_step": 1}
    tensors: ClassVar[tuple[Entry, ...]] = (
        *LLAMA_TENSORS,
        *QKV_BIAS,
        *EXPERTS,
        in_layer("experts.shared.gate.kernel", "mlp.shared_expert.gate_proj.weight", 1),
        in_layer("experts.shared.up.kernel", "mlp.shared_expert.up_proj.weight", 1),
        in_layer("experts.shared.down.kernel", "mlp.shared_expert.down_proj.weight", 1),
        in_layer("experts.shared_gate.kernel", "mlp.shared_expert_gate.weight", 1),
    )
    sizes: ClassVar[Mapping[str, DecoderConfig]] = {
        "qwen1.5-moe-a2.7b": shape(
            24, 16, 16, 2048, 5632, QWEN25, vocab_size=151936, max_length=8192,
            mixture=Mixture(60, 4, 1408, normalize=False, shared_width=5632),
        )
    }  # fmt: skip

    @classmethod
    def window(cls, config: Mapping[str, Any], layers: int) -> tuple[int | None, tuple[bool, ...] | None]:
        """`sliding_window` if `use_sliding_window`: in even layers before `max_window_layers`, or by `layer_types`."""
        if not flag(config, "use_sliding_window"):
            return super().window(config, layers)
        last = number(config, "max_window_layers", 28, least=0)
        return sliding_window(config, tuple(layer % 2 == 0 and layer < last for layer in range(layers)))
