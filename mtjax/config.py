"""A run's settings: dataclasses in a Python file, changed on the command line, kept as a snapshot that reruns."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from mtjax.data.batches import DataConfig
from mtjax.data.sources import AnySource
from mtjax.distributed.sharding import MeshSpec
from mtjax.errors import InputError
from mtjax.io.command_line import parse
from mtjax.io.config_file import SNAPSHOT, as_kept, is_snapshot, module_at, read_module, same_class, snapshot
from mtjax.io.hashing import check_seed
from mtjax.io.plain_snapshot import has_snapshot, read_snapshot, write_snapshot
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives import OBJECTIVES, with_regularizers
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.regularizers.base import Regularizers
from mtjax.objectives.tracked import with_tracking
from mtjax.optim import OptimConfig
from mtjax.training.early_stopping import EarlyStopping
from mtjax.training.fitting import AUTO
from mtjax.training.live_filter import LiveFilter
from mtjax.training.monitors import CoverageConfig
from mtjax.training.reference import ReferenceConfig
from mtjax.training.trace import read_span
from mtjax.training.trackers import AnyTracker
from mtjax.validation import BUCKETS, Address, PositiveInt, check_types

__all__ = [
    "SNAPSHOT",
    "CheckpointConfig",
    "Config",
    "HeldOut",
    "as_kept",
    "flatten",
    "load",
    "module_at",
    "objective_of",
    "parse",
    "read_file",
    "read_module",
    "read_run",
    "same_class",
    "snapshot",
    "write_snapshot",
]

AnyObjective = OBJECTIVES.setting()
"""Every registered objective, by name, on the command line: `objective:nll`."""


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """How often a run is saved and how much of it is kept."""

    every: PositiveInt = 100  # Steps between checkpoints; the last step is always saved.
    keep: PositiveInt = 3  # Newest checkpoints that stay, besides the best by held-out loss or `early_stopping`.
    folder: Annotated[str | None, Address] = None
    """Where they go; None is the run's own folder. An address such as `gs://bucket/run` where hosts share no folder."""

    def __post_init__(self) -> None:
        if self.folder == "":
            raise InputError("checkpoint.folder='': expected a folder or an address, or None for the run's own folder")
        if self.folder and "://" in self.folder and not self.folder.startswith(BUCKETS):
            raise InputError(
                f"checkpoint.folder='{self.folder}' cannot be reached; expected a folder, gs://... or s3://..."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A second source, never trained on, on which the objective's loss and metrics are measured now and then.

    Measured before the first step, every `every` steps and after the last one; logged as `held_out_loss` and
    `held_out/NAME`.
    """

    source: AnySource  # Where its problems come from; rendered by the run's own task.
    every: PositiveInt = 100  # Steps between measurements.
    batches: PositiveInt = 8  # Batches of the run's size to measure on, at most one pass.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One training run."""

    model: DecoderConfig = DecoderConfig()
    """A new model of this shape; `vocab_size` is taken from the tokenizer. Unused with `init_from`."""
    data: DataConfig  # Training data.
    objective: AnyObjective = MistakeTuning()  # Loss to minimise.
    regularizers: Regularizers = ()
    """Losses to add to the objective's, each a mean per target token in nats (per token for a router) times its weight:
    `(ZLoss(weight=1e-4),)`, or on the command line z_loss=1e-4; `python -m mtjax.list regularizer` names all."""
    track_examples: bool = False
    """Keep of every example its mean probability over the epochs, the spread, and how often it was forgotten: metrics
    `examples/...`, and `examples.jsonl` in the run folder at the end."""
    reference: ReferenceConfig = ReferenceConfig()  # Reference model, for objectives that need one.
    optim: OptimConfig = OptimConfig()  # Optimizer and learning-rate schedule.
    mesh: MeshSpec = MeshSpec()  # Device mesh.
    checkpoint: CheckpointConfig = CheckpointConfig()  # How often checkpoints are written, and how many are kept.
    live_filter: LiveFilter | None = None  # Drop examples that the objective gives little weight, and refill the batch.
    held_out: HeldOut | None = None  # Source whose loss is measured during training.
    coverage: CoverageConfig | None = None
    """Source on which pass@k is measured during training, with any objective."""
    early_stopping: EarlyStopping | None = None
    """End the run when a measured metric no longer improves, such as `early_stopping:early_stopping
    --early_stopping.metric=held_out/reward_accuracy`."""
    self_check: bool = True
    """Check data and losses of the first batch of a new run, and refuse to start if something is wrong."""
    min_target_share: Annotated[float, Ge(0), Le(1)] = 0.01
    """Smallest share of target tokens in the first batch that the self-check accepts."""
    steps: PositiveInt = 1000  # Number of updates; may be raised later.
    batch_size: PositiveInt = 32  # Rows per update, over all devices and micro-batches.
    micro_batches: PositiveInt | Literal["auto"] = AUTO
    """Parts of a batch that are computed one after another, to save memory; `auto` chooses with `model.remat`."""
    seed: int = 0  # Random seed for parameters, data order and everything else.
    stop: tuple[str, ...] = ()  # Texts that end an answer whenever this run decodes, besides its end tokens.
    run_dir: str = "runs/run"  # Run folder: checkpoints, metrics, snapshot; an existing run is resumed.
    init_from: str | None = None
    """Warm start: a run folder, a Hugging Face folder, a hub id or `smollm2`. Not a resume: the step is 0. The run
    keeps its description and tokenizer, not its weights."""
    overwrite: bool = False  # Delete the existing run in `run_dir` first.
    accept_changed_data: bool = False
    """Resume although data or tokenizer have changed since the checkpoint; the run records the change."""
    export: str | None = None  # Folder for a Hugging Face export at the end.
    export_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Type of the exported weights; None is the type that they had in `init_from`, or float32 without one."""
    log_every: PositiveInt = 1  # Steps between two lines of metrics.jsonl.
    profile: str | None = None
    """Steps to trace for xprof, first and last, such as 10:15; the trace goes to `profile` in the run folder."""
    tensorboard: bool = True  # Write TensorBoard files too.
    tracker: AnyTracker = None  # Where else the metrics go, such as tracker:wandb, tracker:mlflow or tracker:trackio.
    chunk: PositiveInt | Literal["auto"] = AUTO
    """Positions whose logits exist at a time on a device; `auto` chooses by the size of the vocabulary."""

    def __post_init__(self) -> None:
        check_types(self)
        check_seed(self.seed)
        if self.profile is not None:
            read_span(self.profile)
        if "" in self.stop:
            raise InputError("stop holds an empty text, which would end every answer at once; leave it out")
        if self.export == "":
            raise InputError("export='': expected the name of a folder, or None")
        if self.export is not None and pathlib.Path(self.export).absolute() == pathlib.Path(self.run_dir).absolute():
            raise InputError(f"export={self.export!r} is the run_dir; name a folder of its own, such as one in it")
        task = getattr(self.objective, "task", "any")
        name = OBJECTIVES.name_of(self.objective) or "of your own"
        if task == "any" and self.data.task.sides > 1 and not getattr(self.objective, "by_polarity", False):
            raise InputError(
                f"objective '{name}' takes single sequences, but data.task is '{self.data.task.name}', whose "
                f"{'rejected side' if self.data.task.sides == 2 else 'worse candidates'} it would imitate; choose "
                "data.task:completion, or an objective of "
                + ("pairs, such as objective:dpo" if self.data.task.name != "group" else "groups: policy_gradient")
            )
        if task not in ("any", self.data.task.name):
            raise InputError(
                f"objective '{name}' needs the task '{task}', but data.task is '{self.data.task.name}'; "
                f"choose data.task:{task}, or objective:nll, which fits every task"
            )

    @property
    def micro_batch_count(self) -> int:
        """`micro_batches` as a number: that of a settled config, and 1 where it is still auto."""
        return 1 if self.micro_batches == AUTO else self.micro_batches

    @property
    def chunk_size(self) -> int:
        """`chunk` as a number: that of a settled config, and 128 where it is still auto."""
        return 128 if self.chunk == AUTO else self.chunk


def objective_of(config: Config) -> Any:
    """What the step minimises: the objective with its regularizers, and with what is kept of each example."""
    return with_tracking(with_regularizers(config.objective, config.regularizers), config.track_examples)


def load(file: str | pathlib.Path, overrides: Sequence[str] = ()) -> Config:
    """The `config` of a Python file, with command-line overrides such as `--optim.learning_rate=1e-3`.

    Raises:
        InputError: no such file, a file that fails or has no `config`, an unknown or wrong override.
    """
    config = read_file(file)
    own = pathlib.Path(file).absolute().parent
    if (own / "metrics.jsonl").is_file() and is_snapshot(file) and pathlib.Path(config.run_dir).absolute() != own:
        # A relative run_dir, read from another folder, or a run folder that was moved: it goes on where it is.
        config = dataclasses.replace(config, run_dir=str(own))
    return parse(config, overrides, f"python -m mtjax.train {file}")


def read_file(file: str | pathlib.Path) -> Config:
    """The `config` of a config file, without overrides."""
    config = getattr(read_module(file), "config", None)
    if not isinstance(config, Config):
        raise InputError(
            f"{file} defines no `config = Config(...)` (found {type(config).__name__}); see configs/tiny.py"
        )
    return config


def read_run(folder: str | pathlib.Path) -> Config:
    """The config of a run folder. Its config.py is read as data and not run (`io.plain_snapshot.read_snapshot`).

    Raises:
        InputError: no such folder, a damaged snapshot, or one that needs code of others.
    """
    folder = pathlib.Path(folder).expanduser()
    if not has_snapshot(folder):
        raise InputError(f"'{folder}' is not a run folder: it has no config.py")
    config = read_snapshot(folder)
    if not isinstance(config, Config):
        raise InputError(f"{folder / 'config.py'} has no config of a run (found {type(config).__name__})")
    return config


def flatten(value: Any, name: str = "") -> dict[str, str]:
    """Every setting of a tree of dataclasses, by its dotted name; a dataclass itself is told by its class."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return {name: repr(value)}
    out = {name: type(value).__name__} if name else {}
    for field in dataclasses.fields(value):
        out |= flatten(getattr(value, field.name), f"{name}.{field.name}".lstrip("."))
    return out
