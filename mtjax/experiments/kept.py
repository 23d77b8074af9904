"""What a recipe has done so far, in a folder: each part whole or not there, so that a kill costs one part."""

import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.data.problem import Problem, problem_from_record, record_from_problem
from mtjax.errors import InputError
from mtjax.experiments.lab import Lab, Measured
from mtjax.experiments.start import Mined, Start, train_start
from mtjax.io.files import write_text
from mtjax.training.checkpoint import Checkpoints, abstract_state


class Record(NamedTuple):
    """One arm: what it solved and what it cost.

    Attributes:
        curve: by step, how many of its samples were right, `[N]`; `samples` were drawn of each problem.
        samples: samples per problem.
        measured: everything about the end; None for arms that only serve to choose a learning rate.
        behind_wrong: the same behind the incorrect prefix; None for arms without prefixes.
        losses: of each step.
        cost: forward positions of policy and reference, target tokens, right target tokens, updates.
        seconds: of training and of measuring, by name.
    """

    curve: dict[int, list[int]]
    samples: int
    measured: Measured | None
    behind_wrong: Measured | None
    losses: list[float]
    cost: dict[str, int | float]
    seconds: dict[str, float]


def measured_to_json(measured: Measured | None) -> dict[str, Any] | None:
    """A measurement as JSON."""
    if measured is None:
        return None
    return measured._asdict() | {
        "right": measured.right.astype(int).tolist(),
        "greedy_right": measured.greedy_right.astype(int).tolist(),
        "confidence": measured.confidence.tolist(),
    }


def measured_from_json(values: dict[str, Any] | None) -> Measured | None:
    """What `measured_to_json` made JSON of."""
    if values is None:
        return None
    arrays = {
        "right": np.array(values["right"], bool),
        "greedy_right": np.array(values["greedy_right"], bool),
        "confidence": np.array(values["confidence"], float),
    }
    return Measured(**(values | arrays))


class Kept:
    """The folder of one recipe's parts.

    Args:
        folder: made where absent.
        settings: everything that the parts depend on; kept as `settings.json`.

    Raises InputError where the folder holds parts made with other settings, and names them.
    """

    def __init__(self, folder: str | pathlib.Path, settings: dict[str, Any]):
        self.folder = pathlib.Path(folder)
        self.seconds: dict[str, float] = {}  # that each part took when it was made
        self.folder.mkdir(parents=True, exist_ok=True)
        file, settings = self.folder / "settings.json", json.loads(json.dumps(settings))
        if file.exists():
            have = json.loads(file.read_text())
            other = sorted(name for name in have.keys() | settings.keys() if have.get(name) != settings.get(name))
            if other:
                raise InputError(
                    f"{self.folder} holds what was made with other settings ({', '.join(other)}): give another "
                    "--output, or delete the folder"
                )
        else:
            write_text(file, json.dumps(settings, indent=1))

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON of one part: read where it is there, else made and kept, with the seconds that it took."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            begun = time.perf_counter()
            write_text(file, json.dumps({"part": make(), "seconds": time.perf_counter() - begun}))
        kept = json.loads(file.read_text())
        self.seconds[name] = kept["seconds"]
        return kept["part"]

    def measured(self, name: str, make: Callable[[], Measured]) -> Measured:
        """A measurement, made once."""
        found = measured_from_json(self.part(name, lambda: measured_to_json(make())))
        assert found is not None
        return found

    def record(self, name: str, make: Callable[[], Record]) -> Record:
        """An arm, trained and measured once."""

        def as_json() -> dict[str, Any]:
            record = make()
            both = {key: measured_to_json(getattr(record, key)) for key in ("measured", "behind_wrong")}
            return record._asdict() | both

        values = self.part(name, as_json)
        both = {key: measured_from_json(values[key]) for key in ("measured", "behind_wrong")}
        return Record(**(values | both | {"curve": {int(step): x for step, x in values["curve"].items()}}))

    def start(self, lab: Lab, seed: int) -> Start:
        """The start model of a seed, trained once."""
        key = f"start-{seed}"
        shapes = abstract_state(jax.jit(lab.model.init)(jax.random.key(0)))
        checkpoints = Checkpoints(self.folder / key)

        def make() -> dict[str, Any]:
            start = train_start(lab, seed)
            checkpoints.save(start.steps, start.params)
            checkpoints.manager.wait_until_finished()
            return {"steps": start.steps, "stop_rule": start.stop_rule}

        values = self.part(f"{key}/start", make)
        params = checkpoints.restore(values["steps"], shapes)
        checkpoints.close()
        return Start(params, values["steps"], [(step, share) for step, share in values["stop_rule"]])

    def mined(self, make: Callable[[], Mined]) -> Mined:
        """The mined problems, sampled once."""

        def as_json() -> dict[str, Any]:
            mined = make()
            return mined._asdict() | {"problems": [record_from_problem(problem) for problem in mined.problems]}

        values = self.part("mined", as_json)
        return Mined(**(values | {"problems": _problems(values["problems"])}))


def _problems(records: Sequence[dict[str, Any]]) -> tuple[Problem, ...]:
    return tuple(problem_from_record(record, f"mined[{number}]") for number, record in enumerate(records))
