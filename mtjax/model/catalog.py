"""Models by name: a local folder, `smollm2`, or an id of the Hugging Face hub."""

import contextlib
import dataclasses
import pathlib
import re
from typing import Any, Literal

from jax.sharding import Mesh

from mtjax.errors import InputError, note, suggest
from mtjax.io.plain_snapshot import has_snapshot
from mtjax.model import huggingface, peft, smollm2
from mtjax.model.decoder import DecoderConfig
from mtjax.model.export import KEPT, Origin, read_origin
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import make_language_model
from mtjax.model.sizes import SIZES
from mtjax.model.value_head import VALUE
from mtjax.model.weights import not_a_folder, read_json
from mtjax.types import LanguageModel, Params

SMOLLM2 = "smollm2"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
WANTED: dict[str, Any] = {  # what is fetched from the hub, without other copies of the same weights
    "allow_patterns": ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", *KEPT],
    "ignore_patterns": ["consolidated*", "original/*", "onnx/*"],
}
DESCRIPTION: dict[str, Any] = {"allow_patterns": ["*.json", "*.jinja", "tokenizer.model"]}  # the same without weights


def find_model(name: str, weights: bool = True) -> pathlib.Path | str:
    """The folder of the model called `name`, or "smollm2", the model in a package; a folder of that name goes first.

    An id `owner/name` is looked up in the local hub cache and then downloaded, without `weights` its small files only.
    Raises InputError for an unknown name, with the nearest one, and for a hub that cannot be reached or does not have
    it. A name in `runs/`, or in a folder that has models, is no id.
    """
    folder = pathlib.Path(name).expanduser()
    if folder.is_dir():
        if name == SMOLLM2:
            note(f"model 'smollm2': the folder '{folder.absolute()}' is read, not the packaged model")
        return folder
    if folder.is_file():
        raise InputError(f"model {name!r}: {not_a_folder(folder)}")
    if name == SMOLLM2:
        return SMOLLM2
    beside = [
        one.name for one in sorted(folder.parent.glob("*")) if (one / "config.json").is_file() or has_snapshot(one)
    ]
    of_runs = folder.parts[0] == "runs" or bool(beside) and folder.parent != pathlib.Path()
    if HUB_ID.fullmatch(name) and not of_runs:
        return _from_hub(name, WANTED if weights else DESCRIPTION)
    if of_runs:
        near = f"; {suggest(folder.name, beside)}" if beside else ""
        raise InputError(f"there is no folder {name!r}; train that model first{near}")
    known = [SMOLLM2, *beside][:20]
    raise InputError(f"model {name!r} is not a folder, hub id (owner/name) or 'smollm2': {suggest(folder.name, known)}")


def _from_hub(name: str, wanted: dict[str, Any]) -> pathlib.Path:
    """The local snapshot of a hub id, downloaded if it is incomplete; without a network, the cache alone."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return pathlib.Path(snapshot_download(name, **wanted, etag_timeout=5))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"model {name!r} is not a folder and the Hugging Face hub cannot be reached: give a local folder, use "
            "'smollm2' (comes with a package), or fetch it elsewhere with `hf download` and copy the folder"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"model {name!r} cannot be fetched from the Hugging Face hub ({reason:.200}): check the id; for a gated "
            "model, `hf auth login`; or give a local folder or 'smollm2'"
        ) from error


def load_model(
    name: str,
    *,
    mesh: Mesh | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    storage: Literal["float32", "bfloat16"] = "float32",
) -> tuple[LanguageModel, Params]:
    """Find and load the model called `name`; see `find_model` and `huggingface.load`. InputError as there.

    A folder with a PEFT adapter gives the adapted model of its base, `{"base": ..., "adapter": ...}`.
    """
    place = find_model(name)
    if not isinstance(place, pathlib.Path):
        return smollm2.load_smollm2(mesh=mesh, dtype=dtype, storage=storage)
    if peft.is_adapter(place):
        model, params = load_model(_base(place), mesh=mesh, dtype=dtype, storage=storage)
        head, value = model.config.value_head, {name: params[name] for name in (VALUE,) if name in params}
        model = make_language_model(dataclasses.replace(model.config, value_head=None))
        params = {name: part for name, part in params.items() if name != VALUE}
        made = peft.load_adapter(place, model, params, mesh=mesh, fingerprint=fingerprint_of)
        model, params = huggingface.with_stored_value(*made, place, mesh)
        if value and VALUE not in params:  # that of the base goes on
            model, params = make_language_model(dataclasses.replace(model.config, value_head=head)), {**params, **value}
        return model, params
    return huggingface.load(place, mesh=mesh, dtype=dtype, storage=storage)


def _base(place: pathlib.Path, weights: bool = True) -> str:
    """The base of an adapter, which must be a model that is found and is not an adapter itself."""
    base = peft.base_of(place)
    try:
        found = find_model(base, weights)
    except InputError as error:
        raise InputError(
            f"{place} is an adapter of {base!r:.200}, which is not here: {error}. Or set base_model_name_or_path in "
            f"{place / peft.CONFIG} to where the base model is now"
        ) from error
    if isinstance(found, pathlib.Path) and peft.is_adapter(found):
        raise InputError(f"{place} is an adapter of {base!r:.200}, which is an adapter too; merge that one first")
    return base


def _plain(name: str, weights: bool = True) -> pathlib.Path | str:
    """As `find_model`, with the base in place of an adapter."""
    place = find_model(name, weights)
    return (
        find_model(_base(place, weights), weights)
        if isinstance(place, pathlib.Path) and peft.is_adapter(place)
        else place
    )


def tokenizer_of(name: str) -> str:
    """Where the tokenizer of the model called `name` is: with it, or with the base of an adapter that has none."""
    place = find_model(name)
    if not isinstance(place, pathlib.Path) or not peft.is_adapter(place):
        return name
    return name if (place / "tokenizer_config.json").is_file() else _base(place)


def end_ids(name: str) -> tuple[int, ...]:
    """Ids that end a text by the model's own files, beside its tokenizer's end token; empty where there are none."""
    place = _plain(name)
    return huggingface.end_ids(place) if isinstance(place, pathlib.Path) else ()


def origin(name: str) -> Origin | None:
    """What an export keeps of the checkpoint called `name`; None for the packaged model. InputError as in `load`."""
    place = _plain(name)
    called = name if place == find_model(name) else peft.base_of(pathlib.Path(name).expanduser())
    return read_origin(place, called) if isinstance(place, pathlib.Path) else None


def has_encoder(name: str) -> bool:
    """Whether the model called `name` has an encoder, by the `config.json` that is here; nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache

    folder = pathlib.Path(name).expanduser()
    if not folder.is_dir() and HUB_ID.fullmatch(name):
        cached = try_to_load_from_cache(name, "config.json")
        folder = pathlib.Path(cached).parent if isinstance(cached, str) else folder
    with contextlib.suppress(InputError):
        if folder.is_dir() and peft.is_adapter(folder):
            return has_encoder(peft.base_of(folder))
        return huggingface.config_from_json(read_json(folder, "config.json")).encoder is not None
    return False


def model_config(name: str, weights: bool = True) -> DecoderConfig:
    """The shape of the model called `name`, of an adapter that of its base, without reading its parameters.

    InputError as in `find_model`.
    """
    place = _plain(name, weights)
    return huggingface.read_config(place) if isinstance(place, pathlib.Path) else SIZES["smollm2-135m"]
