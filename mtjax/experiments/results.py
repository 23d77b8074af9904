"""Results of an experiment in a folder, each part complete or absent, so that a killed run loses one part at most."""

import dataclasses
import json
import pathlib
import time
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import msgspec
import numpy as np
from jaxtyping import Float

from mtjax.data.problem import Problem, record_from_problem
from mtjax.errors import InputError
from mtjax.evaluation.coverage import pass_at_k
from mtjax.experiments.config import Setup
from mtjax.io.files import write_text
from mtjax.io.journal import flat
from mtjax.registry import plain_settings
from mtjax.training.checkpoint import Checkpoints, Unreadable, abstract_state, place_of, read_state
from mtjax.training.fitting import AUTO
from mtjax.types import LanguageModel


@dataclasses.dataclass
class Start:
    """The start model; its parameters are in checkpoints, the rest in JSON."""

    steps: int  # updates until the stop rule held
    stop_rule: list[tuple[int, float]]  # step and sampled accuracy of each check
    params: Any = None  # the two prefix tokens of mistake tuning have different embeddings
    early: Any = None  # parameters at the first check with a lower accuracy that was asked for


@dataclasses.dataclass
class MinedProblems:
    """Problems with their distinct right and wrong solutions, and what sampling them cost."""

    problems: list[Problem]  # in their order; includes problems without any solution
    drawn: int  # solutions sampled
    tokens: int  # tokens sampled; prompts are not counted

    @property
    def right(self) -> int:
        """Number of distinct right solutions."""
        return sum(len(problem.right) for problem in self.problems)

    @property
    def wrong(self) -> int:
        """Number of distinct wrong solutions."""
        return sum(len(problem.wrong) for problem in self.problems)


@dataclasses.dataclass
class Injected:
    """Mined problems with step pairs, and what making them took; no edit is by a model."""

    problems: list[Problem]  # as given; those with a right and a wrong solution also have step pairs
    pairs: int  # number of step pairs
    made: int  # edits tried
    unreadable: int  # edits proved wrong but left out because the tokenizer cannot write them (a division)
    kinds: dict[str, int]  # step pairs by type of error


@dataclasses.dataclass
class Measured:
    """Graded solutions of N problems: n sampled at temperature 1 and one greedy solution each."""

    right: np.ndarray  # `[N, n]` bool
    answers: list[list[str | None]]  # final answers of the samples; None if a sample has none
    kinds: list[list[str]]  # first error of each sample, as `mtjax.evaluation.transitions.label_answer` names it
    greedy_right: np.ndarray  # `[N]` bool
    greedy_kinds: list[str]  # first error of each greedy solution
    confidence: np.ndarray  # `[N]`, probability of the complete greedy solution at temperature 1

    def __post_init__(self) -> None:
        self.right, self.greedy_right = np.asarray(self.right, bool), np.asarray(self.greedy_right, bool)
        self.confidence = np.asarray(self.confidence, float)

    @property
    def greedy(self) -> float:
        """Accuracy of greedy decoding."""
        return float(self.greedy_right.mean())


@dataclasses.dataclass
class Record:
    """One trained arm: its measurements and its cost."""

    curve: dict[int, list[int]]  # by step, the number of right samples of each problem, `[N]`, out of `samples`
    samples: int  # samples per problem
    measured: Measured | None  # measurement at the end; None for arms that only count right samples
    behind_wrong: Measured | None  # the same after the incorrect prefix; None for arms without prefixes
    losses: list[float]  # of each step
    cost: dict[str, int | float]  # see `arms.cost_of`
    seconds: dict[str, float]  # of training and of measuring, by name
    contrast: Measured | None = None  # the same by the contrast of both prefixes, if it was asked for
    margins: np.ndarray | None = None
    """`[P]`, nats: log-probability of a right step less that of the step with an injected error, after the right steps
    before it; of each problem that has such a pair. None if not asked for."""
    decoding: str = ""  # how it was decoded, of a second measurement of an arm that is there too

    @classmethod
    def of_start(cls, measured: Measured, margins: np.ndarray | None = None) -> "Record":
        """A start model as an arm of no steps."""
        counts = measured.right.sum(axis=1).tolist()
        return cls({0: counts}, measured.right.shape[1], measured, None, [], {}, {}, margins=margins)

    @property
    def by_contrast(self) -> "Record":
        """The arm as the contrast of its prefixes decodes it."""
        assert self.contrast is not None
        curve = {max(self.curve): self.contrast.right.sum(axis=1).tolist()}
        return dataclasses.replace(self, curve=curve, measured=self.contrast, behind_wrong=None, decoding="contrast")

    def passes(self, k: int, step: int | None = None) -> Float[np.ndarray, " N"]:
        """pass@k of each problem after some steps, at the end by default."""
        counts = self.curve[max(self.curve) if step is None else step]
        return np.asarray(pass_at_k(self.samples, counts, k))

    @property
    def end(self) -> Measured:
        """The measurement at the end, of an arm that has one."""
        assert self.measured is not None
        return self.measured


Part = TypeVar("Part")


class ResultsFolder:
    """The results folder of the experiment with settings `c`, those named in `free` left out of account.

    `methods` describes each method by name: a method that has other settings than when it was trained is refused too.

    Raises:
        InputError: the folder holds results of other settings; names those that differ.
    """

    def __init__(self, c: Setup, free: tuple[str, ...], methods: Mapping[str, str] = MappingProxyType({})):
        self.folder = pathlib.Path(c.output)
        self.seconds: dict[str, float] = {}  # that each part took when it was made
        file = self.folder / "settings.json"
        settings, defaults = (
            json.loads(json.dumps({name: x for name, x in plain_settings(of).items() if name not in free}))
            for of in (c, type(c)())
        )
        kept = self.folder / "methods.json"
        stored, trained = self._read(file, settings), self._read(kept, {})
        # A setting that an older version did not store had its default then.
        now, known = flat(settings), flat(defaults)
        before = {name: known.get(name) for name in now} | flat(stored)
        # Where it says auto now, the results keep what was chosen or set then.
        other = sorted(name for name in before if before[name] != now.get(name) != AUTO)
        other += [f"method {name!r}" for name, text in methods.items() if trained.get(name, text) != text]
        if other:
            raise InputError(
                f"{self.folder} holds results of other settings ({', '.join(other)}); use another --output, or "
                "delete the folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            write_text(file, json.dumps(settings, indent=1))
        if methods:
            write_text(kept, json.dumps(trained | dict(methods), indent=1))

    def part(self, name: str, kind: type[Part], make: Callable[[], Part]) -> Part:
        """One part: read if it exists, otherwise made and written, with the seconds that it took and a checksum.

        A damaged part is set aside and made again.
        """
        file = self.folder / f"{name}.json"
        if file.exists() and not _is_sound(file):
            file.rename(file.with_suffix(".damaged"))
            print(f"note: {file} is damaged; it is set aside and made again", flush=True)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            begun, made = time.perf_counter(), make()
            text = json.dumps({"part": made, "seconds": time.perf_counter() - begun}, default=_to_json)
            write_text(file, f'{text[:-1]}, "crc32": {zlib.crc32(text.encode())}}}')
        kept = json.loads(file.read_text())
        self.seconds[name] = kept["seconds"]
        return msgspec.convert(kept["part"], kind, strict=False, dec_hook=lambda _, value: np.asarray(value))

    def start(self, name: str, model: LanguageModel, train: Callable[[], Start], *, early: bool = False) -> Start:
        """A start model; its parameters, and the early ones, are in checkpoints beside the part."""
        places = {"params": place_of(self.folder / name)}
        places |= {"early": place_of(self.folder / f"{name}-early")} if early else {}

        def make() -> Start:
            start = train()
            for field, place in places.items():
                checkpoints = Checkpoints(place)
                checkpoints.save(start.steps, getattr(start, field))
                checkpoints.close()
            return dataclasses.replace(start, params=None, early=None)

        start = self.part(f"{name}/start", Start, make)
        shapes = abstract_state(jax.jit(model.init)(jax.random.key(0)))
        try:
            read = {field: read_state(place, start.steps, shapes) for field, place in places.items()}
        except Unreadable as error:
            folders = " and ".join(str(place) for place in places.values())
            raise InputError(f"the start model is damaged ({error}); delete {folders}: it is trained again") from error
        return dataclasses.replace(start, **read)

    def _read(self, file: pathlib.Path, missing: dict[str, Any]) -> dict[str, Any]:
        """A JSON object of the folder; InputError if it is damaged."""
        try:
            return dict(json.loads(file.read_text())) if file.exists() else missing
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{file} is damaged ({error!r:.80}); expected the settings of the results: restore it, use another "
                "--output, or delete the folder"
            ) from error


def _is_sound(file: pathlib.Path) -> bool:
    """Whether the file of a part is complete and as it was written; those of earlier versions have no checksum."""
    text, found, end = file.read_bytes().rpartition(b', "crc32": ')
    try:
        kept = json.loads(text + b"}" if found else end)
        return {"part", "seconds"} <= kept.keys() and (not found or zlib.crc32(text + b"}") == int(end[:-1]))
    except (ValueError, AttributeError):
        return False


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.astype(int) if value.dtype == bool else value).tolist()
    return record_from_problem(value) if isinstance(value, Problem) else vars(value)
