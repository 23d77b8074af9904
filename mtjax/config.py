"""A run's settings: dataclasses in a Python file, changed on the command line, kept as a snapshot that reruns."""

import dataclasses
import importlib.util
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from mtjax.data.batches import DataConfig
from mtjax.data.sources import AnySource
from mtjax.distributed.sharding import MeshSpec
from mtjax.errors import InputError, suggest
from mtjax.io.command_line import parse
from mtjax.io.hashing import check_seed
from mtjax.io.validation import check_types
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives import OBJECTIVES
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.optim import OptimConfig
from mtjax.training.live_filter import LiveFilter
from mtjax.training.monitors import CoverageConfig
from mtjax.training.reference import ReferenceConfig

AnyObjective = OBJECTIVES.union()
"""Every registered objective, by name, on the command line: `objective:nll`."""

CONFIG_FILE = "mtjax_config_"
"""How the module of a config file is named, before the file's own name."""

SNAPSHOT = '"""What this run was started with; it is a config itself."""'
"""The first line of a run's snapshot."""


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """How often a run is saved and how much of it is kept."""

    every: int = 100
    """Steps between checkpoints; the last step is always saved."""
    keep: int = 3
    """Newest checkpoints that stay; the best by held-out loss stays besides."""
    folder: str | None = None
    """Where they go; None is the run's own folder. An address such as `gs://bucket/run` where hosts share no folder."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.keep < 1:
            raise InputError(f"checkpoint.every={self.every}, keep={self.keep}: expected both at least 1")
        if self.folder == "":
            raise InputError("checkpoint.folder='': expected a folder or an address, or None for the run's own folder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A second source, never trained on, whose loss is measured now and then."""

    source: AnySource  # type: ignore[valid-type]
    """Where its problems come from; rendered by the run's own task."""
    every: int = 100
    """Steps between measurements."""
    batches: int = 8
    """Batches of the run's size to measure on, at most one pass."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.batches < 1:
            raise InputError(f"held_out.every={self.every}, batches={self.batches}: expected both at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One training run."""

    model: DecoderConfig = DecoderConfig()
    """A new model of this shape; `vocab_size` is taken from the tokenizer. Unused with `init_from`."""
    data: DataConfig
    """What to train on."""
    objective: AnyObjective = MistakeTuning()  # type: ignore[valid-type]
    """What to minimise."""
    reference: ReferenceConfig = ReferenceConfig()
    """What the objective compares with, if it needs a reference."""
    optim: OptimConfig = OptimConfig()
    """How."""
    mesh: MeshSpec = MeshSpec()
    """Over which devices."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """What is kept."""
    live_filter: LiveFilter | None = None
    """Train on examples only that the objective says are not learnt yet; for dco."""
    held_out: HeldOut | None = None
    """What is measured besides."""
    coverage: CoverageConfig | None = None
    """On which problems pass@k is measured during the run, whatever the objective."""
    self_check: bool = True
    """Look at the first batch of a fresh run, data and losses, and refuse to start where something is wrong."""
    min_target_share: float = 0.01
    """Least share of the first batch's tokens that must be targets; for the self-check."""
    steps: int = 1000
    """Updates in all; may be raised later."""
    batch_size: int = 32
    """Rows per update, over all devices and micro-batches."""
    micro_batches: int = 1
    """Splits of a batch that run one after another, to save memory."""
    seed: int = 0
    """Of parameters, data order and everything else."""
    run_dir: str = "runs/run"
    """Folder for checkpoints, metrics and the snapshot; a run that is there already goes on."""
    init_from: str | None = None
    """Warm start: a run folder, a Hugging Face folder, a hub id or `smollm2`. Not a resume: the step is 0."""
    overwrite: bool = False
    """Delete what is in `run_dir` first."""
    export: str | None = None
    """Write a Hugging Face folder here at the end."""
    log_every: int = 1
    """Steps between lines of metrics.jsonl."""
    tensorboard: bool = True
    """Write TensorBoard files too."""
    chunk: int = 128
    """Positions whose logits exist at a time on a device."""

    def __post_init__(self) -> None:
        check_types(self)
        bad = {n: getattr(self, n) for n in ("steps", "batch_size", "micro_batches", "log_every", "chunk")}
        bad = {name: value for name, value in bad.items() if value < 1}
        if bad:
            raise InputError(f"{bad}: expected at least 1")
        check_seed(self.seed)
        if self.export == "":
            raise InputError("export='': expected the name of a folder, or None")
        if not 0 <= self.min_target_share <= 1:
            raise InputError(f"min_target_share={self.min_target_share}: expected a share, 0 to 1")
        task = getattr(self.objective, "task", "any")
        name = OBJECTIVES.name_of(self.objective) or "of your own"
        if task == "any" and self.data.task.sides > 1 and not getattr(self.objective, "by_polarity", False):
            raise InputError(
                f"objective '{name}' takes single sequences, but data.task is '{self.data.task.name}', whose rejected "
                "side it would imitate; set data.task to the task 'completion', or choose an objective of pairs, such "
                "as objective:dpo"
            )
        if task not in ("any", self.data.task.name):
            raise InputError(
                f"objective '{name}' needs the task '{task}', but data.task is '{self.data.task.name}'; "
                f"set data.task to the task '{task}', or choose objective:nll, which fits every task"
            )


def load(file: str | pathlib.Path, overrides: Sequence[str] = ()) -> Config:
    """The `config` of a Python file, with command-line overrides such as `--optim.learning_rate=1e-3`.

    Raises:
        InputError: no such file, a file that fails or has no `config`, an unknown or wrong override.
    """
    return parse(read_file(file), overrides, f"python -m mtjax.train {file}")


def read_module(file: str | pathlib.Path) -> Any:
    """Run a config file as a module; InputError with the line where it fails."""
    path = pathlib.Path(file)
    if path.is_dir():
        raise InputError(f"'{file}' is a folder; expected a config file, such as configs/tiny.py or RUN/config.py")
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = suggest(path.name, beside) if beside else f"there is none in '{path.parent}'"
        raise InputError(f"config file '{file}' does not exist; {near}")
    spec = importlib.util.spec_from_file_location(f"{CONFIG_FILE}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"config file '{file}' is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        where = [entry.lineno for entry in traceback.extract_tb(error.__traceback__) if entry.filename == str(path)]
        line = getattr(error, "lineno", None) or (where[-1] if where else "?")
        raise InputError(f"{file}, line {line}: {_in_words(error)}") from error
    return module


def _in_words(error: Exception) -> str:
    """What a config file did wrong: a setting of a wrong type, one that does not exist, or whatever Python says."""
    if isinstance(error, InputError):
        return str(error)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "__post_init__":  # it choked on a value: which one?
            try:
                check_types(frame.f_locals["self"], type(frame.f_locals["self"]).__name__)
            except InputError as found:
                return str(found)
    misspelt = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if misspelt:
        ours = [vars(module) for name, module in list(sys.modules.items()) if name.startswith("mtjax")]
        kind = next((names[misspelt[1]] for names in ours if misspelt[1] in names), None)
        if dataclasses.is_dataclass(kind):
            known = [field.name for field in dataclasses.fields(kind)]
            return f"{misspelt[1]} has no setting '{misspelt[2]}'; {suggest(misspelt[2], known)}"
    return f"{type(error).__name__}: {error}; mend the file"


def module_at(file: str | pathlib.Path) -> Any:
    """The module of a config file, read at most once: a snapshot's way to the classes that the file defines."""
    path = pathlib.Path(file)
    loaded = sys.modules.get(f"{CONFIG_FILE}{path.stem}")
    return loaded if loaded and pathlib.Path(str(loaded.__file__)).resolve() == path.resolve() else read_module(path)


def read_file(file: str | pathlib.Path) -> Config:
    """The `config` of a config file, without overrides."""
    config = getattr(read_module(file), "config", None)
    if not isinstance(config, Config):
        raise InputError(
            f"{file} defines no `config = Config(...)` (found {type(config).__name__}); see configs/tiny.py"
        )
    return config


def flatten(value: Any, name: str = "") -> dict[str, str]:
    """Every setting of a tree of dataclasses, by its dotted name; a dataclass itself is told by its class."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return {name: repr(value)}
    out = {name: type(value).__name__} if name else {}
    for field in dataclasses.fields(value):
        out |= flatten(getattr(value, field.name), f"{name}.{field.name}".lstrip("."))
    return out


def snapshot(config: Config) -> str:
    """The config as the text of a config file: `read_file` of it gives an equal config.

    Classes that a config file defined are read from that file, which must stay where it is.
    """
    modules: set[str] = set()
    body = _source(config, modules, 0)
    own = {name: str(sys.modules[name].__file__) for name in sorted(modules) if name.startswith(CONFIG_FILE)}
    lines = [f"import {name}" for name in sorted({"mtjax.config", *modules} - own.keys())]
    lines += [f"{name} = mtjax.config.module_at({os.path.abspath(file)!r})" for name, file in own.items()]
    imports = "\n".join(lines)
    return f"{SNAPSHOT}\n\n{imports}\n\nconfig = {body}\n"


def _source(value: Any, modules: set[str], depth: int) -> str:
    """Python text of a tree of dataclasses, tuples and plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        modules.add(type(value).__module__)
        pad = "    " * (depth + 1)
        fields = (
            f"{pad}{field.name}={_source(getattr(value, field.name), modules, depth + 1)},\n"
            for field in dataclasses.fields(value)
            if field.init
        )
        return f"{type(value).__module__}.{type(value).__qualname__}(\n{''.join(fields)}{'    ' * depth})"
    if isinstance(value, tuple | list):
        inner = "".join(_source(item, modules, depth) + ", " for item in value)
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, float):  # a NumPy number too
        return repr(float(value)) if abs(value) < float("inf") else f"float('{value}')"
    return repr(value)
