"""Weights & Biases."""

import dataclasses
import uuid
from typing import Any, Literal

from mtjax.training.trackers.base import TRACKERS, OfRun, Tracked, kept_id, needs


@TRACKERS.register("wandb")
@dataclasses.dataclass(frozen=True)
class Wandb:
    """Weights & Biases: metrics and settings of the run, online or in files under RUN/wandb.

    Offline, `wandb sync RUN/wandb/offline-run-*` uploads them later. A resumed run keeps its id.
    """

    project: str = "mtjax"  # Project of the run.
    entity: str | None = None  # User or team that it belongs to; None is the account's own.
    mode: Literal["online", "offline"] | None = None
    """offline writes files only; None does as the environment variable WANDB_MODE says, by default online."""

    def __call__(self, run: Tracked) -> Any:
        """The run of wandb."""
        wandb = needs("wandb", "wandb")
        own = wandb.init(
            project=self.project, entity=self.entity, mode=self.mode, name=run.name, dir=str(run.folder),
            id=kept_id(run, "wandb", uuid.uuid4().hex[:12]), resume="allow", config=dict(run.settings),
        )  # fmt: skip
        return OfRun(own)
