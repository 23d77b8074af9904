"""Adapter folders of PEFT (`adapter_config.json` and safetensors): read as an adapted model, and written from one."""

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mtjax.distributed.sharding import shardings
from mtjax.errors import InputError
from mtjax.model.adapters.base import Linear, chosen_maps, linear_maps, put, walk
from mtjax.model.adapters.lora import Chosen, Lora, fits, listed
from mtjax.model.adapters.names import hub_names, named_alone, of_each, short_name
from mtjax.model.families.tensors import to_hub
from mtjax.model.language_model import make_language_model
from mtjax.model.peft_tensors import by_expert, stacked
from mtjax.model.weights import has_weights, read_json
from mtjax.types import LanguageModel, Params

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
BASE = "mtjax_base"  # Key in the metadata of the weights: fingerprint of the base that they belong to.
READ = {
    "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "peft_type",
    "base_model_name_or_path", "init_lora_weights", "revision", "target_modules", "target_parameters",
}  # fmt: skip
HARMLESS = {
    "auto_mapping", "inference_mode", "peft_version", "task_type", "megatron_core", "megatron_config",
    "qalora_group_size", "layers_pattern", "layers_to_transform", "exclude_modules", "runtime_config",
    "base_model_class", "parent_library",
}  # fmt: skip
"""Keys that do not change what the tensors compute; which matrices are adapted is read from the tensors."""
NEUTRAL = {"bias": "none"}  # Values that change nothing, besides null, false and empty ones.
STARTS = (None, True, False, "gaussian", "orthogonal", "eva")  # Initialisations that leave the base as it is.
TENSOR = re.compile(r"(?:base_model\.model\.)?(.+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?")
LEAVES = {"lora_A": "a", "lora_B": "b", "lora_magnitude_vector": "scale"}


def is_adapter(folder: pathlib.Path) -> bool:
    """Whether a folder holds an adapter and no complete model."""
    return (folder / CONFIG).is_file() and not has_weights(folder) and not (folder / "config.json").is_file()


def base_of(folder: pathlib.Path) -> str:
    """The model that an adapter belongs to, by its config; a folder is looked for from the adapter's own first.

    Raises InputError where it is missing.
    """
    config = read_json(folder, CONFIG)
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise InputError(
            f"{folder / CONFIG}: base_model_name_or_path is {name!r}; expected the model that the adapter was trained "
            "on: set it to a folder or hub id"
        )
    if config.get("revision") not in (None, "main"):
        raise InputError(
            f"{folder / CONFIG}: revision is {config['revision']!r:.60}, another one than main is not fetched: fetch "
            f"that revision of {name} with `hf download --revision`, and set base_model_name_or_path to the folder"
        )
    beside = folder / name
    return str(beside) if (beside / "config.json").is_file() else name


def read_settings(folder: pathlib.Path) -> dict[str, Any]:
    """The adapter's config; InputError, by the name of the key, for what an adapter here cannot compute."""
    config = read_json(folder, CONFIG)
    where = folder / CONFIG
    if config.get("peft_type") != "LORA":
        raise InputError(
            f"{where}: peft_type is {config.get('peft_type')!r:.60}; expected 'LORA', the only kind that can be read: "
            "merge it into its base model with peft, and give that folder"
        )
    if config.get("init_lora_weights") not in STARTS:
        raise InputError(
            f"{where}: init_lora_weights is {config['init_lora_weights']!r:.60}, which changes the base model too; "
            "convert it with peft (save_pretrained(..., path_initial_model_for_weight_conversion=...)), or merge it"
        )
    for key, value in config.items():
        if key not in READ | HARMLESS and value and value != NEUTRAL.get(key):
            raise InputError(
                f"{where}: {key} is {json.dumps(value):.80}, which is not supported; expected it to be absent, null or "
                "false: merge the adapter into its base model with peft (merge_and_unload), and give that folder"
            )
    return config


def load_adapter(
    folder: pathlib.Path, base: LanguageModel, params: Params, *, mesh: Mesh | None = None, fingerprint: Any = None
) -> tuple[LanguageModel, Params]:
    """The adapted model and its parameters, `{"base": params, "adapter": ...}`.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        base, params: the model that it belongs to.
        mesh: where the adapter is put; None: the first device.
        fingerprint: of the parameters of the base, as a function; compared where the adapter says which it needs.

    Raises InputError for a setting or tensor that is not supported, by name, and for one that does not fit the base.
    """
    adapter, parts, belongs_to = read_adapter(folder, base)
    if belongs_to and fingerprint is not None and belongs_to != fingerprint(params):
        raise InputError(
            f"{folder} belongs to another base model than {base_of(folder)!r} (fingerprint {belongs_to} there, "
            f"{fingerprint(params)} here); set base_model_name_or_path in {CONFIG} to the one it was trained on"
        )
    model = make_language_model(dataclasses.replace(base.config, adapter=adapter))
    chosen, places = chosen_maps(base, adapter)[0], (str(folder / WEIGHTS), base_of(folder))
    made = {path: stacked(of, parts[path], adapter.dora, params, places) for path, of in chosen.items()}
    put_at = None if mesh is None else shardings(model.axes["adapter"], mesh)
    return model, {"base": params, "adapter": jax.device_put(put({}, made), put_at)}


Parts = dict[tuple[str, ...], dict[int, dict[str, dict[int, Any]]]]
"""Tensors with their names by path, layer, leaf and expert."""


def read_adapter(folder: pathlib.Path, base: LanguageModel) -> tuple[Lora, Parts, str | None]:
    """Settings and tensors of an adapter of `base`, and the fingerprint that it names; the tensors are not read.

    Raises InputError as `load_adapter`.
    """
    config, (tensors, belongs_to), maps = read_settings(folder), _open(folder), linear_maps(base)
    by_name = {
        name: (one, layer, expert)
        for one in maps
        for layer in range(one.layers)
        for expert, name in enumerate(one.hub(layer))
    }
    parts: Parts = {}
    for name, tensor in by_expert(tensors, maps, str(folder / WEIGHTS)).items():
        match = TENSOR.fullmatch(name)
        if match is None or match[1] not in by_name:
            what = "of modules_to_save or of another kind" if match is None else "for a matrix that is not adapted here"
            raise InputError(
                f"{folder / WEIGHTS}: '{name}' is {what}; expected LoRA tensors of {listed(maps)}: merge the adapter "
                "into its base model with peft (merge_and_unload), and give that folder"
            )
        one, layer, expert = by_name[match[1]]
        leaves = parts.setdefault(one.path, {}).setdefault(layer, {})
        leaves.setdefault(LEAVES[match[2]], {})[expert] = (name, tensor)
    return _settings(config, maps, parts, folder), parts, belongs_to


def _open(folder: pathlib.Path) -> tuple[dict[str, Any], str | None]:
    """The tensors by name, and the fingerprint of the base that they say they belong to."""
    from safetensors import SafetensorError, safe_open

    file = folder / WEIGHTS
    if not file.is_file():
        also = (
            f"{PICKLE} is a pickle: load it with peft and save_pretrained it again"
            if (folder / PICKLE).is_file()
            else "fetch it too"
        )
        raise InputError(f"{folder}: no {WEIGHTS} there; {also}")
    try:
        handle = safe_open(file, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is not a complete safetensors file ({error}); fetch it again") from error
    return {name: handle.get_slice(name) for name in list(handle.keys())}, (handle.metadata() or {}).get(BASE)


def _settings(config: Mapping[str, Any], maps: list[Linear], parts: Mapping[Any, Any], folder: pathlib.Path) -> Lora:
    """The settings of the adapter: which matrices and ranks by the tensors, the rest by the config."""
    rank, targets, ranks = config.get("r"), list[str](), list[tuple[str, int]]()
    if type(rank) is not int or rank < 1:
        raise InputError(f"{folder / CONFIG}: r is {rank!r:.60}; expected a whole number of at least 1")
    complete = {one.path for one in maps if len(parts.get(one.path, ())) == one.layers}
    for one in (one for one in maps if one.path in parts):
        layers = parts[one.path]
        everywhere = one.path in complete and (bool(one.experts) or named_alone(one, maps, complete))
        short = f"experts.{one.path[-1]}" if one.experts else short_name(one)  # theirs fits dense layers too
        targets += [short] if everywhere else [re.escape(one.names[layer][-1]) for layer in sorted(layers)]
        for layer in sorted(layers):
            missing = {"a", "b"} - layers[layer].keys()
            if missing:
                raise InputError(
                    f"{folder / WEIGHTS}: lora_{min(missing).upper()} of {one.names[layer][-1]} is missing"
                )
            own = next(iter(layers[layer]["a"].values()))[1].get_shape()[0]
            ranks += [(re.escape(one.names[layer][-1]), own)] if own != rank else []
    names = [name for one in maps for layer in one.names for name in layer]
    alphas = (config.get("alpha_pattern") or {}).items()
    return Lora(
        rank=rank,
        alpha=_real(config.get("lora_alpha", 8), f"{folder / CONFIG}: lora_alpha"),
        targets=tuple(targets),
        dropout=float(config.get("lora_dropout") or 0),
        rslora=bool(config.get("use_rslora")),
        dora=bool(config.get("use_dora")),
        rank_pattern=tuple(ranks),
        alpha_pattern=tuple(
            (pattern, _real(value, f"{folder / CONFIG}: alpha_pattern of {pattern}"))
            for pattern, value in alphas
            if any(fits(pattern, (name,)) for name in names)
        ),
    )


def _real(value: Any, name: str) -> float:
    """A number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name} is {value!r:.60}; expected a number above 0")
    return float(value)


def without(model: LanguageModel) -> LanguageModel:
    """The model below an adapter."""
    return make_language_model(dataclasses.replace(model.config, adapter=None))


def _misread(config: Any, chosen: Mapping[tuple[str, ...], Chosen]) -> str | None:
    """A matrix whose tensors peft would not load: an expert of Qwen2-MoE, or a dense MLP between other mixtures."""
    if config.mixture is None:
        return None
    of_qwen2 = config.mixture.shared_width > 0
    for path, of in chosen.items():
        if of.map.experts if of_qwen2 else "mlp" in path:
            return of.map.names[0][-1]
    return None


def save_adapter(
    folder: str | os.PathLike[str], model: LanguageModel, params: Params, base: str, fingerprint: str | None = None
) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` into an existing folder.

    `base` is the name of the base model for the config; `fingerprint`, of its parameters, goes into the metadata. In
    many processes all must call. InputError for an adapter or a family that PEFT has no names for.
    """
    adapter: Any = model.config.adapter
    if not isinstance(adapter, Lora):
        raise InputError(f"model.adapter is {type(adapter).__name__}; PEFT files are written for Lora only")
    plain = without(model)
    hub, place = hub_names(model.config), pathlib.Path(folder)
    chosen = chosen_maps(plain, adapter)[0]
    if name := _misread(model.config, chosen):
        raise InputError(
            f"{name} is adapted, and peft 0.21 with transformers 5 takes its name for another one's in a model with "
            "experts, and computes something else without an error: export the model with its adapter merged, or "
            "leave that matrix out of model.adapter.targets"
        )
    tensors, targets, ranks, alphas = dict[str, np.ndarray](), list[str](), dict[str, int](), dict[str, float]()
    maps = list(linear_maps(plain))
    complete = {path for path, of in chosen.items() if all(of.ranks)}
    for path, of, leaves in walk(params["adapter"], chosen):
        if path not in hub:
            raise InputError(
                f"{'.'.join(path)} has no name of its own on the hub, so PEFT cannot have an adapter of it"
            )
        one = of.map
        a, b = (to_hub(leaves[name], None).astype(np.float32) for name in "ab")
        lead = (one.layers, one.experts or 1)
        a, b = a.reshape(*lead, -1, of.rank), b.reshape(*lead, of.rank, -1)
        norms = to_hub(leaves["scale"], None).reshape(one.layers, -1) if adapter.dora else None
        live = [layer for layer in range(one.layers) if of.ranks[layer]]
        short = path in complete and (bool(one.experts) or named_alone(one, maps, complete))
        targets += [short_name(one)] if short else [name for layer in live for name in one.hub(layer)]
        for layer in live:
            name, rank = one.names[layer][-1], of.ranks[layer]
            name = of_each(name, "[0-9]+") if one.experts else name
            alpha = of.scales[layer] * (math.sqrt(rank) if adapter.rslora else rank)
            ranks |= {} if rank == adapter.rank else {name: rank}
            alphas |= {} if math.isclose(alpha, adapter.alpha) else {name: alpha}
            for expert, each in enumerate(one.hub(layer)):
                before = f"base_model.model.{each}."
                tensors[before + "lora_A.weight"] = np.ascontiguousarray(a[layer, expert, :, :rank].T)
                tensors[before + "lora_B.weight"] = np.ascontiguousarray(b[layer, expert, :rank].T)
                if norms is not None:
                    tensors[before + "lora_magnitude_vector"] = np.ascontiguousarray(norms[layer], np.float32)
    task = "CAUSAL_LM" if model.config.encoder is None else "SEQ_2_SEQ_LM"
    config = {
        "peft_type": "LORA", "task_type": task, "base_model_name_or_path": base, "r": adapter.rank,
        "lora_alpha": adapter.alpha, "lora_dropout": adapter.dropout, "target_modules": targets, "bias": "none",
        "use_rslora": adapter.rslora, "use_dora": adapter.dora, "rank_pattern": ranks, "alpha_pattern": alphas,
        "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "modules_to_save": None,
    }  # fmt: skip
    if jax.process_index() == 0:
        from safetensors.numpy import save_file

        metadata = {"format": "pt"} | ({BASE: fingerprint} if fingerprint else {})
        save_file(tensors, place / WEIGHTS, metadata=metadata)
        (place / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
