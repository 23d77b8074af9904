"""T5 and Flan-T5: an encoder reads the prompt, a decoder writes the answer."""

from collections.abc import Mapping
from typing import Any

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.encoder import Encoder
from mtjax.model.families.base import FAMILIES, Family
from mtjax.model.families.keys import ACTIVATIONS, check_architecture, check_keys, flag, number, real
from mtjax.model.families.tables import HEAD, Entry
from mtjax.model.families.tensors import equal_tensors

COPIES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # names of the embedding
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # in old checkpoints
SIZES = {
    "vocab_size": "vocab_size", "width": "d_model", "mlp_width": "d_ff", "heads": "num_heads", "head_dim": "d_kv",
}  # fmt: skip
READ = {
    *SIZES.values(), "num_layers", "num_decoder_layers", "relative_attention_num_buckets", "tie_word_embeddings",
    "relative_attention_max_distance", "layer_norm_epsilon", "initializer_factor", "feed_forward_proj",
    "is_encoder_decoder", "scale_decoder_outputs", "dense_act_fn", "is_gated_act", "n_positions",
    "max_position_embeddings",
}  # fmt: skip
MOST = 32_768  # tokens of prompt and answer, unless a model is made for fewer: relative positions have no end


def _stack(ours: str, parts: tuple[str, ...]) -> tuple[Entry, ...]:
    """The tensors of encoder or decoder; `parts` are those of a layer in their order on the hub, the MLP last."""

    def entry(path: str, part: int, name: str, inputs: int | None) -> Entry:
        return Entry((ours, "layers", *path.split(".")), f"{ours}.block.{{}}.layer.{part}.{name}.weight", inputs)

    out: list[Entry] = []
    for part, (name, hub) in enumerate(zip(parts[:-1], ("SelfAttention", "EncDecAttention"), strict=False)):
        for own, theirs, inputs in (("query", "q", 1), ("key", "k", 1), ("value", "v", 1), ("out", "o", 2)):
            out.append(entry(f"{name}.{own}.kernel", part, f"{hub}.{theirs}", inputs))
    for own, theirs in (("up", "wi"), ("gate", "wi_0"), ("up", "wi_1"), ("down", "wo")):
        out.append(entry(f"mlp.{own}.kernel", len(parts) - 1, f"DenseReluDense.{theirs}", 1))
    out += [entry(f"{name}_norm.scale", part, "layer_norm", None) for part, name in enumerate(parts)]
    bias = f"{ours}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"  # of all layers
    end = f"{ours}.final_layer_norm.weight"
    return (*out, Entry((ours, "position_bias"), bias, None), Entry((ours, "final_norm", "scale"), end, None))


def _size(layers: int, heads: int, width: int, mlp: int, v1_0: bool = False) -> DecoderConfig:
    """A published model; T5 v1.1 and Flan-T5, or T5 v1.0."""
    return DecoderConfig(
        vocab_size=32128, width=width, layers=layers, heads=heads, kv_heads=heads, head_dim=64, mlp_width=mlp,
        activation="relu" if v1_0 else "gelu_tanh", norm_eps=1e-6, tied=v1_0, max_length=MOST,
        encoder=Encoder(layers=layers, gated=not v1_0, scale_outputs=v1_0),
    )  # fmt: skip


@FAMILIES.register("t5")
class T5(Family):
    """T5 v1.0, and v1.1 with its fine-tuned Flan-T5, which have a gated MLP and a head of their own."""

    architecture = "T5ForConditionalGeneration"
    max_length = MOST
    embedding = COPIES[0]
    shares_head = True
    tensors = (
        Entry(("embed", "embedding"), COPIES[0], None),
        *_stack("encoder", ("attention", "mlp")),
        *_stack("decoder", ("attention", "cross", "mlp")),
        Entry(("head", "kernel"), HEAD, 1),
    )
    sizes = {
        "t5-small": _size(6, 8, 512, 2048, v1_0=True),
        "flan-t5-small": _size(8, 6, 512, 1024),
        "flan-t5-base": _size(12, 12, 768, 2048),
        "flan-t5-large": _size(24, 16, 1024, 2816),
        "flan-t5-xl": _size(24, 32, 2048, 5120),
        "flan-t5-xxl": _size(24, 64, 4096, 10240),
    }

    @classmethod
    def from_json(cls, name: str, config: Mapping[str, Any]) -> DecoderConfig:
        """The model of a `config.json`; see `config_from_json`.

        Hidden states are scaled before the head where `scale_decoder_outputs` says so, which transformers 5 writes, and
        without that key where `tie_word_embeddings` is not false.
        """
        check_architecture(config, cls.architecture)
        check_keys(config, name, READ)
        if config.get("is_encoder_decoder", True) is not True:
            raise InputError("config.json: is_encoder_decoder is not true; expected a model with encoder and decoder")
        activation, gated = _activation(config)
        sizes: dict[str, Any] = {field: number(config, key) for field, key in SIZES.items()}
        layers = number(config, "num_layers")
        tied = flag(config, "tie_word_embeddings", True)
        end = config.get("eos_token_id")
        start = "pad_token_id" if config.get("decoder_start_token_id") is None else "decoder_start_token_id"
        encoder = Encoder(
            layers=layers,
            buckets=number(config, "relative_attention_num_buckets", 32, least=4),
            max_distance=number(config, "relative_attention_max_distance", 128),
            gated=gated,
            scale_outputs=flag(config, "scale_decoder_outputs", tied),
            end_id=number({"eos_token_id": end[0] if isinstance(end, list) and end else end}, "eos_token_id", 1, 0),
            start_id=number(config, start, 0, least=0),
            init_factor=real(config, "initializer_factor", 1.0),
        )
        return DecoderConfig(
            **sizes,
            kv_heads=sizes["heads"],
            layers=number(config, "num_decoder_layers", layers),
            activation=activation,
            norm_eps=real(config, "layer_norm_epsilon", 1e-6),
            tied=tied,
            max_length=number(config, "max_position_embeddings", MOST),  # no key of transformers; written below
            encoder=encoder,
        )

    @classmethod
    def to_json(cls, config: DecoderConfig) -> dict[str, Any]:
        """The keys of `config.json` that `from_json` reads."""
        e = config.encoder
        assert e is not None
        names = {"gelu_tanh": "gelu" if e.gated else "gelu_new"}  # `gated-gelu` is the approximation, in transformers
        activation = names.get(config.activation, config.activation)
        return (
            {key: getattr(config, field) for field, key in SIZES.items()}
            | {
                "num_layers": e.layers,
                "num_decoder_layers": config.layers,
                "relative_attention_num_buckets": e.buckets,
                "relative_attention_max_distance": e.max_distance,
                "layer_norm_epsilon": config.norm_eps,
                "initializer_factor": e.init_factor,
                "feed_forward_proj": f"gated-{activation}" if e.gated else activation,
                "dense_act_fn": "gelu_new" if config.activation == "gelu_tanh" else config.activation,
                "is_gated_act": e.gated,
                "is_encoder_decoder": True,
                "tie_word_embeddings": config.tied,
                "scale_decoder_outputs": e.scale_outputs,
                "eos_token_id": e.end_id,
                "pad_token_id": e.start_id,
                "decoder_start_token_id": e.start_id,
            }
            | ({} if config.max_length == MOST else {"max_position_embeddings": config.max_length})
        )

    @classmethod
    def holds(cls, config: DecoderConfig) -> bool:
        """Whether `config` has an encoder, and is read as it is written."""
        return config.encoder is not None and super().holds(config)

    @classmethod
    def generation(cls, config: DecoderConfig) -> dict[str, Any]:
        """The token that the decoder starts from."""
        return {"decoder_start_token_id": config.encoder.start_id} if config.encoder else {}

    @classmethod
    def table(cls, config: DecoderConfig) -> list[Entry]:
        """The tensors of one model: with or without a gate in the MLP and a head of its own."""
        assert config.encoder is not None
        gated = {"wi": False, "wi_0": True, "wi_1": True}
        of_mlp = lambda entry: gated.get(entry.name.split(".")[-2], config.encoder.gated)
        found = [entry for entry in cls.tensors if of_mlp(entry) == config.encoder.gated]
        return [entry for entry in found if not (config.tied and entry.name == HEAD)]

    @classmethod
    def stored(cls, tensors: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The tensors with the embedding once, under its usual name; InputError for two that differ."""
        found = {name: tensor for name, tensor in tensors.items() if name != UNUSED}
        copies = [found.pop(name) for name in COPIES if name in found]
        for name, copy in zip((name for name in COPIES if name in tensors), copies, strict=True):
            if not equal_tensors(copies[0], copy):
                first = next(name for name in COPIES if name in tensors)
                raise InputError(
                    f"{where}: '{first}' and '{name}' differ; expected one embedding for encoder and decoder: fetch "
                    "the checkpoint again, or delete the tensor that is not meant"
                )
        return found | ({COPIES[0]: copies[0]} if copies else {})


def _activation(config: Mapping[str, Any]) -> tuple[Any, bool]:
    """The activation of the MLP, and whether it has a gate; InputError for what is unknown or said in two ways."""
    said = config.get("feed_forward_proj") or "relu"
    head, dash, rest = str(said).rpartition("-")
    name = "gelu_new" if said == "gated-gelu" else rest
    if name not in ACTIVATIONS or (dash and head != "gated"):
        known = ", ".join(sorted(ACTIVATIONS))
        raise InputError(
            f"config.json: feed_forward_proj is {said!r:.80}; expected one of {known}, or one of them after 'gated-'"
        )
    for key, value in (("dense_act_fn", name), ("is_gated_act", bool(dash))):
        if config.get(key) not in (None, value):
            raise InputError(
                f"config.json: {key} is {config[key]!r:.80}, feed_forward_proj {said!r:.80}; expected {value!r}: "
                "delete the one that is not meant"
            )
    return ACTIVATIONS[name], bool(dash)
