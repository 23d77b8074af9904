"""TensorBoard: event files in the run folder."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mtjax.training.trackers.base import TRACKERS, Tracked


@TRACKERS.register("tensorboard")
@dataclasses.dataclass(frozen=True)
class TensorBoard:
    """Event files in RUN/tensorboard, without TensorFlow; `tensorboard --logdir runs` shows them.

    On by default (`--tensorboard=False` turns it off). A resumed run tells TensorBoard to drop later steps.
    """

    def __call__(self, run: Tracked) -> Any:
        """The writer of event files."""
        from tensorboardX import SummaryWriter

        return _Writer(SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.first + 1))


class _Writer:
    def __init__(self, board: Any):
        self.board = board

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        self.board.close()
