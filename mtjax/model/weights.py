"""The files of a Hugging Face model folder: JSON, safetensors, and a refusal that says what anything else is."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401 - teaches numpy bfloat16; must come before a bf16 file is read

from mtjax.errors import InputError, note
from mtjax.io.files import is_lfs_pointer
from mtjax.model.families.keys import quantised

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
SAVE_AGAIN = (
    "with transformers and torch, AutoModelForCausalLM.from_pretrained({0}).save_pretrained('NEW') and the same with "
    "AutoTokenizer; then give NEW"
)
# Weights of other kinds by pattern: what they are, and the way out.
OTHERS = {
    "*.gguf": (
        "a GGUF file of llama.cpp",
        "convert it: with the package gguf, too, " + SAVE_AGAIN.format("'{folder}', gguf_file='{file}'"),
    ),
    "consolidated.*.pth": ("weights in Meta's own format", "take the Hugging Face version of the model"),
    "*.bin": ("weights as PyTorch pickles", "convert the PyTorch .bin files: " + SAVE_AGAIN.format("'{folder}'")),
    "*.pt": ("weights as PyTorch pickles", "take the safetensors version, or convert it with torch"),
    "*.pth": ("weights as PyTorch pickles", "take the safetensors version, or convert it with torch"),
    "*.h5": ("weights for TensorFlow", "take the safetensors version of the model"),
    "*.msgpack": ("weights for Flax", "take the safetensors version of the model"),
    "*.onnx": ("a graph for ONNX", "take the safetensors version of the model"),
    "*.npz": ("weights for MLX", "take the safetensors version of the model"),
    "model-*-of-*.safetensors": (f"parts of a checkpoint without {INDEX}", f"fetch {INDEX} too"),
    "*.safetensors": (
        "weights under other names",
        f"expected {SINGLE}, or {INDEX} and its files; convert it",
    ),
}
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
QUANTISERS = ("quantize_config.json", "quant_config.json")  # of AutoGPTQ and AutoAWQ, beside config.json
LFS_WAY_OUT = "is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder, or `hf download`"


def read_json(folder: pathlib.Path, name: str) -> dict[str, Any]:
    """A JSON object in the folder; InputError where it is missing or something else."""
    if not folder.is_dir():
        raise InputError(f"model folder {str(folder)!r} does not exist; expected a folder with config.json")
    file = folder / name
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: no {name} there; {_what_is_there(folder)}") from None
    except (ValueError, OSError) as error:
        why = LFS_WAY_OUT if file.is_file() and is_lfs_pointer(file) else f"is not JSON ({error}); fetch it again"
        raise InputError(f"{folder}: {name} {why}") from error
    if not isinstance(value, dict):
        raise InputError(f"{file} holds a JSON {type(value).__name__}; expected an object")
    return value


def check_folder(folder: pathlib.Path) -> None:
    """InputError for a folder that holds an adapter, quantised weights, or nothing that can be read here."""
    adapter = next((name for name in ADAPTER if (folder / name).is_file()), None)
    if adapter and has_weights(folder):
        raise InputError(
            f"{folder} holds a complete model and an adapter ({adapter}), which would not be applied: "
            f"{_merge(folder)}; or move the adapter's files to another folder to load the model without them"
        )
    if adapter:
        raise InputError(f"{folder}: {_what_is_there(folder)}")
    for name in QUANTISERS:
        if (folder / name).is_file():
            raise InputError(quantised(read_json(folder, name), str(folder / name)))


def has_weights(folder: pathlib.Path) -> bool:
    """Whether the folder has a safetensors file or index under the usual name."""
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()


def open_tensors(folder: pathlib.Path) -> dict[str, Any]:
    """Every tensor of the folder by name, as a slice that is read only when indexed.

    Of a single file and an index that does not name it, the single file is read, as in transformers; a note says so.
    """
    index: dict[str, str] = {}
    if (folder / INDEX).is_file():
        index = read_json(folder, INDEX).get("weight_map") or {}
        if not index or not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
            raise InputError(f"{folder / INDEX} has no weight_map from tensor to file name; fetch it again")
        if (folder / SINGLE).is_file() and SINGLE not in index.values():
            note(f"{folder} has {SINGLE} and {INDEX}: {SINGLE} is read, as in transformers; delete the one not meant")
            index = {}
    files = sorted(set(index.values())) or [SINGLE]
    tensors: dict[str, Any] = {}
    for file in files:
        for name, tensor in _open(folder, file, index).items():
            if index.get(name, file) == file:
                tensors[name] = tensor
            else:
                note(f"{folder / file}: {name} there is not read, because {INDEX} says that it is in {index[name]}")
    absent = sorted(set(index) - set(tensors))
    if absent:
        raise InputError(f"{folder / index[absent[0]]} lacks {absent[0]}, which {INDEX} lists in it; fetch both again")
    others = {file.name for pattern in OTHERS for file in folder.glob(pattern)} - {
        *files,
        "training_args.bin",
        "value_head.safetensors",
    }
    unread = sorted(name for name in others if not name.startswith(("optimizer", "scheduler", "rng_state")))
    if unread:
        note(f"{folder}: weights are read from {', '.join(files)}; not read: {', '.join(unread[:4])}")
    return tensors


def _open(folder: pathlib.Path, file: str, index: Mapping[str, str]) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    if not (folder / file).is_file():
        if index:
            raise InputError(f"{folder / file} does not exist, though {INDEX} names it; fetch it too")
        raise InputError(f"{folder}: no {SINGLE} and no {INDEX}; {_what_is_there(folder)}")
    if is_lfs_pointer(folder / file):
        raise InputError(f"{folder / file} {LFS_WAY_OUT}")
    try:
        handle = safe_open(folder / file, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / file} is not a complete safetensors file ({error}); fetch it again") from error
    return {name: handle.get_slice(name) for name in list(handle.keys())}


def _what_is_there(folder: pathlib.Path) -> str:
    """What the folder holds in place of a model that can be read, and what to do."""
    if any((folder / name).is_file() for name in ADAPTER):
        return (
            "the folder holds an adapter, not a model: the commands of mtjax and mtjax.model.catalog.load_model read "
            f"it with its base; or {_merge(folder)}"
        )
    for pattern, (what, way_out) in OTHERS.items():
        if file := next(iter(sorted(folder.glob(pattern))), None):
            return f"the folder holds {what} ({file.name}): " + way_out.format(folder=folder, file=file.name)
    there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    fetched = ""
    if folder.parent.name == "snapshots":  # of the hub's cache
        fetched = "; mtjax fetches safetensors only, so the hub has these weights in another format"
    return f"expected a Hugging Face model folder with config.json and {SINGLE}, found {there}{fetched}"


def _merge(folder: pathlib.Path) -> str:
    """How to make a model of an adapter, with its base if that is known."""
    base = "BASE"
    if (folder / ADAPTER[0]).is_file():
        base = str(read_json(folder, ADAPTER[0]).get("base_model_name_or_path") or base)
    return (
        f"merge it into its base model with peft (AutoPeftModelForCausalLM.from_pretrained('{folder}')"
        f".merge_and_unload().save_pretrained('NEW'); base: {base:.100}), copy the tokenizer's files, and give NEW"
    )


def not_a_folder(file: str | os.PathLike[str]) -> str:
    """The refusal of a file that was given in place of a model folder."""
    path = pathlib.Path(file)
    for pattern, (what, way_out) in OTHERS.items():
        if path.match(pattern) and pattern != "*.safetensors":
            return f"'{path}' is {what}, not a model folder: " + way_out.format(folder=path.parent, file=path.name)
    return f"'{path}' is a file; expected the folder that it is in ('{path.parent}'), with config.json"
