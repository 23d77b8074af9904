"""Trackio."""

import dataclasses
import uuid
from typing import Any

from mtjax.training.trackers.base import TRACKERS, OfRun, Tracked, kept_id, needs


@TRACKERS.register("trackio")
@dataclasses.dataclass(frozen=True)
class Trackio:
    """Trackio: a database on this machine, shown by `trackio show`, or a Hugging Face Space.

    It is in TRACKIO_DIR, by default in the cache of Hugging Face. A resumed run goes on under its name.
    """

    project: str = "mtjax"  # Project of the run.
    space_id: str | None = None  # Space that shows it, as owner/name; None stays on this machine.

    def __call__(self, run: Tracked) -> Any:
        """The run of Trackio, whose names are unique in a project."""
        trackio = needs("trackio", "trackio")
        name = kept_id(run, "trackio", f"{run.name}-{uuid.uuid4().hex[:6]}")
        own = trackio.init(
            project=self.project, name=name, space_id=self.space_id, config=dict(run.settings), resume="allow"
        )
        return OfRun(own)
