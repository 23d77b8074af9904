"""Load and save Hugging Face folders (safetensors and `config.json`) of the families in `families/`."""

import contextlib
import dataclasses
import os
import pathlib
from typing import Any, Literal

from jax.sharding import Mesh

from mtjax.errors import InputError, note
from mtjax.model.decoder import DecoderConfig
from mtjax.model.export import Origin, check_place, read_origin, save
from mtjax.model.families import FAMILIES, Family, config_from_json, config_to_json
from mtjax.model.families.tables import HEAD
from mtjax.model.families.tensors import check_tensors, equal_tensors, read_params
from mtjax.model.language_model import make_language_model
from mtjax.model.value_head import VALUE, load_value_head
from mtjax.model.weights import INDEX, check_folder, has_weights, open_tensors, read_json
from mtjax.types import LanguageModel, Params

__all__ = [
    "INDEX", "Origin", "check", "check_place", "config_from_json", "config_to_json", "end_ids", "load", "read_config",
    "read_origin", "save", "with_stored_value",
]  # fmt: skip


def load(
    path: str | os.PathLike[str],
    *,
    mesh: Mesh | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    storage: Literal["float32", "bfloat16"] = "float32",
) -> tuple[LanguageModel, Params]:
    """The model in a local Hugging Face folder, its parameters read straight to their places on the mesh.

    An untied model requires a `lm_head.weight`; one that should be tied and has another head stored is not tied, as in
    transformers 5. What was decided between two sources is said in a note on stderr.

    Args:
        path: folder with `config.json` and `model.safetensors`, or an index and its files.
        mesh: split the parameters by `mtjax.distributed.sharding.RULES`; None puts them on the first device.
        dtype: type to compute in (`DecoderConfig.dtype`); None is float32.
        storage: type of the parameters; bfloat16 is for those that are not trained.

    Raises:
        InputError: a missing folder or file, a corrupt file, another kind of checkpoint (adapter, quantised, GGUF,
            pickles), an unsupported family or setting, and tensors that are missing, unknown, misshapen, not floats or
            not finite; each named.

    >>> model, params = load("my_model")  # doctest: +SKIP
    """
    folder = pathlib.Path(path)
    config, written = _config(folder)
    family = FAMILIES[written["model_type"]]
    config, tensors = _settle_head(config, open_tensors(folder), folder, family)
    table = family.table(config)
    model = make_language_model(config if dtype is None else dataclasses.replace(config, dtype=dtype))
    return with_stored_value(model, read_params(model, table, tensors, mesh, str(folder), storage), folder, mesh)


def with_stored_value(
    model: LanguageModel, params: Params, folder: pathlib.Path, mesh: Mesh | None
) -> tuple[LanguageModel, Params]:
    """The model with the value head whose file is in the folder, if there is one; InputError for a wrong one."""
    found = load_value_head(folder, model.config.width, mesh)
    if found is None:
        return model, params
    return make_language_model(dataclasses.replace(model.config, value_head=found[0])), {**params, VALUE: found[1]}


def check(path: str | os.PathLike[str]) -> DecoderConfig:
    """The decoder of a folder that `load` would read, whose weights are not read; InputError as there, but for values.

    Infinite weights and NaN are found by reading only.
    """
    folder = pathlib.Path(path)
    config, written = _config(folder)
    family = FAMILIES[written["model_type"]]
    config, tensors = _settle_head(config, open_tensors(folder), folder, family)
    check_tensors(make_language_model(config), family.table(config), tensors, str(folder))
    return config


def read_config(path: str | os.PathLike[str]) -> DecoderConfig:
    """The decoder settings in a Hugging Face folder, tied as `load` ties it; InputError as in `load`.

    The weights need not be there; then the tie is as `config.json` says.
    """
    folder = pathlib.Path(path)
    config, written = _config(folder)
    family = FAMILIES[written["model_type"]]
    if (config.tied or family.shares_head) and has_weights(folder):
        with contextlib.suppress(InputError):  # incomplete weights, of which only the shape is wanted
            config = _settle_head(config, open_tensors(folder), folder, family)[0]
    return config


def end_ids(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Every EOS id, by `generation_config.json` and `config.json` (one id or a list); may be empty."""
    folder, found = pathlib.Path(path), set[int]()
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            value = read_json(folder, name).get("eos_token_id")
            for one in value if isinstance(value, list) else [value]:
                if one is not None and not (type(one) is int and 0 <= one < 2**31):
                    raise InputError(f"{folder / name}: eos_token_id is {value!r}; expected a token's number or a list")
                found |= set() if one is None else {one}
    return tuple(sorted(found))


def _config(folder: pathlib.Path) -> tuple[DecoderConfig, dict[str, Any]]:
    """The decoder that `config.json` describes, and the file's content."""
    written = read_json(folder, "config.json")
    check_folder(folder)
    try:
        return config_from_json(written), written
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error


def _settle_head(
    config: DecoderConfig, tensors: dict[str, Any], folder: pathlib.Path, family: type[Family]
) -> tuple[DecoderConfig, dict[str, Any]]:
    """Decide, as transformers 5, whether a model that should be tied is: not if it has another head stored.

    Where only the head is stored, it is the embedding, too; in some families the embedding is the head, too.
    """
    tensors, embedding = family.stored(tensors, str(folder)), family.embedding
    if HEAD not in tensors and family.shares_head and embedding in tensors:
        return dataclasses.replace(config, tied=True), tensors
    if not config.tied or HEAD not in tensors:
        return config, tensors
    rest = {name: tensor for name, tensor in tensors.items() if name != HEAD}
    if embedding not in tensors:
        return config, rest | {embedding: tensors[HEAD]}
    if equal_tensors(tensors[embedding], tensors[HEAD]):
        return config, rest
    note(
        f"{folder}: config.json says tie_word_embeddings, but {HEAD} is stored and differs from {embedding}: both are "
        "read and not tied, as in transformers 5; set tie_word_embeddings to false, or delete the head"
    )
    return dataclasses.replace(config, tied=False), tensors
