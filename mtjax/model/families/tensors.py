"""Tensors of Hugging Face checkpoints: reading and writing them shard by shard; `tables` has their names.

A linear weight is `[out, in]` on the hub and `[in, out]` here, with the heads unfolded; the layers are stacked.
"""

import dataclasses
import functools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from mtjax.distributed.sharding import shardings
from mtjax.errors import InputError
from mtjax.model.families.checks import check_names, check_table, finite
from mtjax.model.families.tables import Entry
from mtjax.types import LanguageModel, Params

FLOATS = ("F64", "F32", "F16", "BF16")
AT_ONCE = 2**26  # bytes, in float32, of the layers that the host reads before it hands them to a device
ROWS = 4096  # of two matrices, compared at a time


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a stored tensor, with the methods of a safetensors slice that are used here."""

    tensor: Any
    start: int
    rows: int
    get_shape = lambda self: [self.rows, *self.tensor.get_shape()[1:]]
    get_dtype = lambda self: self.tensor.get_dtype()

    def __getitem__(self, index: Any) -> Any:
        first, *rest = index if isinstance(index, tuple) else (index,)
        start, stop, _ = first.indices(self.rows)
        return self.tensor[(slice(self.start + start, self.start + stop), *rest)]


@dataclasses.dataclass(frozen=True)
class InMemory:
    """A float32 array with the methods of a safetensors slice that are used here."""

    array: np.ndarray
    get_shape = lambda self: list(self.array.shape)
    get_dtype = lambda self: "F32"
    __getitem__ = lambda self, index: self.array[index]


def hub_shape(shape: tuple[int, ...], inputs: int | None) -> list[int]:
    """The shape on the hub of one layer's parameter: `[D, H, K]` with one input axis is `[H K, D]`."""
    if inputs is None:
        return list(shape)
    outs = math.prod(shape[inputs:])
    return [outs, math.prod(shape[:inputs])] if inputs else [outs]


def equal_tensors(one: Any, other: Any) -> bool:
    """Whether two stored matrices have the same values, compared some rows at a time."""
    if list(one.get_shape()) != list(other.get_shape()):
        return False
    rows = one.get_shape()[0]
    cuts = [slice(start, min(start + ROWS, rows)) for start in range(0, rows, ROWS)]
    pairs = ((one[cut], other[cut]) for cut in cuts)
    return all(np.array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32)) for a, b in pairs)


def check_tensors(
    model: LanguageModel, table: Sequence[Entry], tensors: Mapping[str, Any], where: str
) -> tuple[Params, list[dict[tuple[int, ...], str]]]:
    """The shapes of the parameters, and for each entry of the table its tensors by index; nothing is read.

    Raises InputError for a missing, unknown or misshapen tensor, and for one that is not a float.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    check_table(shapes, table)
    by_entry = [entry.names(_at(shapes, entry.path).shape) for entry in table]
    check_names(set(tensors), {name for names in by_entry for name in names.values()}, model.config.layers, where)
    wanted: dict[str, list[int]] = {}  # shape of each tensor: the rows of all entries that are parts of it
    for entry, names in zip(table, by_entry, strict=True):
        own, *rest = hub_shape(_own(shapes, entry), entry.inputs)
        for name in names.values():
            wanted[name] = [wanted[name][0] + own if name in wanted else own, *rest]
    for name, shape in wanted.items():
        _check(tensors[name], shape, f"{where}: '{name}'")
    return shapes, by_entry


def read_params(
    model: LanguageModel,
    table: Sequence[Entry],
    tensors: Mapping[str, Any],
    mesh: Mesh | None,
    where: str,
    storage: str = "float32",
) -> Params:
    """The parameter tree, of type `storage`; beside it, the host holds one tensor or `AT_ONCE` bytes of them at a time.

    Args:
        model: gives shapes and axes; its parameters are not initialised.
        table: the tensors of its family (`Family.table`).
        tensors: by hub name a safetensors slice, or `InMemory`; only what is needed is read.
        mesh: where `mtjax.distributed.sharding.RULES` put the parameters; None: the first device.
        where: names the checkpoint in error messages.

    Raises InputError for a missing, unknown or misshapen tensor, one that is not a float, or a mesh that does not
    divide the model.
    """
    shapes, by_entry = check_tensors(model, table, tensors, where)
    places = jax.tree.map(lambda _: SingleDeviceSharding(jax.local_devices()[0]), shapes)
    if mesh is not None:
        places = shardings(model.axes, mesh)
    params: dict[str, Any] = {}
    done = Counter[str]()
    for entry, names in zip(table, by_entry, strict=True):
        shape, place = _at(shapes, entry.path).shape, _at(places, entry.path)
        source, own = {}, hub_shape(_own(shapes, entry), entry.inputs)[0]
        for at, name in names.items():
            whole = tensors[name].get_shape()[0] == own
            part = tensors[name] if whole else Rows(tensors[name], done[name], own)
            source[at] = (f"{where}: '{name}'", part)
            done[name] += own
        try:
            place.shard_shape(shape)
        except ValueError as error:
            raise InputError(
                f"{where}: {'.'.join(entry.path)} of shape {shape} cannot be split by {place.spec} over "
                f"{dict(place.mesh.shape)}: choose --mesh.fsdp and --mesh.tensor that divide heads, kv_heads, width "
                "and vocabulary, and --mesh.expert that divides the experts"
            ) from error

        read = functools.partial(_read_layers, source, shape, entry.inputs)
        # Not make_array_from_callback, which reads the parts of all devices before it hands over the first.
        indices = place.addressable_devices_indices_map(shape)
        stacked = len(next(iter(names)))
        on_devices = [_put(read, shape, index, device, storage, stacked) for device, index in indices.items()]
        inner = functools.reduce(lambda tree, key: tree.setdefault(key, {}), entry.path[:-1], params)
        inner[entry.path[-1]] = jax.make_array_from_single_device_arrays(shape, place, on_devices)
    return params


def _put(read: Any, shape: Any, index: Any, device: Any, storage: str, stacked: int) -> jax.Array:
    """The block at `index` of a parameter on a device; of a large one, `AT_ONCE` bytes of layers at a time."""
    index = tuple(slice(*cut.indices(size)[:2]) for cut, size in zip(index, shape, strict=True))
    sizes = tuple(cut.stop - cut.start for cut in index)
    step = max(1, AT_ONCE // (4 * math.prod(sizes[1:]))) if stacked else sizes[0] if sizes else 0
    if not sizes or step >= sizes[0]:
        return jax.block_until_ready(jax.device_put(read(index).astype(storage), device))
    whole = jnp.zeros(sizes, storage, device=device)
    for start in range(0, sizes[0], step):
        cut = slice(index[0].start + start, min(index[0].start + start + step, index[0].stop))
        part = jax.device_put(read((cut, *index[1:])).astype(storage), device)
        whole = jax.block_until_ready(_fill(whole, part, start))
    return whole


@functools.partial(jax.jit, donate_argnums=0)
def _fill(whole: Any, part: Any, start: Any) -> jax.Array:
    """`whole`, in its own memory, with `part` in the rows from `start`."""
    return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)


def _own(shapes: Any, entry: Entry) -> tuple[int, ...]:
    """The shape of one layer's and expert's part of a parameter."""
    return tuple(_at(shapes, entry.path).shape[entry.name.count("{}") :])


def _check(tensor: Any, wanted: list[int], name: str) -> None:
    got = list(tensor.get_shape())
    if got != wanted:
        raise InputError(f"{name} has shape {tuple(got)}; expected {tuple(wanted)} from config.json")
    if tensor.get_dtype() not in FLOATS:
        raise InputError(
            f"{name} is of type {tensor.get_dtype()}; expected one of {', '.join(FLOATS)}: quantised checkpoints "
            "cannot be loaded, use the original one"
        )


def _read_layers(source: Mapping[tuple[int, ...], Any], shape: Any, inputs: int | None, index: Any) -> np.ndarray:
    """The float32 block at `index` of a parameter; `source` has a name and a tensor for each index of leading axes."""
    index = tuple(slice(*cut.indices(size)[:2]) for cut, size in zip(index, shape, strict=True))
    out = np.empty([cut.stop - cut.start for cut in index], np.float32)
    lead = len(next(iter(source)))
    with np.errstate(over="ignore"):  # `finite` refuses it
        for row in np.ndindex(*out.shape[:lead]):
            name, tensor = source[tuple(number + cut.start for number, cut in zip(row, index, strict=False))]
            out[row] = _read(tensor, shape[lead:], inputs, index[lead:])
            finite(out[row], name)
    return out


def _read(tensor: Any, shape: tuple[int, ...], inputs: int | None, index: tuple[slice, ...]) -> np.ndarray:
    """One layer's block of our parameter at `index`, reading no more of the hub's tensor than the rows it needs."""
    if inputs is None:
        return tensor[index]
    groups = [(shape[inputs:], index[inputs:]), (shape[:inputs], index[:inputs])]  # the hub has the outputs first
    groups = [group for group in groups if group[0]]
    # Of each group of axes only the first is cut in the file; unfold them, then cut the rest.
    rests = [math.prod(sizes[1:]) for sizes, _ in groups]
    flat = [slice(cuts[0].start * rest, cuts[0].stop * rest) for (_, cuts), rest in zip(groups, rests, strict=True)]
    unfolded = [n for sizes, cuts in groups for n in (cuts[0].stop - cuts[0].start, *sizes[1:])]
    within = tuple(cut for _, cuts in groups for cut in (slice(None), *cuts[1:]))
    values = np.asarray(tensor[tuple(flat)]).reshape(unfolded)[within]
    outputs = len(shape) - inputs
    return np.moveaxis(values, range(outputs), range(-outputs, 0))


def hub_tensors(table: Sequence[Entry], params: Params) -> Iterator[tuple[str, list[tuple[Any, int | None]]]]:
    """Every tensor of the checkpoint, layer by layer, lazily: its name, and parameters and `inputs` of its parts."""
    parts: dict[str, list[Any]] = {}
    order: dict[int, list[str]] = {}
    for entry in table:
        whole = _at(params, entry.path)
        for at, name in entry.names(whole.shape).items():
            if name not in parts:
                layer = (entry.layers or range(whole.shape[0]))[at[0]] if at else -1
                order.setdefault(layer, []).append(name)
            parts.setdefault(name, []).append((whole, at, entry.inputs))
    for name in (name for layer in sorted(order) for name in order[layer]):
        yield name, [(whole[at] if at else whole, inputs) for whole, at, inputs in parts[name]]


def whole_to_hub(parts: Sequence[tuple[Any, int | None]]) -> np.ndarray:
    """A tensor of the hub from its parts, as `hub_tensors` gives them."""
    rows = [to_hub(array, inputs) for array, inputs in parts]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def to_hub(array: Any, inputs: int | None) -> np.ndarray:
    """One layer's parameter as the hub stores it, gathered to the host. In many processes, all must call."""
    if not getattr(array, "is_fully_addressable", True):
        whole = NamedSharding(array.sharding.mesh, PartitionSpec())
        array = jax.jit(lambda x: x, out_shardings=whole)(array).addressable_data(0)
    values = np.asarray(array)
    if inputs is None:
        return values
    shape = hub_shape(values.shape, inputs)
    return np.ascontiguousarray(values.reshape(shape[::-1]).T)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    return functools.reduce(operator.getitem, path, tree)
