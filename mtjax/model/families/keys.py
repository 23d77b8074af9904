"""Keys of `config.json`: reading a value, and what happens to keys that no family of ours reads.

transformers ignores a key that the class of the `model_type` does not have. Here a key whose name speaks of the
computation is refused unless its value changes nothing, and any other unknown key is named in a note.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mtjax.errors import InputError, note

ACTIVATIONS = {
    "silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu": "gelu",
    "relu": "relu",
}  # fmt: skip
"""The activations of transformers that are the same as one of ours."""
# fmt: off
HARMLESS = frozenset({
    "_commit_hash", "_name_or_path", "architectures", "attn_implementation", "bad_words_ids",
    "begin_suppress_tokens", "bos_token_id", "cache_implementation", "chunk_size_feed_forward",
    "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype", "early_stopping",
    "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty", "finetuning_task",
    "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing", "id2label", "is_decoder",
    "is_llama_config", "label2id", "length_penalty", "max_length", "max_sequence_length", "max_window_layers",
    "min_length", "model_max_length", "model_type", "name_or_path", "no_repeat_ngram_size", "num_beam_groups",
    "num_beams", "num_labels", "num_return_sequences", "output_attentions", "output_hidden_states",
    "output_router_logits", "output_scores", "pad_token_id", "prefix", "pretraining_tp", "problem_type",
    "remove_invalid_values", "repetition_penalty", "return_dict", "return_dict_in_generate",
    "router_aux_loss_coef", "sep_token_id", "suppress_tokens", "task_specific_params", "temperature",
    "tf_legacy_loss", "tie_encoder_decoder", "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript",
    "transformers.js_config", "transformers_version", "typical_p", "unk_token_id", "unsloth_fixed",
    "unsloth_version", "use_bfloat16", "use_cache", "use_flash_attn", "vocab_offset",
})
# fmt: on
"""Keys that change neither the parameters nor the logits: ids, names, generation, training and storage settings."""
SPEAKS_OF_COMPUTATION = re.compile(
    r"rope|rotary|position|pos_emb|attn|attention|window|slid|bias|norm|eps$|scal|multipl|clip|cap|logit|act_|_act$"
    r"|activation|swiglu|glu$|hidden|expert|moe|router|head|layer|block|quant|emb|mlp|ffn|ffw|feed_?forward|residual"
    r"|parallel|alibi|tie|weights|intermediate|dim$|dim_|size|conv|ssm|mamba|lora|adapter|coder|top_?k|rank|factor"
    r"|gate|gating|mask|causal|_config$|pattern|compress|mixer|theta|depth|mup|qkv|query|sink|sparse|group|vision|audio"
)
MULTIPLIER = re.compile(r"multipl|scal|factor|temperature")


def check_keys(config: Mapping[str, Any], family: str, read: Collection[str]) -> None:
    """Refuse keys that would change the computation and are not among those that the family reads.

    Unknown keys whose names do not speak of the computation are named in a note. Raises InputError with the key.
    """
    for key in ("quantization_config", "quantization", "compression_config", "quant_config"):
        if config.get(key):
            raise InputError(quantised(config[key], f"config.json: {key}"))
    rest = {key: value for key, value in config.items() if key not in HARMLESS and key not in read}
    strange = {key: value for key, value in rest.items() if not _changes_nothing(key, value)}
    if dropout := sorted(key for key in strange if re.search("dropout|pdrop", key)):
        note(f"config.json: {', '.join(dropout)} is not applied: training here has no dropout")
        strange = {key: value for key, value in strange.items() if key not in dropout}
    for key, value in strange.items():
        if SPEAKS_OF_COMPUTATION.search(key):
            raise InputError(
                f"config.json: {key} is {json.dumps(value):.80}, but the {family} decoder has no such setting here; "
                "expected the key to be absent: take a checkpoint without it, or delete it from config.json if you "
                "know that the weights were trained without it"
            )
    if strange:
        note(f"config.json: unknown to {family} and not used, in transformers neither: {', '.join(sorted(strange))}")


def check_architecture(config: Mapping[str, Any], expected: str) -> None:
    """Refuse a checkpoint with another head than a language model's, by `architectures`; `model_type` decides else."""
    names = config.get("architectures") or [expected]
    names = names if isinstance(names, list) else [names]
    if expected in names:
        return
    if not any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        raise InputError(
            f"config.json: architectures is {names!r:.100}, which has no language-model head; expected {expected}: "
            "take the checkpoint of the language model (not a classifier, reward or embedding model made from it)"
        )
    note(f"config.json: architectures is {names!r:.100}; read as {expected}, by model_type, as in transformers")


def quantised(settings: Any, where: str = "config.json: quantization_config") -> str:
    """The message that refuses a quantised checkpoint, with its method."""
    settings = settings if isinstance(settings, Mapping) else {}
    named = {"quant_method", "quant_algo", "quant_type", "version", "format"}
    method = next((settings[key] for key in sorted(named) if settings.get(key)), None)
    bits = settings.get("bits") or settings.get("w_bit") or settings.get("weight_bits")
    what = ", ".join(str(part) for part in (method, f"{bits} bits" if bits else None) if part) or "unknown method"
    return (
        f"{where} says that this checkpoint is quantised ({what:.60}); expected weights in float32, bfloat16 or "
        "float16: take the original checkpoint that it was made from. If the weights have been dequantised "
        f"already, delete {where.removeprefix('config.json: ')}"
    )


def _changes_nothing(key: str, value: Any) -> bool:
    """Whether a setting that we do not know is switched off by its value."""
    if value is None or value is False or value in ("", [], {}):
        return True
    if key == "layer_types" and isinstance(value, list):
        return set(map(str, value)) == {"full_attention"}
    if isinstance(value, str):
        return value in ("silu", "swish") and "act" in key
    neutral = 1 if MULTIPLIER.search(key) else 0
    return type(value) in (int, float) and value == neutral


def value_of(config: Mapping[str, Any], key: str, default: Any, fits: Callable[[Any], bool], expected: str) -> Any:
    """The value of a key, where absent or null takes the default; InputError unless it fits."""
    value = default if config.get(key) is None else config[key]
    if not fits(value):
        raise InputError(f"config.json: {key} is {value!r:.80}; expected {expected}")
    return value


def number(config: Mapping[str, Any], key: str, default: int | None = None, least: int = 1) -> int:
    """A whole number of at least `least`."""
    fits = lambda x: type(x) is int and x >= least
    return int(value_of(config, key, default, fits, f"a whole number of at least {least}"))


def real(config: Mapping[str, Any], key: str, default: float) -> float:
    """A positive number."""
    fits = lambda x: type(x) in (int, float) and 0 < x < math.inf
    return float(value_of(config, key, default, fits, "a positive number"))


def flag(config: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """True or false; absent or null takes the default."""
    return bool(value_of(config, key, default, lambda x: isinstance(x, bool), "true or false"))


EXPERT_COUNTS = ("num_experts", "num_local_experts")  # two names of one setting, of which transformers 5 takes either


def number_of_experts(config: Mapping[str, Any], key: str, default: int) -> int:
    """The number of experts, under either of its names; InputError where both are there and differ."""
    found = {name: number(config, name) for name in EXPERT_COUNTS if config.get(name) is not None}
    if len({*found.values()}) > 1:
        raise InputError(f"config.json: {found}: expected the same number twice; delete the one that is not meant")
    return next(iter(found.values()), default)


def real_or_none(config: Mapping[str, Any], key: str, default: float | None = None) -> float | None:
    """A positive number; null is None, and only an absent key takes the default."""
    value = config.get(key, default)
    return None if value is None else real(config, key, value)


def sliding_window(config: Mapping[str, Any], slides: tuple[bool, ...]) -> tuple[int | None, tuple[bool, ...] | None]:
    """`sliding_window`, and the layers that have it (None: all) by `layer_types`; `slides` if that is absent."""
    kinds = config.get("layer_types")
    if kinds is not None:
        known = isinstance(kinds, list) and all(kind in ("full_attention", "sliding_attention") for kind in kinds)
        if not known or len(kinds) != len(slides):
            raise InputError(
                f"config.json: layer_types is {kinds!r:.200}; expected a list with 'full_attention' or "
                f"'sliding_attention' for each of {len(slides)} layers"
            )
        slides = tuple(kind == "sliding_attention" for kind in kinds)
    if config.get("sliding_window", 4096) is None:
        if kinds is not None and any(slides):
            raise InputError(
                "config.json: layer_types has 'sliding_attention', but sliding_window is null; expected a number of "
                "tokens, or 'full_attention' for all layers"
            )
        return None, None
    window = number(config, "sliding_window", 4096)
    return (window, None if all(slides) else slides) if any(slides) else (None, None)
