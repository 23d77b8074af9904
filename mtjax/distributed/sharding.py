"""Where arrays live: one mesh, one table from the meaning of an axis to the mesh axes that split it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from mtjax.errors import InputError

MESH_AXES = ("data", "fsdp", "expert", "context", "tensor")
"""From the axis with the least communication, which may cross slow links, to the one with the most."""

RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp", "expert"),  # rows of a batch
    "length": "context",  # time
    "layers": None,  # the scanned axis: never split
    "embed": ("fsdp", "expert", "context"),  # width D of a weight: whatever else sees all of it splits it
    "vocab": "tensor",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "experts": "expert",
    "expert_embed": ("fsdp", "context"),  # width D of an expert's weight, beside the axis that splits experts
    "norm": None,  # width D of a norm's scale: small, kept whole
    "activation": None,  # width D of an activation
}
"""The one table. A weight's axes are named in `LanguageModel.axes`, an activation's where `constrain` is called."""

WORKERS = "workers"
"""The field of an optimizer's state whose leaves have one part for each data-parallel worker, in front."""

SPLITS_TORUS_SIDES = ("TPU v5 lite", "TPU v5e")  # as `jax.make_mesh` has it: their sides of 16 rarely fit a mesh


@dataclasses.dataclass(frozen=True)
class MeshSpec:
    """How devices are arranged; the product of the five sizes is their number.

    At most one of the sizes may be -1: it takes the devices that the others leave. See docs/sharding.md.
    """

    data: int = -1  # Copies of the whole model; each sees its own rows.
    fsdp: int = 1  # Ways to split parameters and optimizer state; rows are split over it too.
    tensor: int = 1  # Ways to split heads, hidden width and vocabulary; must divide the key/value heads.
    context: int = 1  # Ways to split the time of long rows; parameters and optimizer state are split over it too.
    expert: int = 1  # Ways to split the experts of a mixture; rows too, and the rest of the state as `fsdp` does.
    across_slices: Literal["data", "fsdp"] = "data"
    """Which axis crosses the slow network between TPU slices; a multiple of their number."""
    split_torus: bool = False
    """Let an axis take part of a side of the TPU's torus: more shapes fit, collectives are slower. v5e always does."""


def make_mesh(spec: MeshSpec, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of `spec` over `devices` (default: all).

    Raises InputError if the sizes do not multiply to the number of devices, the crossing axis is not a multiple of the
    slices, or the mesh does not fit the physical torus.
    """
    devices = jax.devices() if devices is None else devices
    arranged = arrange(mesh_sizes(spec, len(devices)), devices, spec.across_slices, spec.split_torus)
    # Explicit axis types (the default of jax.make_mesh) break plain sharding constraints: ask for auto.
    return Mesh(arranged, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def mesh_sizes(spec: MeshSpec, count: int) -> dict[str, int]:
    """Size of each axis of `MESH_AXES` on `count` devices, -1 filled in; InputError if they do not multiply to it."""
    sizes = {name: getattr(spec, name) for name in MESH_AXES}
    free = [name for name, size in sizes.items() if size == -1]
    bad = {name: size for name, size in sizes.items() if size < 1 and size != -1}
    if bad or len(free) > 1:
        raise InputError(f"mesh {sizes}: each axis is a positive number, and at most one is -1; change --mesh.*")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if count % fixed or (not free and fixed != count):
        need = f"a divisor of {count}" if free else str(count)
        left, fits = count, dict(sizes)  # the same axes, as large as the devices allow
        for name in [name for name in fits if name not in free]:
            fits[name] = math.gcd(sizes[name], left)
            left //= fits[name]
        if not free:
            fits["data"] *= left
        fitting = [f"--mesh.{name}={size}" for name, size in fits.items() if size != sizes[name]]
        raise InputError(
            f"mesh {sizes} multiplies to {fixed}, but there are {count} devices: the product must be {need}; "
            f"here fits {' '.join(fitting)}"
        )
    return sizes | dict.fromkeys(free, count // fixed)


def arrange(
    sizes: Mapping[str, int], devices: Sequence[Any], across_slices: str = "data", split_torus: bool = False
) -> np.ndarray:
    """Devices as an array with the axes of `MESH_AXES`, physical neighbours as neighbours on the inner axes.

    Several TPU slices (devices with another `slice_index`) become one hybrid mesh: the outer part of `across_slices`
    runs over the network between them, its inner part over a slice's own links. GPU nodes are treated alike where the
    sizes allow, and are put one after the other where they do not (their network is not much slower than their links).
    Raises InputError as `make_mesh` does, with the sizes and the shape of the torus.
    """
    shape, kind = tuple(sizes[name] for name in MESH_AXES), devices[0].device_kind
    split = split_torus or kind in SPLITS_TORUS_SIDES
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    try:
        if slices == 1:
            return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=split)
        if sizes[across_slices] % slices == 0:
            outer = tuple(slices if name == across_slices else 1 for name in MESH_AXES)
            inner = tuple(size // times for size, times in zip(shape, outer, strict=True))
            return mesh_utils.create_hybrid_device_mesh(inner, outer, devices, allow_split_physical_axes=split)
    except (NotImplementedError, ValueError) as error:
        reason = str(error).partition(". The size")[0].partition("\n")[0]
        raise InputError(
            f"mesh {dict(sizes)} finds no place on {slices} x {_torus(devices, slices)} {kind} devices ({reason}): "
            "make each axis a product of whole sides of the torus, or set --mesh.split_torus=True"
        ) from error
    if devices[0].platform == "tpu":
        other = "fsdp" if across_slices == "data" else "data"
        raise InputError(
            f"mesh.{across_slices}={sizes[across_slices]} is no multiple of the {slices} slices that it crosses; "
            f"change --mesh.{across_slices}, or let --mesh.across_slices={other} cross them (now {sizes[other]})"
        )
    return np.asarray(devices).reshape(shape)


def _torus(devices: Sequence[Any], slices: int) -> str:
    """Sides of one slice, such as 4x4x4; the number of devices where they have no place in space."""
    if not hasattr(devices[0], "coords"):
        return str(len(devices) // slices)
    return "x".join(str(len(set(side))) for side in zip(*(device.coords for device in devices), strict=True))


def mesh_axes(name: str | None, mesh: Mesh | AbstractMesh | None = None) -> tuple[str, ...]:
    """The mesh axes that split an axis of this name; inside a `shard_map` of `mesh`, those that are left to split."""
    axes = () if name is None else RULES[name] or ()
    axes = (axes,) if isinstance(axes, str) else axes
    done = mesh.manual_axes if isinstance(mesh, AbstractMesh) else ()
    return tuple(axis for axis in axes if axis not in done)


def spec_of(names: tuple[str | None, ...], mesh: Mesh | AbstractMesh | None = None) -> PartitionSpec:
    """The partition of an array whose axes have these names; `mesh` as in `mesh_axes`."""
    if mesh is None:
        return PartitionSpec(*(None if name is None else RULES[name] for name in names))
    return PartitionSpec(*(mesh_axes(name, mesh) or None for name in names))


def ways(mesh: Mesh | AbstractMesh | None, name: str) -> int:
    """Into how many parts `mesh` splits an axis of this name, such as "batch" or "length"; 1 without a mesh."""
    return 1 if mesh is None else math.prod(mesh.shape.get(axis, 1) for axis in mesh_axes(name, mesh))


def shardings(axes: Any, mesh: Mesh) -> Any:
    """Shardings for a tree of axis-name tuples, such as `LanguageModel.axes`."""
    is_names = lambda leaf: isinstance(leaf, tuple) and all(n is None or isinstance(n, str) for n in leaf)
    return jax.tree.map(lambda names: NamedSharding(mesh, spec_of(names)), axes, is_leaf=is_names)


def follow(state: Any, params: Any, places: Any, whole: NamedSharding) -> Any:
    """Where each leaf of an optimizer's state lives, by path and shape.

    A leaf whose path ends in that of a parameter lives where the parameter lives, whatever holds it. If it has axes in
    front, these are not split, but for that of the data-parallel workers, of leaves under a field `workers`; if it
    lacks one (a factored moment), the others are split like the parameter's. Everything else, such as counters, is on
    every device (`whole`).

    Args:
        state: shapes of the optimizer's state.
        params: shapes of what it trains.
        places: their shardings.
    """
    names = lambda path: tuple(getattr(part, "key", getattr(part, "name", getattr(part, "idx", None))) for part in path)
    shapes = jax.tree_util.tree_leaves_with_path(params)
    known = {
        names(path): (leaf.shape, place) for (path, leaf), place in zip(shapes, jax.tree.leaves(places), strict=True)
    }

    def place_of(path: Any, leaf: Any) -> NamedSharding:
        own = names(path)
        for start in range(len(own)):
            if own[start:] in known:
                spec = _spec_like(leaf.shape, *known[own[start:]])
                if spec is not None and WORKERS in own[:start]:
                    spec = PartitionSpec("data", *spec[1:])
                return whole if spec is None else NamedSharding(whole.mesh, spec)
        return whole

    return jax.tree_util.tree_map_with_path(place_of, state)


def _spec_like(shape: tuple[int, ...], of: tuple[int, ...], place: NamedSharding) -> PartitionSpec | None:
    """The partition of an array that has the axes of a parameter of shape `of`, more in front, or one less."""
    spec = (*place.spec, *[None] * (len(of) - len(place.spec)))
    if shape[len(shape) - len(of) :] == of and len(shape) >= len(of):
        return PartitionSpec(*[None] * (len(shape) - len(of)), *spec)
    gone = [axis for axis in range(len(of)) if of[:axis] + of[axis + 1 :] == shape]
    return PartitionSpec(*spec[: gone[-1]], *spec[gone[-1] + 1 :]) if gone else None


def mesh_in_force() -> AbstractMesh | None:
    """The mesh that `jax.set_mesh` set, if it has our axes; also while tracing."""
    mesh = jax.sharding.get_abstract_mesh()
    return None if mesh.empty or not set(MESH_AXES) <= set(mesh.axis_names) else mesh


def platform_of(mesh: Mesh | AbstractMesh | None) -> str:
    """Platform of a mesh's devices, such as "tpu", which may be described ones; without a mesh, JAX's default."""
    abstract = mesh.abstract_mesh if isinstance(mesh, Mesh) else mesh
    device = None if abstract is None or abstract.empty else abstract.abstract_device
    return jax.default_backend() if device is None else device.platform


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Pin an activation to the mesh in force; without a mesh, `x` itself.

    An axis that its mesh axes do not divide is not split: a sampler's one token has no time to split.
    """
    mesh = mesh_in_force()
    if mesh is None:
        return x
    pairs = zip(names, x.shape, strict=True)
    kept = tuple(None if name is None or size % ways(mesh, name) else name for name, size in pairs)
    return jax.lax.with_sharding_constraint(x, spec_of(kept, mesh))


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of placed arrays, which may be abstract, on one device: the largest shard of each."""
    shard = lambda leaf: math.prod(leaf.sharding.shard_shape(leaf.shape)) * jnp.dtype(leaf.dtype).itemsize
    return sum(map(shard, jax.tree.leaves(tree)))
