"""Results of an experiment in a folder, each part complete or absent, so that a killed run loses one part at most."""

import json
import pathlib
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.data.problem import Problem, problem_from_record, record_from_problem
from mtjax.errors import InputError
from mtjax.experiments.config import Setup
from mtjax.io.files import write_text
from mtjax.io.journal import flat
from mtjax.registry import plain_settings
from mtjax.training.checkpoint import Checkpoints, abstract_state
from mtjax.types import LanguageModel, Params


class Start(NamedTuple):
    """The start model.

    Attributes:
        params: its parameters; the two prefix tokens of mistake tuning have different embeddings.
        steps: updates until the stop rule held.
        stop_rule: step and sampled accuracy of each check.
        early: parameters at the first check with a lower accuracy that was asked for.
    """

    params: Params
    steps: int
    stop_rule: list[tuple[int, float]]
    early: Params | None = None


class MinedProblems(NamedTuple):
    """Problems with their distinct right and wrong solutions, and what sampling them cost.

    Attributes:
        problems: in their order; includes problems without any solution.
        drawn: solutions sampled.
        tokens: tokens sampled; prompts are not counted.
    """

    problems: tuple[Problem, ...]
    drawn: int
    tokens: int

    @property
    def right(self) -> int:
        """Number of distinct right solutions."""
        return sum(len(problem.right) for problem in self.problems)

    @property
    def wrong(self) -> int:
        """Number of distinct wrong solutions."""
        return sum(len(problem.wrong) for problem in self.problems)


class Injected(NamedTuple):
    """Mined problems with step pairs, and what making them took.

    Attributes:
        problems: as given; those with a right and a wrong solution also have step pairs.
        pairs: number of step pairs.
        made: edits tried; none is by a model.
        unreadable: edits that are proved wrong but left out because the tokenizer cannot write them (a division).
        kinds: step pairs by type of error.
    """

    problems: tuple[Problem, ...]
    pairs: int
    made: int
    unreadable: int
    kinds: dict[str, int]


class Measured(NamedTuple):
    """Graded solutions of N problems: n sampled at temperature 1 and one greedy solution each.

    Attributes:
        right: `[N, n]` bool.
        answers: the final answers of the samples; None if a sample has none.
        kinds: the first error of each sample, as `mtjax.evaluation.transitions.label_answer` names it.
        greedy_right: `[N]` bool.
        greedy_kinds: the first error of each greedy solution.
        confidence: `[N]`, probability of the complete greedy solution at temperature 1.
    """

    right: np.ndarray
    answers: list[list[str | None]]
    kinds: list[list[str]]
    greedy_right: np.ndarray
    greedy_kinds: list[str]
    confidence: np.ndarray

    @property
    def greedy(self) -> float:
        """Accuracy of greedy decoding."""
        return float(self.greedy_right.mean())


class Record(NamedTuple):
    """One trained arm: its measurements and its cost.

    Attributes:
        curve: by step, the number of right samples of each problem, `[N]`, out of `samples`.
        samples: samples per problem.
        measured: the measurement at the end; None for arms that only choose a learning rate.
        behind_wrong: the same after the incorrect prefix; None for arms without prefixes.
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

    @property
    def end(self) -> Measured:
        """The measurement at the end, of an arm that has one."""
        assert self.measured is not None
        return self.measured


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
    """The inverse of `measured_to_json`."""
    if values is None:
        return None
    arrays = {
        "right": np.array(values["right"], bool),
        "greedy_right": np.array(values["greedy_right"], bool),
        "confidence": np.array(values["confidence"], float),
    }
    return Measured(**(values | arrays))


class ResultsFolder:
    """The results folder of one experiment.

    Args:
        folder: made if it does not exist.
        settings: everything that the results depend on; stored as `settings.json`.
        defaults: for settings that an older version did not store, the values that they had then.

    Raises:
        InputError: the folder holds results of other settings; names those that differ.
    """

    def __init__(self, folder: str | pathlib.Path, settings: dict[str, Any], defaults: dict[str, Any] | None = None):
        self.folder = pathlib.Path(folder)
        self.seconds: dict[str, float] = {}  # that each part took when it was made
        self.folder.mkdir(parents=True, exist_ok=True)
        file, settings = self.folder / "settings.json", json.loads(json.dumps(settings))
        if file.exists():
            stored, now = flat(json.loads(file.read_text())), flat(settings)
            known = flat(json.loads(json.dumps(defaults or {})))
            before = {name: known.get(name) for name in now} | stored
            other = sorted(name for name in before if before[name] != now.get(name))
            if other:
                raise InputError(
                    f"{self.folder} holds results of other settings ({', '.join(other)}); use another --output, or "
                    "delete the folder"
                )
        else:
            write_text(file, json.dumps(settings, indent=1))

    @classmethod
    def of(cls, c: Setup, free: Collection[str]) -> "ResultsFolder":
        """The results folder of an experiment; the settings named in `free` may change when it is resumed."""
        settings, defaults = (
            {name: value for name, value in plain_settings(of).items() if name not in free} for of in (c, type(c)())
        )
        return cls(c.output, settings, defaults)

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON of one part: read if it exists, otherwise made and written, with the seconds that it took."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            begun = time.perf_counter()
            write_text(file, json.dumps({"part": make(), "seconds": time.perf_counter() - begun}))
        kept = json.loads(file.read_text())
        self.seconds[name] = kept["seconds"]
        return kept["part"]

    def measured(self, name: str, make: Callable[[], Measured]) -> Measured:
        """A measurement."""
        found = measured_from_json(self.part(name, lambda: measured_to_json(make())))
        assert found is not None
        return found

    def record(self, name: str, make: Callable[[], Record]) -> Record:
        """A trained and measured arm."""

        def as_json() -> dict[str, Any]:
            record = make()
            both = {key: measured_to_json(getattr(record, key)) for key in ("measured", "behind_wrong")}
            return record._asdict() | both

        values = self.part(name, as_json)
        both = {key: measured_from_json(values[key]) for key in ("measured", "behind_wrong")}
        return Record(**(values | both | {"curve": {int(step): x for step, x in values["curve"].items()}}))

    def start(self, model: LanguageModel, name: str, train: Callable[[], Start]) -> Start:
        """A start model, with its parameters in a checkpoint."""
        shapes = abstract_state(jax.jit(model.init)(jax.random.key(0)))
        checkpoints = Checkpoints(self.folder / name)

        def make() -> dict[str, Any]:
            start = train()
            checkpoints.save(start.steps, start.params)
            checkpoints.manager.wait_until_finished()
            return {"steps": start.steps, "stop_rule": start.stop_rule}

        values = self.part(f"{name}/start", make)
        params = checkpoints.restore(values["steps"], shapes)
        checkpoints.close()
        return Start(params, values["steps"], [(step, share) for step, share in values["stop_rule"]])

    def mined(self, make: Callable[[], MinedProblems]) -> MinedProblems:
        """The mined problems."""

        def as_json() -> dict[str, Any]:
            mined = make()
            return mined._asdict() | {"problems": [record_from_problem(problem) for problem in mined.problems]}

        values = self.part("mined", as_json)
        problems = (problem_from_record(record, f"mined[{n}]") for n, record in enumerate(values["problems"]))
        return MinedProblems(**(values | {"problems": tuple(problems)}))
