"""Load and save Hugging Face folders (safetensors and `config.json`) of the families in `families/`."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
from typing import Any, Literal

import jax
import ml_dtypes  # teaches numpy bfloat16; must come before a bf16 file is read
import numpy as np
from jax.sharding import Mesh

from mtjax.errors import InputError
from mtjax.io.files import atomic_folder
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families import FAMILIES, config_from_json, config_to_json, family_of
from mtjax.model.families.tensors import hub_tensors, read_params, to_hub
from mtjax.model.language_model import make_language_model
from mtjax.types import LanguageModel, Params

__all__ = ["config_from_json", "config_to_json", "end_ids", "load", "read_config", "save"]

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
SHARD_BYTES = 5 * 10**9  # the hub's size limit of one file of a split checkpoint


def load(
    path: str | os.PathLike[str], *, mesh: Mesh | None = None, dtype: Literal["float32", "bfloat16"] | None = None
) -> tuple[LanguageModel, Params]:
    """The model in a local Hugging Face folder, its float32 parameters read straight to their places on the mesh.

    A tied model ignores any `lm_head.weight`, an untied one requires it.

    Args:
        path: folder with `config.json` and `model.safetensors`, or an index and its files.
        mesh: split the parameters by `mtjax.distributed.sharding.RULES`; None puts them on the first device.
        dtype: type to compute in (`DecoderConfig.dtype`); None is float32.

    Raises:
        InputError: a missing folder or file, a corrupt file, an unsupported family or rotary type, and tensors that
            are missing, unknown, misshapen or not floats; each named.

    >>> model, params = load("my_model")  # doctest: +SKIP
    """
    folder = pathlib.Path(path)
    written = _json(folder, "config.json")
    config = config_from_json(written)
    table = FAMILIES[written["model_type"]].table(config)
    model = make_language_model(config if dtype is None else dataclasses.replace(config, dtype=dtype))
    return model, read_params(model, table, _open_tensors(folder), mesh, str(folder))


def read_config(path: str | os.PathLike[str]) -> DecoderConfig:
    """The decoder settings in a Hugging Face folder; InputError as in `load`."""
    return config_from_json(_json(pathlib.Path(path), "config.json"))


def end_ids(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Every EOS id, by `generation_config.json` and `config.json` (one id or a list); may be empty."""
    folder, found = pathlib.Path(path), set[int]()
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            value = _json(folder, name).get("eos_token_id")
            for one in value if isinstance(value, list) else [value]:
                if one is not None and not (type(one) is int and 0 <= one < 2**31):
                    raise InputError(f"{folder / name}: eos_token_id is {value!r}; expected a token's number or a list")
                found |= set() if one is None else {one}
    return tuple(sorted(found))


def _json(folder: pathlib.Path, name: str) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"model folder {str(folder)!r} does not exist; expected a folder with config.json")
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise InputError(f"{folder}: no {name} there; expected a Hugging Face model folder, found {there}") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{folder}: {name} is not JSON ({error}); fetch it again") from error
    if not isinstance(value, dict):
        raise InputError(f"{folder / name} holds a JSON {type(value).__name__}; expected an object")
    return value


def _open_tensors(folder: pathlib.Path) -> dict[str, Any]:
    """Every tensor of the folder by name, as a slice that is read only when indexed."""
    from safetensors import SafetensorError, safe_open

    index: dict[str, str] = {}
    if (folder / INDEX).is_file():
        index = _json(folder, INDEX).get("weight_map") or {}
        if not index or not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
            raise InputError(f"{folder / INDEX} has no weight_map from tensor to file name; fetch it again")
    files = sorted(set(index.values())) or [SINGLE]
    tensors: dict[str, Any] = {}
    for file in files:
        if not (folder / file).is_file():
            if index:
                raise InputError(f"{folder / file} does not exist, though {INDEX} names it; fetch it too")
            bins = "; convert the PyTorch .bin files there" if list(folder.glob("*.bin")) else ""
            raise InputError(f"{folder}: no {SINGLE} and no {INDEX}; expected the weights beside config.json{bins}")
        try:
            handle = safe_open(folder / file, framework="numpy")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{folder / file} is not a complete safetensors file ({error}); fetch it again") from error
        tensors |= {name: handle.get_slice(name) for name in list(handle.keys())}
    absent = sorted(set(index) - set(tensors))
    if absent:
        raise InputError(f"{folder / index[absent[0]]} lacks {absent[0]}, which {INDEX} lists in it; fetch both again")
    return tensors


def save(
    path: str | os.PathLike[str],
    model: LanguageModel,
    params: Params,
    *,
    tokenizer: Any = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    file_bytes: int | None = None,
) -> pathlib.Path:
    """Write a Hugging Face folder: safetensors, `config.json`, `generation_config.json`, tokenizer, chat template.

    The folder is written atomically; it replaces one that is empty or a model folder. Loading it and saving again gives
    equal bytes. In many processes all must call; the first one writes.

    Args:
        path: the folder to make, which is returned.
        model, params: the decoder and its parameters.
        tokenizer: a `mtjax.data.tokenizer.Tokenizer`, saved along; its ids go into the configs.
        dtype: type of the weights on disk.
        file_bytes: split into files of at most this size; None is the 5 GB of the hub.

    Raises:
        InputError: the folder holds something else; no Hugging Face family has this shape (`families.family_of`).
    """
    folder = check_place(path, model)
    named = {"bos_token_id": "bos_id", "eos_token_id": "end_id", "pad_token_id": "pad_id"}
    ids = {key: getattr(tokenizer, name, None) for key, name in named.items()}
    ids = {key: value for key, value in ids.items() if value is not None}
    config = config_to_json(model.config, dtype=dtype, **ids)
    writer: Any = atomic_folder(folder) if jax.process_index() == 0 else contextlib.nullcontext()
    with writer as temporary:
        _write_tensors(temporary, model, params, np.dtype(getattr(ml_dtypes, dtype, dtype)), file_bytes or SHARD_BYTES)
        if temporary is not None:
            if tokenizer is not None:
                tokenizer.save(temporary)
            _write_json(temporary / "config.json", config)
            _write_json(temporary / "generation_config.json", {"_from_model_config": True, **ids})
    return folder


def check_place(path: str | os.PathLike[str], model: LanguageModel) -> pathlib.Path:
    """`path` as a folder that `save` may write; InputError, before anything is computed, where it would refuse."""
    folder = pathlib.Path(path)
    config_to_json(model.config)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "config.json").is_file())):
        raise InputError(f"{folder} exists and is not a model folder; give a new name, or empty it first")
    inside = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not inside.is_dir() or not os.access(inside, os.W_OK):
        why = "cannot be written to" if inside.is_dir() else "is a file"
        raise InputError(f"'{folder}' cannot become a model folder: '{inside}' {why}; give another name")
    return folder


def _write_tensors(
    folder: pathlib.Path | None, model: LanguageModel, params: Params, dtype: np.dtype, file_bytes: int
) -> None:
    """Write all tensors, one file in memory at a time; without a folder, only take part in the gathering."""
    table = FAMILIES[family_of(model.config)].table(model.config)
    sizes = [(name, array.size * dtype.itemsize) for name, array, _ in hub_tensors(table, params, model.config.layers)]
    counts, held = [0], 0  # tensors of each file, and bytes in the last one
    for _, size in sizes:
        if counts[-1] and held + size > file_bytes:
            counts.append(0)
            held = 0
        counts[-1] += 1
        held += size
    stream = hub_tensors(table, params, model.config.layers)
    where: dict[str, str] = {}
    for number, count in enumerate(counts, start=1):
        file = SINGLE if len(counts) == 1 else f"model-{number:05d}-of-{len(counts):05d}.safetensors"
        tensors = {}
        for name, array, inputs in itertools.islice(stream, count):
            values = to_hub(array, inputs)
            if folder is not None:
                tensors[name], where[name] = values.astype(dtype), file
        if folder is not None:
            from safetensors.numpy import save_file

            save_file(tensors, folder / file, metadata={"format": "pt"})
    if folder is not None and len(counts) > 1:
        total = sum(size for _, size in sizes)
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))})


def _write_json(file: pathlib.Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
