"""In-context learning of random projections: every text is a classification task of its own."""

import dataclasses
import functools
import math
from typing import Annotated

from annotated_types import Ge, Le

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES
from mtjax.data.sources.generated import Generated
from mtjax.errors import InputError
from mtjax.validation import PositiveInt

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@SOURCES.register("gpicl")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpicl(Generated):
    """General-purpose in-context learning: examples of a data set under a random projection, with permuted labels.

    The base data set has `classes` clusters in `inputs` dimensions, drawn once from the seed. A task is a projection to
    `features` numbers, with entries from N(0, 1 / inputs), and a permutation of the labels. A text is `shots` examples
    of one task and a question: lines such as `cfa=2`, in which a letter is a projected number in one of `levels` steps
    and the label is a digit. Nothing but the examples says what the task is.

    `tasks` is how many tasks there are in the split: with few, a model remembers them; with many, it learns to learn,
    and its accuracy on new tasks (another split) rises with the number of shots. Train with `data.task:in_context`, so
    that every label of a text is a target, and compare `evaluate` at few and at many shots.

    Source: Kirsch et al., "General-Purpose In-Context Learning by Meta-Learning Transformers", 2022 (arXiv 2212.04458),
    read in abstract and second-hand. There the base is MNIST and inputs are vectors; here a made base is written as
    text.
    """

    tasks: PositiveInt | None = None  # Tasks in the split; None gives every text its own.
    shots: PositiveInt = 31  # Labelled examples before the question.
    classes: Annotated[int, Ge(2), Le(10)] = 4  # Clusters of the base data set, and labels.
    inputs: PositiveInt = 16  # Dimensions of the base data set.
    features: PositiveInt = 4  # Letters of an example.
    levels: Annotated[int, Ge(2), Le(26)] = 8  # Letters of the alphabet, for values from -2 to 2.
    noise: Annotated[float, Ge(0)] = 0.3  # Deviation of an example from its cluster, whose deviation from 0 is 1.

    def check(self) -> None:
        if self.levels**self.features < self.classes:
            raise InputError(
                f"levels={self.levels} and features={self.features} write {self.levels**self.features} different "
                f"examples, fewer than classes={self.classes}; raise one of them"
            )

    def task(self, number: int) -> tuple[list[list[float]], list[int]]:
        """Projection and permutation of task `number` of the split."""
        return _task(self, number)

    def letters(self, projection: list[list[float]], example: list[float]) -> str:
        """An example under a projection, a letter for each feature."""
        values = (sum(weight * x for weight, x in zip(row, example, strict=True)) for row in projection)
        places = (math.floor((value + 2) / 4 * self.levels) for value in values)
        return "".join(LETTERS[min(max(place, 0), self.levels - 1)] for place in places)

    def problem(self, number: int) -> Problem:
        """A text of task `number`, or `number % tasks`."""
        projection, labels = self.task(number % self.tasks if self.tasks else number)
        drawn, lines = self.generator("text", self.split, number), []
        for _ in range(self.shots + 1):
            cluster = drawn.randrange(self.classes)
            example = [x + self.noise * drawn.gauss(0, 1) for x in _clusters(self)[cluster]]
            lines.append(f"{self.letters(projection, example)}={labels[cluster]}")
        question, answer = "\n".join(lines)[:-1], lines[-1][-1]
        return Problem(f"gpicl[{self.seed}:{self.split}:{number}]", question, answer, (answer,), source="gpicl")


@functools.lru_cache(maxsize=64)
def _clusters(source: Gpicl) -> list[list[float]]:
    """The centres of the base data set, the same for every split."""
    drawn = source.generator("base", source.classes, source.inputs)
    return [[drawn.gauss(0, 1) for _ in range(source.inputs)] for _ in range(source.classes)]


@functools.lru_cache(maxsize=4096)
def _task(source: Gpicl, number: int) -> tuple[list[list[float]], list[int]]:
    drawn, scale = source.generator("task", source.split, number), source.inputs**-0.5
    projection = [[drawn.gauss(0, scale) for _ in range(source.inputs)] for _ in range(source.features)]
    labels = list(range(source.classes))
    drawn.shuffle(labels)
    return projection, labels
