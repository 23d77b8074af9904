"""Names of tensors in Hugging Face checkpoints, and the parts of which a family puts its table together."""

from typing import NamedTuple

import numpy as np

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class Entry(NamedTuple):
    """One parameter of ours and its name on the hub. Entries of one name are parts of one tensor, in order of rows."""

    path: tuple[str, ...]  # keys into the parameter tree
    name: str
    """The first `{}` stands for the number of the layer, a second for that of the expert; each is a leading axis."""
    inputs: int | None  # input axes of a linear map, which is transposed (leading axes not counted); None: not linear
    layers: range | None = None  # which layers have it; None: all

    def names(self, shape: tuple[int, ...]) -> dict[tuple[int, ...], str]:
        """The tensors of a parameter of this shape by their index on its leading axes; {(): name} without such axes."""
        layers = self.layers or range(shape[0] if shape else 0)
        found = {}
        for at in np.ndindex(*shape[: self.name.count("{}")]):
            found[at] = self.name.format(*(layers[number] if axis == 0 else number for axis, number in enumerate(at)))
        return found


def in_layer(path: str, name: str, inputs: int | None) -> Entry:
    """The entry of a parameter that every layer has; `path` and `name` leave out what all of them share."""
    return Entry(("layers", *path.split(".")), "model.layers.{}." + name, inputs)


# The parts of a table, to be put together by a family.
EMBED = (Entry(("embed", "embedding"), EMBEDDING, None),)
NORM_BEFORE_ATTENTION = (in_layer("attention_norm.scale", "input_layernorm.weight", None),)
ATTENTION = (
    in_layer("attention.query.kernel", "self_attn.q_proj.weight", 1),
    in_layer("attention.key.kernel", "self_attn.k_proj.weight", 1),
    in_layer("attention.value.kernel", "self_attn.v_proj.weight", 1),
    in_layer("attention.out.kernel", "self_attn.o_proj.weight", 2),
)
QKV_BIAS = (
    in_layer("attention.query.bias", "self_attn.q_proj.bias", 0),
    in_layer("attention.key.bias", "self_attn.k_proj.bias", 0),
    in_layer("attention.value.bias", "self_attn.v_proj.bias", 0),
)
QK_NORM = (  # of each head, or of all heads together, whose two axes are one on the hub
    in_layer("attention.query_norm.scale", "self_attn.q_norm.weight", 0),
    in_layer("attention.key_norm.scale", "self_attn.k_norm.weight", 0),
)
NORM_BEFORE_MLP = (in_layer("mlp_norm.scale", "post_attention_layernorm.weight", None),)  # despite its name
MLP = (
    in_layer("mlp.gate.kernel", "mlp.gate_proj.weight", 1),
    in_layer("mlp.up.kernel", "mlp.up_proj.weight", 1),
    in_layer("mlp.down.kernel", "mlp.down_proj.weight", 1),
)


def experts(block: str, router: str, gate: str, up: str, down: str) -> tuple[Entry, ...]:
    """A mixture's router and experts, under the names that a family gives them."""
    one = lambda ours, name: in_layer(f"experts.{ours}", f"{block}.experts.{{}}.{name}.weight", 1)
    router_entry = in_layer("experts.router", f"{block}.{router}.weight", 1)
    return (router_entry, one("gate", gate), one("up", up), one("down", down))


EXPERTS = experts("mlp", "gate", "gate_proj", "up_proj", "down_proj")
NORMS_AFTER = (
    in_layer("attention_post_norm.scale", "post_attention_layernorm.weight", None),
    in_layer("mlp_post_norm.scale", "post_feedforward_layernorm.weight", None),
)
END = (
    Entry(("final_norm", "scale"), "model.norm.weight", None),
    Entry(("head", "kernel"), HEAD, 1),  # absent in a tied model
)
LLAMA_TENSORS = (*EMBED, *NORM_BEFORE_ATTENTION, *ATTENTION, *NORM_BEFORE_MLP, *MLP, *END)
