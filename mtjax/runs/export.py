"""A model for others: a Hugging Face folder or a PEFT adapter with tokenizer and model card, compared after writing."""

import json
import math
import pathlib
from typing import Any, Literal

import jax
import numpy as np

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.io.files import atomic_folder, write_text
from mtjax.model import catalog, huggingface, peft
from mtjax.model.export import Origin, Type
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import can_merge, without_adapter
from mtjax.model.value_head import save_value_head
from mtjax.objectives import OBJECTIVES
from mtjax.runs.adapters import BASE
from mtjax.runs.loading import Loaded
from mtjax.runs.start import is_run
from mtjax.sampling.decoding import Decoding
from mtjax.types import LanguageModel, Params

LINES = 12  # of the last measurements in a model card
PROBE = "1 + 1 = 2, <b>x</b>"  # text that tokenizers are compared on


def export_model(
    folder: str, model: LanguageModel, params: Params, decoding: Decoding, origin: Origin | None, card: str,
    dtype: Type | None = None, file_bytes: int | None = None,
) -> None:  # fmt: skip
    """Write the model, its adapter merged, with tokenizer, chat template, generation config and model card.

    InputError as `huggingface.save`.
    """
    made = huggingface.save(
        folder, model, params,
        tokenizer=decoding.with_template(), dtype=dtype, origin=origin, file_bytes=file_bytes,
    )  # fmt: skip
    _add_card(made, decoding, card)


def export_adapter(folder: str, loaded: Loaded, base: str, card: str) -> None:
    """Write the adapter alone as a PEFT folder, with tokenizer, chat template and model card.

    Raises InputError for a model without an adapter, or a folder that holds something else.
    """
    place = pathlib.Path(folder)
    if not can_merge(loaded.model):
        raise InputError("--what=adapter: PEFT has no files for this kind of adapter; use the run folder itself")
    if loaded.model.config.adapter is None:
        raise InputError("--what=adapter: this model has no adapter; leave the option out to export the model")
    if place.exists() and (not place.is_dir() or (any(place.iterdir()) and not (place / peft.CONFIG).is_file())):
        raise InputError(f"{place} exists and is not an adapter's folder; give a new name, or empty it first")
    decoding = loaded.decoding
    with atomic_folder(place) as temporary:
        fingerprint = fingerprint_of(loaded.params[BASE])
        peft.save_adapter(temporary, loaded.model, loaded.params, base, fingerprint)
        save_value_head(temporary, loaded.model, loaded.params)
        decoding.with_template().save(temporary)
        _add_card(
            temporary,
            decoding,
            f"---\nbase_model: {json.dumps(base)}\nlibrary_name: peft\n---\n\n# {place.name}\n\n{card}",
        )


def _add_card(made: pathlib.Path, decoding: Decoding, card: str) -> None:
    """Write the model card, below what the export has of the origin's: its licence and name."""
    file = made / "README.md"
    head = "" if card.startswith("---") else f"# {made.name}\n\n"
    above = file.read_text("utf-8").rstrip() + "\n\n" if file.exists() else head
    write_text(file, f"{above}{card}\n{decoding.card()}")


def card_of(config: Config, step: int) -> str:
    """The sections of a model card that say what a run was: training, measured results, settings."""
    objective = OBJECTIVES.name_of(config.objective) or type(config.objective).__name__
    source = config.data.source
    rows = {
        "started from": config.init_from or "random parameters",
        "objective": f"{objective}, {config.objective}",
        "data": f"{type(source).__name__}, fingerprint {source.fingerprint()[:16]}; task {config.data.task.name}",
        "steps": f"{step:,} of {config.steps:,}, {config.batch_size} rows of {config.data.sequence_length:,} tokens",
        "learning rate": f"{config.optim.learning_rate:g} at its peak",
        "seed": config.seed,
        "adapter": config.model.adapter or "none: all parameters were trained",
    }
    lines = ["Trained with mtjax.", "", "## Training", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    lines += ["", "## Measured results", "", *_measured(pathlib.Path(config.run_dir), step)]
    lines += ["", "## Settings", "", "```python", settings.snapshot(config).strip(), "```"]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")[:500]


def _measured(run: pathlib.Path, step: int) -> list[str]:
    """Lines of a model card: the last measurements up to a step, and those of `mtjax.evaluate`."""
    found: dict[str, tuple[int, float]] = {}
    log, evaluated = run / "metrics.jsonl", run / "evaluation" / "evaluation.json"
    for line in log.read_text("utf-8").splitlines() if log.is_file() else ():
        try:
            values = json.loads(line)
        except ValueError:
            continue  # the line of a step that was cut off
        if values.get("step", math.inf) <= step:
            named = {name: value for name, value in values.items() if name.startswith(("held_out", "coverage/"))}
            named |= {"loss": values["loss"]} if "loss" in values else {}
            found |= {name: (values["step"], value) for name, value in named.items()}
    shown = {name: pair for name, pair in sorted(found.items()) if "confidence/" not in name}
    rows = [f"| {name} | {value:.6g} | {at} |" for name, (at, value) in list(shown.items())[:LINES]]
    lines = ["| metric | value | at step |", "| --- | --- | --- |", *rows] if rows else ["None is on record."]
    if evaluated.is_file():
        about = json.loads(evaluated.read_text("utf-8"))
        if about.get("step") == step:
            lines += ["", f"Evaluated on {about.get('problems')} problems, with 95% intervals:", ""]
            for prompt, numbers in about.get("metrics", {}).items():
                lines += [f"- {prompt}, {name}: {_interval(one)}" for name, one in numbers.items()]
    return lines


def _interval(one: dict[str, float]) -> str:
    return f"{one['mean']:.4g} [{one['low']:.4g}, {one['high']:.4g}]"


def compare_model(folder: str, model: LanguageModel, params: Params, dtype: str | None) -> float:
    """Load an exported model again and compare every number; returns the largest difference.

    Float32 must be equal; of a shorter type, each number within its rounding. Raises InputError where they differ.
    """
    plain, wanted = without_adapter(model, params)
    found_model, found = huggingface.load(folder, dtype=plain.config.dtype)
    largest = 0.0
    pairs = zip(jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(found), strict=True)
    for (path, mine), theirs in pairs:
        mine, theirs = np.asarray(mine, np.float32), np.asarray(theirs)
        gap = np.abs(mine - theirs)
        allowed = 0 if dtype == "float32" else np.abs(mine) * 2.0**-8 + 2.0**-24
        if mine.shape != theirs.shape or not np.all(gap <= allowed):
            raise InputError(
                f"{folder}: {jax.tree_util.keystr(path)} is not what was exported (difference {gap.max():.3g}): the "
                "files are damaged, or the disk is full; export again"
            )
        largest = max(largest, float(gap.max(initial=0)))
    if found_model.config != plain.config and computes(found_model.config) != computes(plain.config):
        raise InputError(f"{folder}: its config reads as {found_model.config}; expected {plain.config}")
    return largest


def computes(config: Any) -> dict[str, str]:
    """The settings of a decoder that a checkpoint keeps."""
    own = ("remat", "attention", "dtype", "adapter", "window_layers", "lm_infinite")
    return {name: value for name, value in settings.flatten(config).items() if name.split(".")[0] not in own}


def base_name(name: str) -> str | None:
    """What an adapter's config names as its base: through runs and adapters that went on; None for a random start."""
    folder = pathlib.Path(name).expanduser()
    if is_run(name):
        config = settings.read_run(folder)
        return (
            name if config.model.adapter is None else None if config.init_from is None else base_name(config.init_from)
        )
    return peft.base_of(folder) if folder.is_dir() and peft.is_adapter(folder) else name


def compare_adapter(folder: str, loaded: Loaded) -> str:
    """Read an exported adapter again, on the base that it names where that is here; returns what was compared.

    Raises InputError where a number differs, or the base is not the one that the adapter was trained on.
    """
    place, here = pathlib.Path(folder), True
    base = peft.base_of(place)
    try:
        catalog.find_model(base)
    except InputError:
        here = False
    if here:
        try:
            _, found = catalog.load_model(folder, storage=loaded.model.config.adapter.base_dtype)
        except InputError as error:
            raise InputError(
                f"{error}. If the run began with another adapter merged into {base}, export the model that it started "
                "from and name that folder with --base, or export the complete model"
            ) from error
    else:
        plain = peft.without(loaded.model)
        _, found = peft.load_adapter(place, plain, loaded.params[BASE], fingerprint=fingerprint_of)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), found["adapter"], loaded.params["adapter"])
    if not all(jax.tree.leaves(same)):
        raise InputError(f"{folder}: the adapter read again is not what was exported; export again")
    return f"with its base {base}" if here else f"without {base}, which is not here"


def compare_tokenizer(folder: str, decoding: Decoding) -> None:
    """InputError where the tokenizer of an export is not that of the model."""
    found = load_tokenizer(folder)
    if found.vocab_size != decoding.tokenizer.vocab_size or _ids(found) != _ids(decoding.tokenizer):
        raise InputError(
            f"{folder}: its tokenizer gives {_ids(found)} for {PROBE!r}; expected {_ids(decoding.tokenizer)}"
        )


def _ids(tokenizer: Any) -> Any:
    try:
        return tokenizer.encode(PROBE).ids
    except InputError:  # of the arithmetic tokenizer, which does not know all characters
        return tokenizer.encode("1+1=2").ids


def parse_bytes(text: str) -> int:
    """Bytes of a size such as `5GB`, `500MB`, `2GiB` or a plain number; InputError for anything else.

    >>> parse_bytes("1.5GB"), parse_bytes("2KiB")
    (1500000000, 2048)
    """
    units = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
    number = text.strip().rstrip("KMGTBkmgtbIi ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        size = float(number) * units[unit]
    except (ValueError, KeyError):
        size = math.nan
    if not 1 <= size < math.inf:
        raise InputError(f"--max_shard_size={text}: expected a size such as 5GB, 500MB or 2GiB")
    return int(size)


def hub(repo: str) -> Any:
    """A client of the hub that may write; InputError where the package, a token or the network is missing."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise InputError("--push_to_hub needs the package huggingface_hub: pip install huggingface_hub") from error
    try:
        api = HfApi()
        api.whoami()
    except Exception as error:  # of requests, of httpx, of a missing token
        raise InputError(
            f"--push_to_hub={repo}: the hub cannot be used ({str(error).strip().splitlines()[0]:.200}); log in with "
            "`hf auth login` or set HF_TOKEN, and check the network; or leave the option out and upload OUT later with "
            f"`hf upload {repo} OUT`"
        ) from error
    return api


def push(api: Any, folder: str, repo: str, private: bool) -> str:
    """Upload a folder; returns its address. InputError where the hub refuses."""
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo, folder_path=folder))
    except Exception as error:  # of the client, of many kinds
        raise InputError(
            f"--push_to_hub={repo}: the hub refused ({str(error).strip().splitlines()[0]:.200}); {folder} is complete: "
            f"upload it later with `hf upload {repo} {folder}`"
        ) from error


What = Literal["model", "adapter"]
