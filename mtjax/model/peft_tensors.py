"""Tensors of PEFT files: into the stacked leaves of an adapter, those of all experts of a layer taken apart."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtjax.errors import InputError
from mtjax.model.adapters.base import Linear, at
from mtjax.model.adapters.lora import Chosen
from mtjax.model.families.checks import finite
from mtjax.model.families.tensors import FLOATS, InMemory
from mtjax.types import Params

FUSED = re.compile(
    r"(?:base_model\.model\.)?model\.layers\.(\d+)\.\w+\.experts((?:\.base_layer)?)\.lora_([AB])(?:\.default)?(?:\.weight)?"
)


def by_expert(tensors: Mapping[str, Any], maps: Sequence[Linear], where: str) -> dict[str, Any]:
    """The tensors of an adapter with those of all experts taken apart, under the names of each expert.

    PEFT has A `[E rank, inputs]` and B `[outputs, rank E]`, and gate and up as one matrix with 2 F outputs: both take
    its A, and each its half of B. Raises InputError, with the name, for a shape that is neither gate and up nor down.
    """
    found: dict[tuple[int, str], dict[str, tuple[str, Any]]] = {}
    out = {}
    for name, tensor in tensors.items():
        if match := FUSED.fullmatch(name):
            found.setdefault((int(match[1]), match[2]), {})[match[3]] = (name, tensor)
        else:
            out[name] = tensor
    for (layer, _), pair in found.items():
        sides = {one.path[-1]: (one, one.numbers.index(layer)) for one in maps if one.experts and layer in one.numbers}
        if len(pair) < 2 or not sides:
            name = next(iter(pair.values()))[0]
            lacks = "lora_A or lora_B beside it is missing" if sides else f"layer {layer} has no experts"
            raise InputError(f"{where}: '{name}': {lacks}; does the adapter belong to this base model?")
        (name_a, stored_a), (name, stored_b) = pair["A"], pair["B"]
        shapes = list(stored_a.get_shape()), list(stored_b.get_shape())
        count, width, hidden = sides["gate"][0].shape[-3:]
        fits = {(width, 2 * hidden): ("gate", "up"), (hidden, width): ("down",)}
        chosen = fits.get((shapes[0][-1], shapes[1][0]), ())
        if not chosen or shapes[0][0] % count or shapes[1][-1] != shapes[0][0]:
            raise InputError(
                f"{where}: '{name_a}' and lora_B are {shapes[0]} and {shapes[1]}; expected [{count} rank, {width}] and "
                f"[{2 * hidden}, {count} rank] of gate_up_proj, or [{count} rank, {hidden}] and "
                f"[{width}, {count} rank] of down_proj: does the adapter belong to this base model?"
            )
        a = np.asarray(stored_a[:], np.float32).reshape(count, -1, shapes[0][-1])
        b = np.moveaxis(np.asarray(stored_b[:], np.float32).reshape(shapes[1][0], -1, count), -1, 0)
        for side, half in zip(chosen, np.split(b, len(chosen), axis=1), strict=True):
            one, place = sides[side]
            for expert, hub in enumerate(one.hub(place)):
                out[f"{hub}.lora_A.weight"], out[f"{hub}.lora_B.weight"] = InMemory(a[expert]), InMemory(half[expert])
    return out


def stacked(of: Chosen, parts: Any, dora: bool, params: Params, places: tuple[str, str]) -> dict[str, Any]:
    """The leaves of one map, its layers and experts stacked; smaller ranks are filled up with zeros.

    `parts` has, by layer, leaf and expert, the names and the tensors; `places` are the names of file and base for
    errors. Raises InputError for a tensor that is missing, misshapen, or not finite.
    """
    file, base = places
    one, count = of.map, of.map.experts or 1
    lead = one.shape[: one.stacked]
    into, out = one.shape[one.stacked : one.stacked + one.inputs], one.shape[one.stacked + one.inputs :]
    sizes = math.prod(into), math.prod(out)
    a, b = (np.zeros((one.layers, count, *shape), np.float32) for shape in ((sizes[0], of.rank), (of.rank, sizes[1])))
    scale = None
    if dora:
        kernel = np.asarray(at(params, one.path)["kernel"], np.float32)
        scale = np.sqrt((kernel.reshape(one.layers, *sizes).astype(np.float64) ** 2).sum(1)).astype(np.float32)
    for layer, found in parts.items():
        rank = of.ranks[layer]
        wanted = {"a": [rank, sizes[0]], "b": [sizes[1], rank]} | ({"scale": [sizes[1]]} if dora else {})
        for leaf in {*wanted, *found}:
            if leaf not in found or leaf not in wanted:
                why = "is missing, though use_dora is true" if leaf in wanted else "is there, though use_dora is false"
                raise InputError(f"{file}: lora_magnitude_vector of {one.names[layer][-1]} {why}")
            if len(found[leaf]) < count:
                absent = min({*range(count)} - found[leaf].keys())
                raise InputError(
                    f"{file}: lora_{leaf.upper()} of {one.hub(layer)[absent]} is missing; expected all "
                    f"{count} experts of a layer, or none"
                )
        for leaf, expert in itertools.product(wanted, range(count)):
            name, tensor = found[leaf][expert]
            if list(tensor.get_shape()) != wanted[leaf] or tensor.get_dtype() not in FLOATS:
                raise InputError(
                    f"{file}: '{name}' is {tensor.get_dtype()} {list(tensor.get_shape())}; expected floats "
                    f"of shape {wanted[leaf]} for the base model {base!r}: does the adapter belong to it?"
                )
            values = finite(np.asarray(tensor[:], np.float32), f"{file}: '{name}'")
            if leaf == "a":
                a[layer, expert, :, :rank] = values.T
            elif leaf == "b":
                b[layer, expert, :rank] = values.T
            elif scale is not None:
                scale[layer] = values
    leaves = {"a": a.reshape(*lead, *into, of.rank), "b": b.reshape(*lead, of.rank, *out)}
    leaves |= {} if scale is None else {"scale": scale.reshape(*lead, *out)}
    return {name: jnp.asarray(values) for name, values in leaves.items()}
