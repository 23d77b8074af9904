"""The name table between Hugging Face tensors and our parameters, and the reading of one shard at a time.

A linear weight is `[out, in]` on the hub and `[in, out]` here, with the heads unfolded; the layers are stacked.
"""

import dataclasses
import difflib
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from mtjax.distributed.sharding import shardings
from mtjax.errors import InputError
from mtjax.types import LanguageModel, Params

FLOATS = ("F64", "F32", "F16", "BF16")
HEAD = "lm_head.weight"


class Entry(NamedTuple):
    """One parameter of ours and its name on the hub.

    Attributes:
        path: keys into the parameter tree.
        name: the hub's name; `{}` stands for the layer, and then our parameter has a leading layer axis.
        inputs: how many axes (after the layer's) are inputs of a linear map, hence transposed; None: taken as it is.
    """

    path: tuple[str, ...]
    name: str
    inputs: int | None


def name_table(*, tied: bool, qkv_bias: bool) -> list[Entry]:
    """Every parameter of a Llama-shaped decoder and its name in a Hugging Face checkpoint."""
    table = [Entry(("embed", "embedding"), "model.embed_tokens.weight", None)]
    layer = "model.layers.{}."
    table.append(Entry(("layers", "attention_norm", "scale"), layer + "input_layernorm.weight", None))
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
        table.append(Entry(("layers", "attention", ours, "kernel"), f"{layer}self_attn.{theirs}.weight", 1))
        if qkv_bias:
            table.append(Entry(("layers", "attention", ours, "bias"), f"{layer}self_attn.{theirs}.bias", 0))
    table.append(Entry(("layers", "attention", "out", "kernel"), layer + "self_attn.o_proj.weight", 2))
    # The hub's name misleads: this is the norm in front of the MLP.
    table.append(Entry(("layers", "mlp_norm", "scale"), layer + "post_attention_layernorm.weight", None))
    for name in ("gate", "up", "down"):
        table.append(Entry(("layers", "mlp", name, "kernel"), f"{layer}mlp.{name}_proj.weight", 1))
    table.append(Entry(("final_norm", "scale"), "model.norm.weight", None))
    return table if tied else [*table, Entry(("head", "kernel"), HEAD, 1)]


@dataclasses.dataclass(frozen=True)
class InMemory:
    """A float32 array behind the three methods of a safetensors slice that are used here."""

    array: np.ndarray

    def get_shape(self) -> list[int]:
        """Its shape."""
        return list(self.array.shape)

    def get_dtype(self) -> str:
        """Always "F32"."""
        return "F32"

    def __getitem__(self, index: Any) -> np.ndarray:
        """A view of the array."""
        return self.array[index]


def hub_shape(shape: tuple[int, ...], inputs: int | None) -> list[int]:
    """The shape on the hub of one layer's parameter: `[D, H, K]` with one input axis is `[H K, D]`."""
    if inputs is None:
        return list(shape)
    outs = math.prod(shape[inputs:])
    return [outs, math.prod(shape[:inputs])] if inputs else [outs]


def check_names(found: set[str], table: list[Entry], layers: int, *, tied: bool, where: str) -> None:
    """Raise InputError unless the checkpoint holds exactly the tensors of the table.

    Rotary buffers of old checkpoints, and a head that a tied model does not use, are no fault.
    """
    wanted = {entry.name.format(layer) for entry in table for layer in range(layers if "{}" in entry.name else 1)}
    missing = sorted(wanted - found)
    extra = sorted(
        name for name in found - wanted if not name.endswith("rotary_emb.inv_freq") and not (tied and name == HEAD)
    )
    if missing == [HEAD]:
        raise InputError(
            f"{where}: {HEAD} is missing, though config.json says tie_word_embeddings is false; set it to true if "
            "the head is the embedding, or fetch the file again"
        )
    if missing:
        near = difflib.get_close_matches(missing[0], extra, n=1)
        way_out = f"did you mean '{near[0]}'?" if near else "is the file whole, and does config.json belong to it?"
        raise InputError(f"{where}: '{missing[0]}' is missing; {way_out} ({len(missing)} missing: {_some(missing)})")
    if extra:
        raise InputError(
            f"{where}: {len(extra)} tensors that config.json has no place for, e.g. {_some(extra)}; expected a decoder "
            f"of {layers} layers, with biases on q, k, v for qwen2 only: does config.json belong to these weights?"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def read_params(model: LanguageModel, tensors: Mapping[str, Any], mesh: Mesh | None, where: str) -> Params:
    """The parameter tree, float32, each device's part read straight from the tensors that hold it.

    At any time the host holds one device's part of one parameter (one kind of kernel), never the model.

    Args:
        model: says shapes and axes; its parameters are not made.
        tensors: by hub name a safetensors slice, or `InMemory`; only what is asked for is read.
        mesh: where `mtjax.distributed.sharding.RULES` put the parameters; None: the first device.
        where: names the checkpoint in errors.

    Raises:
        InputError: a missing, unknown or misshapen tensor, one that is no float, a mesh that does not divide the model.
    """
    config = model.config
    table = name_table(tied=config.tied, qkv_bias=config.qkv_bias)
    check_names(set(tensors), table, config.layers, tied=config.tied, where=where)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    places = jax.tree.map(lambda _: SingleDeviceSharding(jax.local_devices()[0]), shapes)
    if mesh is not None:
        places = shardings(model.axes, mesh)
    params: dict[str, Any] = {}
    for entry in table:
        shape, place = _at(shapes, entry.path).shape, _at(places, entry.path)
        parts = [tensors[entry.name.format(n)] for n in range(shape[0])] if "{}" in entry.name else None
        one = tensors[entry.name] if parts is None else None
        for number, part in enumerate([one] if parts is None else parts):
            _check(part, entry, shape if parts is None else shape[1:], f"{where}: '{entry.name.format(number)}'")
        try:
            place.shard_shape(shape)
        except ValueError as error:
            raise InputError(
                f"{where}: {'.'.join(entry.path)} of shape {shape} cannot be split by {place.spec} over "
                f"{dict(place.mesh.shape)}: choose --mesh.fsdp and --mesh.tensor that divide heads, kv_heads, width "
                "and vocabulary"
            ) from error

        read = functools.partial(_read_layers, one if parts is None else parts, shape, entry.inputs)
        # Not make_array_from_callback, which reads the parts of all devices before it hands over the first.
        indices = place.addressable_devices_indices_map(shape)
        on_devices = [jax.block_until_ready(jax.device_put(read(index), device)) for device, index in indices.items()]
        _put(params, entry.path, jax.make_array_from_single_device_arrays(shape, place, on_devices))
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


def _read_layers(source: Any, shape: tuple[int, ...], inputs: int | None, index: Any) -> np.ndarray:
    """The float32 block at `index` of a parameter; `source` is one tensor, or a list with one per layer."""
    index = tuple(slice(*cut.indices(size)[:2]) for cut, size in zip(index, shape, strict=True))
    if not isinstance(source, list):
        return np.array(_read(source, shape, inputs, index), np.float32, order="C")
    out = np.empty([cut.stop - cut.start for cut in index], np.float32)
    for row, layer in enumerate(range(index[0].start, index[0].stop)):
        out[row] = _read(source[layer], shape[1:], inputs, index[1:])
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


def hub_tensors(model: LanguageModel, params: Params) -> Iterator[tuple[str, Any, int | None]]:
    """Name, parameter slice and `inputs` of every tensor of the checkpoint, layer by layer, lazily."""
    table = name_table(tied=model.config.tied, qkv_bias=model.config.qkv_bias)
    for entry in table:
        if "{}" not in entry.name:
            yield entry.name, _at(params, entry.path), entry.inputs
    for layer in range(model.config.layers):
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
    for key in path:
        tree = tree[key]
    return tree


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
