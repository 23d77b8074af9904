"""What a run needs to know of its start (shape, tokenizer, end ids, origin): by name, and as its run folder keeps it.

A run writes these into `start/` of its folder when it begins, so that its checkpoints can be used after the model that
it started from was moved or deleted. Runs of earlier versions lack the folder and take them from the start by name.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from typing import Any, NamedTuple

from etils import epath

from mtjax import config as settings
from mtjax.data.closing import with_closed_prompts
from mtjax.data.tokenizer import BUILT_IN, Tokenizer, load_tokenizer
from mtjax.errors import InputError, note
from mtjax.io.config_file import snapshot
from mtjax.io.files import atomic_folder
from mtjax.io.plain_snapshot import NeedsCode, has_snapshot, settings_of, tree_of
from mtjax.model import catalog
from mtjax.model.decoder import DecoderConfig
from mtjax.model.export import Origin
from mtjax.types import short_repr

FOLDER, FACTS, LICENCE = "start", "start.json", "licence"
"""The folder in that of a run; the file in it with shape, end ids and origin; its sub-folder of licence files."""


@short_repr
class Start(NamedTuple):
    """What a run folder keeps of the start of the run."""

    shape: DecoderConfig | None  # of the model that it started from; None for a run from random parameters
    tokenizer: str  # of the run: a name, or the folder with its files
    end_ids: tuple[int, ...]  # ids that end a text by the files of the model
    origin: Origin | None  # what an export keeps of the Hugging Face checkpoint behind it, if there is one
    identity: str  # `Tokenizer.identity` of the run's tokenizer


def is_run(name: str | pathlib.Path) -> bool:
    """Whether a name is the run folder of a training run."""
    folder = pathlib.Path(name).expanduser()
    return has_snapshot(folder) and not (folder / "config.json").is_file()


def describe(name: str) -> tuple[DecoderConfig, str, tuple[int, ...]]:
    """Shape, tokenizer and end ids of a model by name; of a run those that it keeps, else those of its start.

    Weights are not read. InputError as `load_any`.
    """
    folder = pathlib.Path(name).expanduser()
    if not is_run(folder):
        return catalog.model_config(name), catalog.tokenizer_of(name), catalog.end_ids(name)
    config, kept = settings.read_run(folder), kept_start(folder)
    if config.init_from is not None:
        if kept is not None and kept.shape is not None:
            shape, own, end_ids = kept.shape, kept.tokenizer, kept.end_ids
        else:
            try:
                shape, own, end_ids = describe(config.init_from)
            except InputError as error:
                raise InputError(
                    f"run folder {folder} is of an earlier version, which kept no description of the model that it "
                    f"started from (init_from={config.init_from!r}): {error}"
                ) from error
            own = config.data.tokenizer or own
        said = {field: getattr(config.model, field) for field in ("dtype", "adapter", "value_head", "lm_infinite")}
        return dataclasses.replace(shape, **said), own, end_ids
    own = config.data.tokenizer or "" if kept is None else kept.tokenizer
    if not own:
        raise InputError(f"{folder / 'config.py'} names no tokenizer; set data.tokenizer there")
    tokenizer = load_tokenizer(own)
    shape = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    return fitted_to(shape, tokenizer, new=True)[0], own, ()


def origin_of(name: str) -> Origin | None:
    """What an export keeps of the Hugging Face checkpoint behind a model, a run included; None where there is none."""
    folder = pathlib.Path(name).expanduser()
    if not is_run(folder):
        return catalog.origin(name)
    if (kept := kept_start(folder)) is not None:
        return kept.origin
    started = settings.read_run(folder).init_from
    return None if started is None else origin_of(started)


def has_encoder(config: settings.Config) -> bool:
    """Whether the model of a training run has an encoder; nothing is fetched."""
    if config.init_from is None:
        return config.model.encoder is not None
    folder = pathlib.Path(config.init_from).expanduser()
    if not is_run(folder):
        return catalog.has_encoder(config.init_from)
    kept = kept_start(folder)
    if kept is not None and kept.shape is not None:
        return kept.shape.encoder is not None
    return has_encoder(settings.read_run(folder))


def fitted_to(shape: DecoderConfig, tokenizer: Tokenizer, new: bool = False) -> tuple[DecoderConfig, Tokenizer]:
    """A shape and a tokenizer that agree on what closes a prompt, if the model has an encoder: the end token.

    The decoder of a `new` model starts from the padding token. InputError as in `with_closed_prompts`.
    """
    if shape.encoder is None:
        return shape, tokenizer
    start_id = tokenizer.pad_id if new else shape.encoder.start_id
    encoder = dataclasses.replace(shape.encoder, end_id=tokenizer.end_id, start_id=start_id)
    return dataclasses.replace(shape, encoder=encoder), with_closed_prompts(tokenizer)


def with_end_ids(asked: str | None, own: str, end_ids: tuple[int, ...]) -> tuple[Tokenizer, tuple[int, ...]]:
    """The tokenizer with the end ids of its model's files added, and those ids.

    Where another tokenizer than the model's own is asked for, only the ids that mean the same token in both count.
    """
    tokenizer = load_tokenizer(asked or own)
    if asked not in (None, own) and end_ids:
        with contextlib.suppress(InputError):  # a model without a tokenizer of its own
            theirs = load_tokenizer(own)
            known = [id for id in end_ids if id < min(theirs.vocab_size, tokenizer.vocab_size)]
            end_ids = tuple(id for id in known if theirs.decode([id]) == tokenizer.decode([id]))
    return tokenizer._replace(end_ids=tuple(dict.fromkeys((*tokenizer.end_ids, *end_ids)))), end_ids


def keep_start(run: pathlib.Path, config: settings.Config, tokenizer: Tokenizer, anew: bool) -> None:
    """Write `start/` into a run folder; nothing for a run from random parameters with a tokenizer of mtjax's own.

    A run that goes on (not `anew`) keeps what is there, with another tokenizer where a changed one was accepted.
    """
    before = None if anew else kept_start(run)
    if before is not None and before.identity == tokenizer.identity:
        return
    shape, end_ids, origin = (None, (), None) if before is None else (before.shape, before.end_ids, before.origin)
    if before is None and config.init_from is not None:
        shape, _, end_ids = describe(config.init_from)
        shape = dataclasses.replace(shape, adapter=None, value_head=None, lm_infinite=None)  # the run's own say these
        origin = origin_of(config.init_from)
    if shape is None and tokenizer.name in BUILT_IN:
        shutil.rmtree(run / FOLDER, ignore_errors=True)
        return
    with atomic_folder(run / FOLDER) as temporary:
        named = tokenizer.name if tokenizer.name in BUILT_IN or not _keep_tokenizer(tokenizer, temporary) else None
        facts: dict[str, Any] = {
            "shape": None if shape is None else tree_of(snapshot(shape)),
            "tokenizer": named,  # null: its files are in this folder
            "identity": tokenizer.identity,
            "end_ids": end_ids,
            "origin": None if origin is None else origin._replace(licence={})._asdict(),
        }
        (temporary / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        for name, content in ({} if origin is None else origin.licence).items():
            (temporary / LICENCE).mkdir(exist_ok=True)
            (temporary / LICENCE / name).write_bytes(content)


def _keep_tokenizer(tokenizer: Tokenizer, folder: pathlib.Path) -> bool:
    """Write the files of a tokenizer; false, with a note, where what they load as is not the same tokenizer."""
    with contextlib.suppress(Exception):  # of transformers, of many kinds
        tokenizer.keep(folder)
        if load_tokenizer(str(folder))._replace(closing=tokenizer.closing).identity == tokenizer.identity:
            return True
    for file in folder.iterdir():
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    note(f"tokenizer {tokenizer.name!r} cannot be kept with the run, which needs it under this name from now on")
    return False


def kept_start(run: str | pathlib.Path) -> Start | None:
    """What `keep_start` wrote into a run folder; None where it wrote nothing. InputError for damaged files."""
    folder = pathlib.Path(run).expanduser() / FOLDER
    file = folder / FACTS
    if not file.is_file():
        return None
    try:
        facts = json.loads(file.read_text("utf-8"))
        shape = None if facts["shape"] is None else settings_of(facts["shape"])
        licence = {one.name: one.read_bytes() for one in sorted(folder.glob(f"{LICENCE}/*"))}
        origin = None if facts["origin"] is None else Origin(**{**facts["origin"], "licence": licence})
        named = str(folder) if facts["tokenizer"] is None else str(facts["tokenizer"])
        return Start(shape, named, tuple(facts["end_ids"]), origin, str(facts["identity"]))
    except (NeedsCode, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} cannot be read ({error!r:.120}); bring it back, or delete {folder} if the model that the run "
            "started from is still here: the run takes these facts from there"
        ) from error


def copy_start(run: epath.Path, other: epath.Path) -> None:
    """Copy `start/` from a folder to another, such as that of the checkpoints on an object store."""
    _copy(run / FOLDER, other / FOLDER)


def _copy(source: epath.Path, target: epath.Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for place in source.iterdir():
            _copy(place, target / place.name)
    elif source.exists():
        target.write_bytes(source.read_bytes())
