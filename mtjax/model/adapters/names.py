"""What linear maps are called: as here, as on the hub, and as in transformers 5."""

import contextlib
import re
from collections.abc import Mapping
from typing import Any

FUSED = {"gate": "gate_up_proj", "up": "gate_up_proj", "down": "down_proj"}
"""The parameters of transformers 5 that hold the matrices of all experts."""


def names_of(path: tuple[str, ...], hub: Mapping[tuple[str, ...], str], layer: int) -> tuple[str, ...]:
    """What a linear map of one layer is called: as here, and as on the hub if a family has it.

    Between the two stands, of experts, what holds them in transformers 5; their numbers are left out.

    >>> names_of(("layers", "mlp", "up"), {("layers", "mlp", "up"): "model.layers.{}.mlp.up_proj"}, 3)
    ('layers.3.mlp.up', 'model.layers.3.mlp.up_proj')
    """
    inner = [part for part in path if not part.startswith("block_")]
    ours = ".".join(f"layers.{layer}" if part == "layers" else part for part in inner)
    if path not in hub:
        return (ours,)
    joined = FUSED.get(path[-1]) if path[-2:-1] == ("experts",) else None
    fused = (f"model.layers.{layer}.mlp.experts.{joined}",) if joined else ()
    return (ours, *fused, hub[path].format(layer))


def hub_names(config: Any) -> dict[tuple[str, ...], str]:
    """The name of each linear map on the hub by its path here, `{}` for the layer; empty where no family has it.

    That of experts leaves out their number.
    """
    from mtjax.errors import InputError
    from mtjax.model.families import FAMILIES, family_of  # which import the decoder, which imports this

    with contextlib.suppress(InputError):
        table = [entry for entry in FAMILIES[family_of(config)].table(config) if entry.inputs]
        names = [(entry.name, entry.layers) for entry in table]
        own = (entry for entry in table if names.count((entry.name, entry.layers)) == 1)  # else it holds several
        place = lambda path: path[:-1] if path[-1] == "kernel" else path
        return {place(entry.path): short(entry.name) for entry in own}
    return {}


def short(name: str) -> str:
    """The name of a matrix, from that of its tensor."""
    return name.removesuffix(".weight").replace(".experts.{}.", ".experts.")


def of_each(name: str, number: int | str) -> str:
    """The name of one expert's matrix, from that which leaves the number out.

    >>> of_each("model.layers.0.mlp.experts.up_proj", 3)
    'model.layers.0.mlp.experts.3.up_proj'
    """
    return re.sub(r"\bexperts(?=\.)", rf"\g<0>.{number}", name)


def short_name(one: Any) -> str:
    """The name of a matrix (`Linear`) without its layer, as in PEFT's `target_modules`: `self_attn.q_proj`."""
    if one.experts:
        return one.names[0][-1].rpartition(".")[2]
    return re.sub(r"^.*\.\d+\.", "", one.names[0][-1])


def named_alone(one: Any, maps: list[Any], complete: set[tuple[str, ...]]) -> bool:
    """Whether the short name of a matrix names only ones that are adapted in all layers: not those of another stack."""
    return all(other.path in complete for other in maps if short_name(other) == short_name(one))
