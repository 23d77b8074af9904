"""MLflow."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from mtjax.training.trackers.base import TRACKERS, Tracked, kept_id, needs

LONGEST = 500  # Characters of a parameter's value that every MLflow store takes.
TOGETHER = 100  # Parameters that it takes at a time.


@TRACKERS.register("mlflow")
@dataclasses.dataclass(frozen=True)
class MlFlow:
    """MLflow: metrics and settings of the run, on a tracking server or in the file RUN/mlflow.db.

    `mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db` shows such a file. A resumed run keeps its id.
    """

    uri: str | None = None  # Tracking server, such as http://localhost:5000; None is a file in the run folder.
    experiment: str = "mtjax"  # Experiment of the run.

    def __call__(self, run: Tracked) -> Any:
        """The run of MLflow."""
        needs("mlflow", "mlflow")
        tracking, entities = needs("mlflow.tracking", "mlflow"), needs("mlflow.entities", "mlflow")
        client = tracking.MlflowClient(tracking_uri=self.uri or f"sqlite:///{run.folder.resolve()}/mlflow.db")
        file = run.folder / "mlflow.id"
        if not file.exists():
            found = client.get_experiment_by_name(self.experiment)
            experiment = client.create_experiment(self.experiment) if found is None else found.experiment_id
            own = client.create_run(experiment, run_name=run.name).info.run_id
            kept_id(run, "mlflow", own)
            params = [entities.Param(name, value[:LONGEST]) for name, value in run.settings.items()]
            for start in range(0, len(params), TOGETHER):
                client.log_batch(own, params=params[start : start + TOGETHER])
        return _Writer(client, kept_id(run, "mlflow", ""), entities.Metric)


class _Writer:
    def __init__(self, client: Any, run: str, metric: Any):
        self.client, self.run, self.metric = client, run, metric

    def write(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[self.metric(name, value, now, step) for name, value in values.items()])

    def close(self) -> None:
        self.client.set_terminated(self.run)
