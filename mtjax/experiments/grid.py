"""A factorial experiment: cells of factors, the slices of it that are run, and what is compared with what."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mtjax.errors import InputError, suggest
from mtjax.experiments.experiment import Method

BASELINE = "right only"
"""The method that all others are compared with: cross-entropy on own right solutions."""

IN, OUT = "as trained", "out of domain"
"""The test set drawn as the training problems, and all the other ones together."""

Measure = Literal["tests", "decodings", "line"]
"""What is measured of a trained cell: every test set; without the prefix and by contrast; between start and end."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One training run up to its seed. A default is the base level of its factor."""

    method: str  # Its name in the grid.
    share: float = 1.0  # Wrong solutions per right one.
    weight: float = 1.0  # Weight of wrong solutions.
    loss_on: Literal["rationale", "all"] = "rationale"  # Targets: the solution, or question and prefix too.
    problems: int = 400  # Training problems.
    solutions: Literal["all", "one"] = "all"  # Of each problem: all distinct ones, or one right and one wrong one.
    mistakes: Literal["own", "injected", "weaker"] = "own"
    """Wrong solutions: the start's own, right ones with an error put in by rule, or an earlier checkpoint's."""
    start: str = "planted"  # The start model, by its name in the grid.
    matched: str = ""
    """Of right-only training: train on as many right target tokens as this method does; "" on equal positions."""

    @property
    def name(self) -> str:
        """The method and the levels that are not the base, as part of a file's name: `mistake-tuning,share=2`."""
        base = Cell(method=self.method)
        given = {field: getattr(self, field) for field in FACTORS if getattr(self, field) != getattr(base, field)}
        words = [self.method.lower(), *(f"{key}={value:g}" if isinstance(value, int | float) else f"{key}={value}"
                                        for key, value in given.items())]  # fmt: skip
        return ",".join(re.sub(r"[^\w.=]+", "-", word) for word in words)

    @property
    def levels(self) -> dict[str, Any]:
        """The level of each factor, by name."""
        return {field: getattr(self, field) for field in FACTORS}


FACTORS = tuple(field.name for field in dataclasses.fields(Cell) if field.name != "method")
COMMON = ("problems", "solutions", "start")
"""Factors that every method has, the baseline included."""


class MapMethod(NamedTuple):
    """A method of the grid."""

    make: Callable[[Cell], Method]
    factors: tuple[str, ...] = ()  # factors besides `COMMON` that change its training
    batches: str = (
        ""  # the method whose right tokens it shares, for `Cell.matched`; "" compares at equal positions only
    )
    step_pairs: int = 0  # most pairs of steps with an injected error per problem, beside its solutions
    says: str = ""


class StartModel(NamedTuple):
    """A start model: what it imitates, and the sampled accuracy on the stop rule's problems where that ends."""

    source: Any
    target: tuple[float, float]
    says: str


class Slice(NamedTuple):
    """A part of the factorial: every method with every combination of some levels, all other factors at their base."""

    question: str
    methods: tuple[str, ...]
    levels: Mapping[str, Sequence[Any]] = {}
    measures: tuple[Measure, ...] = ("tests",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """The whole design."""

    title: str
    methods: Mapping[str, MapMethod]
    starts: Mapping[str, StartModel]
    slices: Mapping[str, Slice]
    weaker_of: str = "planted"  # The start whose earlier checkpoint is the weaker model.

    def __post_init__(self) -> None:
        for name, own in self.slices.items():
            for method in own.methods:
                if method not in self.methods:
                    raise InputError(f"slice '{name}': no method '{method}'; {suggest(method, self.methods)}")
            for factor in own.levels:
                if factor not in FACTORS:
                    raise InputError(f"slice '{name}': no factor '{factor}'; {suggest(factor, FACTORS)}")

    def cell(self, method: str, **levels: Any) -> Cell:
        """The cell with these levels, those of factors that the method does not have at their base."""
        has = (*COMMON, *self.methods[method].factors, *(("matched", "share") if levels.get("matched") else ()))
        kept = {factor: value for factor, value in levels.items() if factor in has}
        return Cell(method=method, **kept)

    def cells_of(self, name: str) -> list[Cell]:
        """The cells of a slice, each once."""
        own = self.slices[name]
        products = itertools.product(*own.levels.values())
        found = [
            self.cell(method, **dict(zip(own.levels, values, strict=True)))
            for values in products
            for method in own.methods
        ]
        # An injected or a weaker model's mistake is of the start that the right solutions are of.
        return list(dict.fromkeys(one for one in found if one.mistakes == "own" or one.start == self.weaker_of))

    @functools.cached_property
    def cells(self) -> dict[str, Cell]:
        """All cells by name, in the order of the slices, each once."""
        return {cell.name: cell for name in self.slices for cell in self.cells_of(name)}

    def measures(self, cell: Cell) -> set[str]:
        """What is measured of a cell: what any of its slices asks for."""
        return self._measures[cell]

    @functools.cached_property
    def _measures(self) -> dict[Cell, set[str]]:
        found: dict[Cell, set[str]] = {}
        for name, own in self.slices.items():
            for cell in self.cells_of(name):
                found.setdefault(cell, set()).update(own.measures)
        return found

    def baseline(self, cell: Cell) -> Cell:
        """Right-only training with the same problems, solutions and start, at equal forward positions."""
        return self.cell(BASELINE, **{factor: getattr(cell, factor) for factor in COMMON})

    def matched(self, cell: Cell) -> Cell | None:
        """Right-only training on as many right tokens as this cell's; None where the method has no such baseline."""
        like = self.methods[cell.method].batches
        levels = {factor: getattr(cell, factor) for factor in (*COMMON, "share")}
        return self.cell(BASELINE, matched=like, **levels) if like and cell.mistakes == "own" else None


def check_names(chosen: Sequence[str], known: Mapping[str, Any], what: str) -> None:
    """Raise InputError for a name of a slice or cell that the grid does not have."""
    for name in chosen:
        if name not in known:
            raise InputError(f"the grid has no {what} '{name}'; {suggest(name, known)}")
