"""Whether a mesh divides a model and its rows."""

from typing import Any

from mtjax.distributed.sharding import ways
from mtjax.errors import InputError
from mtjax.model.attention import choice_for
from mtjax.types import LanguageModel

TENSOR_SIZES = ("kv_heads", "heads", "mlp_width", "vocab_size")
"""Sizes of the model that the mesh axis `tensor` splits."""


def check_mesh(model: LanguageModel, mesh: Any, length: int) -> None:
    """Refuse a mesh that does not divide the model or its rows of `length` tokens, and a kernel that cannot do them.

    Raises:
        InputError: with the sizes, and which setting to change.
    """
    config, tensor = model.config, mesh.shape["tensor"]
    if tensor > config.kv_heads:
        raise InputError(
            f"mesh.tensor={tensor} is more than model.kv_heads={config.kv_heads}: each device needs a key/value head "
            "of its own; lower --mesh.tensor, and split over --mesh.fsdp or --mesh.context instead"
        )
    names = ("fsdp", "expert", "context")
    together = f"mesh {' x '.join(names)} = {' x '.join(str(mesh.shape[name]) for name in names)}"
    split = [
        *((f"mesh.tensor={tensor}", tensor, f"model.{x}", getattr(config, x), "") for x in TENSOR_SIZES),
        (together, ways(mesh, "embed"), "model.width", config.width, ", which they split together"),
        *(
            (f"mesh.{axis}={mesh.shape[axis]}", mesh.shape[axis], f"model.mixture.{name}", size, ", which it splits")
            for axis, name, size in _mixture_sizes(config)
        ),
        (
            f"mesh.context={ways(mesh, 'length')}",
            ways(mesh, "length"),
            "data.sequence_length",
            length,
            ", which it splits",
        ),
    ]
    for axes, parts, name, size, why in split:
        if size % parts:
            raise InputError(f"{axes} does not divide {name}={size}{why}; choose a divisor of it")
    choice_for(config, length, mesh)


def _mixture_sizes(config: Any) -> list[tuple[str, str, int]]:
    """Sizes of a mixture with the mesh axes that split them; none for a model without experts."""
    mixture = getattr(config, "mixture", None)
    if mixture is None:
        return []
    shared = [("tensor", "shared_width", mixture.shared_width)] if mixture.shared_width else []
    return [("expert", "experts", mixture.experts), ("tensor", "width", mixture.width), *shared]
