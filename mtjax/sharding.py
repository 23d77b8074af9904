"""Where arrays live: one mesh, one table from the meaning of an axis to the mesh axis that splits it."""

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mtjax.errors import InputError

RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),  # rows of a batch
    "length": None,  # time
    "layers": None,  # the scanned axis: never split
    "embed": "fsdp",  # width D of a weight
    "vocab": "tensor",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "norm": None,  # width D of a norm's scale: small, kept whole
    "activation": None,  # width D of an activation
}
"""The one table. A weight's axes are named in `LanguageModel.axes`, an activation's where `constrain` is called."""

MESH_AXES = ("data", "fsdp", "tensor")


@dataclasses.dataclass(frozen=True)
class MeshSpec:
    """How devices are arranged: copies of the model (data), splits of its state (fsdp), splits of its maths (tensor).

    At most one of them may be -1: it takes the devices that the others leave.
    """

    data: int = -1
    """Copies of the whole model; each sees its own rows."""
    fsdp: int = 1
    """Ways to split parameters and optimizer state; rows are split over it too."""
    tensor: int = 1
    """Ways to split heads, hidden width and vocabulary; must divide the key/value heads."""


def make_mesh(spec: MeshSpec, devices: list[jax.Device] | None = None) -> Mesh:
    """The mesh of `spec` over `devices` (default: all); InputError when the numbers do not multiply up."""
    devices = jax.devices() if devices is None else devices
    sizes = dict(zip(MESH_AXES, dataclasses.astuple(spec), strict=True))
    free = [name for name, size in sizes.items() if size == -1]
    bad = {name: size for name, size in sizes.items() if size < 1 and size != -1}
    if bad or len(free) > 1:
        raise InputError(f"mesh {sizes}: each axis is a positive number, and at most one is -1; change --mesh.*")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(devices) % fixed or (not free and fixed != len(devices)):
        need = f"a divisor of {len(devices)}" if free else str(len(devices))
        raise InputError(
            f"mesh {sizes} multiplies to {fixed}, but there are {len(devices)} devices: the product must be {need}; "
            "set one of --mesh.data, --mesh.fsdp, --mesh.tensor to -1 to let it take what is left"
        )
    if free:
        sizes[free[0]] = len(devices) // fixed
    # Explicit axis types (the default of jax.make_mesh) break plain sharding constraints: ask for auto.
    return jax.make_mesh(tuple(sizes.values()), MESH_AXES, (AxisType.Auto,) * len(sizes), devices=devices)


def spec_of(names: tuple[str | None, ...]) -> PartitionSpec:
    """The partition of an array whose axes have these names."""
    return PartitionSpec(*(None if name is None else RULES[name] for name in names))


def shardings(axes: Any, mesh: Mesh) -> Any:
    """Shardings for a tree of axis-name tuples, such as `LanguageModel.axes`."""
    is_names = lambda leaf: isinstance(leaf, tuple) and all(n is None or isinstance(n, str) for n in leaf)
    return jax.tree.map(lambda names: NamedSharding(mesh, spec_of(names)), axes, is_leaf=is_names)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Pin an activation to the mesh in force (`jax.set_mesh`); without a mesh, `x` itself."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not set(MESH_AXES) <= set(mesh.axis_names):
        return x
    return jax.lax.with_sharding_constraint(x, spec_of(names))
