"""Save a model as a Hugging Face folder, with what it keeps of the checkpoint that it came from."""

import contextlib
import itertools
import json
import math
import os
import pathlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import jax
import ml_dtypes
import numpy as np

from mtjax.errors import InputError, note
from mtjax.io.files import atomic_folder
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families import FAMILIES, config_to_json
from mtjax.model.families.checks import check_table
from mtjax.model.families.tables import Entry
from mtjax.model.families.tensors import hub_tensors, whole_to_hub
from mtjax.model.language_model import without_adapter
from mtjax.model.value_head import VALUE, save_value_head
from mtjax.model.weights import INDEX, SINGLE, open_tensors, read_json
from mtjax.types import LanguageModel, Params

SHARD_BYTES = 5 * 10**9  # the hub's size limit of one file of a split checkpoint
TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # of safetensors, and NumPy's names
KEPT = ("LICENSE*", "LICENCE*", "License*", "COPYING*", "NOTICE*", "Notice*", "USE_POLICY*", "README.md")
"""Files of a checkpoint that say on what terms it may be used."""
LICENCE_KEYS = re.compile(r"^(license|license_name|license_link)[ ]*:[ ]*\S.*$", re.M)
LARGEST = 10**6  # bytes of a licence file
# Keys of `config.json` with another meaning beside those that are written.
REPLACED = ("rope_parameters", "rope_scaling", "rope_theta", "dtype", "torch_dtype", "layer_types")
GENERATION = (
    "do_sample", "temperature", "top_k", "top_p", "typical_p", "min_p", "repetition_penalty", "length_penalty",
    "no_repeat_ngram_size", "num_beams", "max_length", "min_length",
)  # fmt: skip
"""Keys of a generation config that old checkpoints have in `config.json`."""
Type = Literal["float32", "bfloat16", "float16"]


class Origin(NamedTuple):
    """What an export keeps of the checkpoint that a model came from."""

    name: str  # how it was called
    config: Mapping[str, Any]  # its `config.json`
    generation: Mapping[str, Any]  # its `generation_config.json`, or what its `config.json` says of generation
    types: Mapping[str, str]  # type of each tensor on disk, in NumPy's names
    licence: Mapping[str, bytes]  # licence and notice files by name, and its README


def read_origin(folder: pathlib.Path, name: str | None = None) -> Origin:
    """What an export keeps of the Hugging Face model in `folder`; InputError as in `huggingface.load`."""
    config = read_json(folder, "config.json")
    generation = {key: config[key] for key in GENERATION if config.get(key) is not None}
    if (folder / "generation_config.json").is_file():
        generation = read_json(folder, "generation_config.json")
    types = {tensor: TYPES.get(each.get_dtype(), "float32") for tensor, each in open_tensors(folder).items()}
    files = {file.name: file for pattern in KEPT for file in folder.glob(pattern) if file.is_file()}
    small = {key: file.read_bytes() for key, file in sorted(files.items()) if file.stat().st_size <= LARGEST}
    return Origin(name or str(folder), config, generation, types, small)


def save(
    path: str | os.PathLike[str],
    model: LanguageModel,
    params: Params,
    *,
    tokenizer: Any = None,
    dtype: Type | None = None,
    file_bytes: int | None = None,
    origin: Origin | None = None,
) -> pathlib.Path:
    """Write a Hugging Face folder: safetensors, `config.json`, `generation_config.json`, tokenizer, chat template.

    The folder is written atomically; it replaces one that is empty or a model folder. Loading it and saving again gives
    equal bytes. In many processes all must call; the first one writes.

    Args:
        path: the folder to make, which is returned.
        model, params: the decoder and its parameters; an adapter is merged.
        tokenizer: a `mtjax.data.tokenizer.Tokenizer`, saved along; its ids go into the configs.
        dtype: type of the weights on disk; None is that of each tensor of `origin`, or float32 without one.
        file_bytes: split into files of at most this size; None is the 5 GB of the hub.
        origin: the checkpoint that the model came from: its family, unknown keys, generation settings and licence are
            kept.

    Raises:
        InputError: the folder holds something else; no Hugging Face family has this shape (`families.family_of`).
    """
    folder = check_place(path, model)
    model, params = without_adapter(model, params)
    types = {} if origin is None or dtype is not None else origin.types
    stored = [name for name, _ in Counter(types.values()).most_common(1)]
    usual: str = dtype or (stored[0] if stored else "float32")
    config, generation = configs_of(model.config, tokenizer, usual, origin)
    writer: Any = atomic_folder(folder) if jax.process_index() == 0 else contextlib.nullcontext()
    with writer as temporary:
        table = FAMILIES[config["model_type"]].table(model.config)
        check_table(params, table, beside=(VALUE,))
        _write_tensors(temporary, table, params, lambda name: types.get(name, usual), file_bytes or SHARD_BYTES)
        save_value_head(temporary, model, params)
        if temporary is not None:
            if tokenizer is not None:
                tokenizer.save(temporary)
            _write_json(temporary / "config.json", config)
            _write_json(temporary / "generation_config.json", generation)
            for name, content in _licence(origin).items():
                (temporary / name).write_bytes(content)
            usual_mode = (temporary / "config.json").stat().st_mode
            for file in filter(pathlib.Path.is_file, temporary.rglob("*")):
                file.chmod(usual_mode)  # safetensors makes files that only their owner can read
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


def configs_of(
    config: DecoderConfig, tokenizer: Any, dtype: str, origin: Origin | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`config.json` and `generation_config.json` of an export.

    Both end texts with every id of `tokenizer.end_ids`. Keys of the origin that are not written anew stay.
    """
    before, generation = (origin.config, dict(origin.generation)) if origin else ({}, {})
    ids: dict[str, Any] = {}
    if tokenizer is not None:
        ends = list(getattr(tokenizer, "end_ids", ())) or [tokenizer.end_id]
        ids["eos_token_id"] = ends[0] if len(ends) == 1 else ends
        for key, own in (("bos_token_id", tokenizer.bos_id), ("pad_token_id", tokenizer.pad_id)):
            old = generation.get(key) if generation.get(key) is not None else before.get(key)
            value = old if own is None or (key == "pad_token_id" and old is not None) else own
            ids |= {} if value is None else {key: value}
    ours = config_to_json(config, family=before.get("model_type"), dtype=dtype, **ids)
    gone = {*REPLACED, *(["original_max_position_embeddings"] if ours.get("rope_scaling") else [])}
    written = {key: value for key, value in before.items() if key not in gone} | ours
    needed = FAMILIES[ours["model_type"]].generation(config)
    return written, (generation or {"_from_model_config": True}) | needed | ids


def _licence(origin: Origin | None) -> dict[str, bytes]:
    """The licence files of the origin, and in place of its README one with the licence and the origin's name."""
    if origin is None:
        return {}
    files = dict(origin.licence)
    head = re.match(r"---\n(.*?)\n---", files.pop("README.md", b"").decode("utf-8", "replace"), re.S)
    if lines := [found.group() for found in LICENCE_KEYS.finditer(head.group(1))] if head else []:
        base = pathlib.PurePath(origin.name).name if origin.name.startswith(("/", ".", "~")) else origin.name
        card = ["---", *lines, f"base_model: {json.dumps(base)}", "library_name: transformers", "---", ""]
        card += [f"Trained with mtjax from {base}, whose licence stands above."]
        files["README.md"] = ("\n".join(card) + "\n").encode()
    return files


def _write_tensors(
    folder: pathlib.Path | None, table: list[Entry], params: Params, type_of: Any, file_bytes: int
) -> None:
    """Write all tensors, one file in memory at a time; without a folder, only take part in the gathering."""
    dtype_of = lambda name: np.dtype(getattr(ml_dtypes, type_of(name), type_of(name)))
    stream = lambda: hub_tensors(table, params)
    sizes = [sum(part.size for part, _ in parts) * dtype_of(name).itemsize for name, parts in stream()]
    files = list(_files(sizes, file_bytes))
    tensors, where = stream(), dict[str, str]()
    for number, count in enumerate(files, start=1):
        file = SINGLE if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        held = {}
        for name, parts in itertools.islice(tensors, count):
            values = whole_to_hub(parts)
            if folder is not None:
                held[name], where[name] = _cast(values, dtype_of(name), name), file
        if folder is not None:
            from safetensors.numpy import save_file

            save_file(held, folder / file, metadata={"format": "pt"})
    if folder is not None and len(files) > 1:
        _write_json(folder / INDEX, {"metadata": {"total_size": sum(sizes)}, "weight_map": dict(sorted(where.items()))})


def _files(sizes: list[int], most: int) -> Iterator[int]:
    """How many tensors go into each file, in order: as many as fit into `most` bytes, at least one."""
    count, held = 0, 0
    for size in sizes:
        if count and held + size > most:
            yield count
            count, held = 0, 0
        count, held = count + 1, held + size
    yield count


def _cast(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """The values in `dtype`; as they are, with a note, where it cannot hold them."""
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    if dtype == np.float16 and not math.isfinite(np.sum(cast, dtype=np.float64)):
        note(f"{name} is exported as {values.dtype}: its largest value does not fit into float16")
        return values
    return cast


def _write_json(file: pathlib.Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
