"""Tensors of Hugging Face checkpoints: their names, and reading and writing them shard by shard.

A linear weight is `[out, in]` on the hub and `[in, out]` here, with the heads unfolded; the layers are stacked.
"""

import dataclasses
import difflib
import functools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from mtjax.distributed.sharding import shardings
from mtjax.errors import InputError
from mtjax.types import LanguageModel, Params

FLOATS = ("F64", "F32", "F16", "BF16")
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
PACKED = (".qweight", ".qzeros", ".scales", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".absmax", ".SCB")
"""Ends of tensor names that only quantised checkpoints have."""


class Entry(NamedTuple):
    """One parameter of ours and its name on the hub."""

    path: tuple[str, ...]  # keys into the parameter tree
    name: str  # `{}` stands for the number of the layer; the parameter then has a leading layer axis
    inputs: int | None  # input axes of a linear map, which is transposed (layer axis not counted); None: not linear


def in_layer(path: str, name: str, inputs: int | None) -> Entry:
    """The entry of a parameter that every layer has; `path` and `name` leave out what all of them share."""
    return Entry(("layers", *path.split(".")), "model.layers.{}." + name, inputs)


LLAMA_TENSORS = (
    Entry(("embed", "embedding"), EMBEDDING, None),
    in_layer("attention_norm.scale", "input_layernorm.weight", None),
    in_layer("attention.query.kernel", "self_attn.q_proj.weight", 1),
    in_layer("attention.key.kernel", "self_attn.k_proj.weight", 1),
    in_layer("attention.value.kernel", "self_attn.v_proj.weight", 1),
    in_layer("attention.out.kernel", "self_attn.o_proj.weight", 2),
    in_layer("mlp_norm.scale", "post_attention_layernorm.weight", None),  # the norm before the MLP, despite its name
    in_layer("mlp.gate.kernel", "mlp.gate_proj.weight", 1),
    in_layer("mlp.up.kernel", "mlp.up_proj.weight", 1),
    in_layer("mlp.down.kernel", "mlp.down_proj.weight", 1),
    Entry(("final_norm", "scale"), "model.norm.weight", None),
    Entry(("head", "kernel"), HEAD, 1),  # absent in a tied model
)


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


def check_names(found: set[str], table: Sequence[Entry], layers: int, where: str) -> None:
    """Raise InputError unless the checkpoint holds exactly the tensors of the table.

    Rotary buffers of old checkpoints are ignored.
    """
    if packed := sorted(name for name in found if name.endswith(PACKED)):
        raise InputError(
            f"{where}: this checkpoint is quantised ({packed[0]}); expected weights in float32, bfloat16 or "
            "float16: take the original checkpoint that it was made from"
        )
    if lora := sorted(name for name in found if ".lora_" in name):
        raise InputError(f"{where}: {lora[0]} belongs to an adapter; merge it into its base model first (peft)")
    some = lambda names: ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    wanted = {entry.name.format(layer) for entry in table for layer in range(layers if "{}" in entry.name else 1)}
    missing = sorted(wanted - found)
    extra = sorted(name for name in found - wanted if not name.endswith("rotary_emb.inv_freq"))
    if missing == [HEAD]:
        raise InputError(
            f"{where}: {HEAD} is missing, though config.json says tie_word_embeddings is false; set it to true if "
            "the head is the embedding, or fetch the file again"
        )
    if missing:
        near = difflib.get_close_matches(missing[0], extra, n=1)
        way_out = f"did you mean '{near[0]}'?" if near else "is the file complete, and does config.json belong to it?"
        raise InputError(f"{where}: '{missing[0]}' is missing; {way_out} ({len(missing)} missing: {some(missing)})")
    if extra:
        raise InputError(
            f"{where}: {len(extra)} tensors that config.json has no place for, e.g. {some(extra)}; expected the "
            f"tensors of {layers} layers of its model_type: does config.json belong to these weights?"
        )


def read_params(
    model: LanguageModel,
    table: Sequence[Entry],
    tensors: Mapping[str, Any],
    mesh: Mesh | None,
    where: str,
    storage: str = "float32",
) -> Params:
    """The parameter tree, of type `storage`; the host never holds more than one device's part of one parameter.

    Args:
        model: gives shapes and axes; its parameters are not initialised.
        table: the tensors of its family (`Family.table`).
        tensors: by hub name a safetensors slice, or `InMemory`; only what is needed is read.
        mesh: where `mtjax.distributed.sharding.RULES` put the parameters; None: the first device.
        where: names the checkpoint in error messages.

    Raises InputError for a missing, unknown or misshapen tensor, one that is not a float, or a mesh that does not
    divide the model.
    """
    check_names(set(tensors), table, model.config.layers, where)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    places = jax.tree.map(lambda _: SingleDeviceSharding(jax.local_devices()[0]), shapes)
    if mesh is not None:
        places = shardings(model.axes, mesh)
    params: dict[str, Any] = {}
    for entry in table:
        shape, place = _at(shapes, entry.path).shape, _at(places, entry.path)
        stacked = "{}" in entry.name
        names = [entry.name.format(layer) for layer in range(shape[0])] if stacked else [entry.name]
        for name in names:
            _check(tensors[name], entry, shape[1:] if stacked else shape, f"{where}: '{name}'")
        source = [tensors[name] for name in names] if stacked else tensors[entry.name]
        try:
            place.shard_shape(shape)
        except ValueError as error:
            raise InputError(
                f"{where}: {'.'.join(entry.path)} of shape {shape} cannot be split by {place.spec} over "
                f"{dict(place.mesh.shape)}: choose --mesh.fsdp and --mesh.tensor that divide heads, kv_heads, width "
                "and vocabulary"
            ) from error

        read = functools.partial(_read_layers, [f"{where}: '{name}'" for name in names], source, shape, entry.inputs)
        # Not make_array_from_callback, which reads the parts of all devices before it hands over the first.
        indices = place.addressable_devices_indices_map(shape)
        on_devices = [
            jax.block_until_ready(jax.device_put(read(index).astype(storage), device))
            for device, index in indices.items()
        ]
        inner = functools.reduce(lambda tree, key: tree.setdefault(key, {}), entry.path[:-1], params)
        inner[entry.path[-1]] = jax.make_array_from_single_device_arrays(shape, place, on_devices)
    return params


def _check(tensor: Any, entry: Entry, shape: tuple[int, ...], name: str) -> None:
    wanted, got = hub_shape(shape, entry.inputs), list(tensor.get_shape())
    if got != wanted:
        raise InputError(f"{name} has shape {tuple(got)}; expected {tuple(wanted)} from config.json")
    if tensor.get_dtype() not in FLOATS:
        raise InputError(
            f"{name} is of type {tensor.get_dtype()}; expected one of {', '.join(FLOATS)}: quantised checkpoints "
            "cannot be loaded, use the original one"
        )


def _read_layers(names: list[str], source: Any, shape: tuple[int, ...], inputs: int | None, index: Any) -> np.ndarray:
    """The float32 block at `index` of a parameter; `source` is one tensor, or a list with one per layer."""
    index = tuple(slice(*cut.indices(size)[:2]) for cut, size in zip(index, shape, strict=True))
    out = np.empty([cut.stop - cut.start for cut in index], np.float32)
    with np.errstate(over="ignore"):  # `finite` refuses it
        if not isinstance(source, list):
            out[...] = _read(source, shape, inputs, index)
            return finite(out, names[0])
        for row, layer in enumerate(range(index[0].start, index[0].stop)):
            out[row] = _read(source[layer], shape[1:], inputs, index[1:])
            finite(out[row], names[layer])
    return out


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """The values themselves; InputError if any is NaN or infinite in float32."""
    with np.errstate(invalid="ignore"):
        total = np.sum(values, dtype=np.float64)
    if not np.isfinite(total):
        bad = int(np.sum(~np.isfinite(values)))
        raise InputError(
            f"{name} has {bad} NaN or infinite values of {values.size}; expected finite weights: the file is damaged, "
            "or the training that made it diverged: fetch it again, or take an earlier checkpoint"
        )
    return values


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


def hub_tensors(table: Sequence[Entry], params: Params, layers: int) -> Iterator[tuple[str, Any, int | None]]:
    """Name, parameter slice and `inputs` of every tensor of the checkpoint, layer by layer, lazily."""
    for entry in table:
        if "{}" not in entry.name:
            yield entry.name, _at(params, entry.path), entry.inputs
    for layer in range(layers):
        for entry in table:
            if "{}" in entry.name:
                yield entry.name.format(layer), _at(params, entry.path)[layer], entry.inputs


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
