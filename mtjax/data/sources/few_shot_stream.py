"""Continual few-shot learning as text: a stream of small support sets, and a question about all that it showed."""

import dataclasses
import functools
import random
from typing import Annotated, Literal

from annotated_types import Ge, Le

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES
from mtjax.data.sources.generated import Generated
from mtjax.data.sources.gpicl import LETTERS
from mtjax.errors import InputError
from mtjax.validation import PositiveInt

Item = tuple[str, int, int]  # text, class and output unit of a support item


@SOURCES.register("few_shot_stream")
@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShotStream(Generated):
    """Streams of few-shot learning: `sets` support sets, whose classes change every `change_every` sets.

    A support set shows `shots` items of each of `ways` classes, lines such as `hbfc=3`; a blank line ends it. A class
    is a random word of `features` letters, and an item is that word with each letter replaced at random with the chance
    `noise`. The question is one more item: of any class of the stream (`test="class"`), or one of the very items that
    were shown, damaged by the noise (`test="instance"`), whose answer is the place of that item in the stream.

    There are `ways * groups` output units, with `groups = sets / change_every`, or `ways` with `overwrite`: then new
    classes take over the units of earlier ones, which keep them too. Problems `i * n .. i * n + n - 1` ask for each of
    the n classes (or items) of stream i once, in order: the target set.

    Source: the sampler of Cerenaut's CFSL (arXiv 2209.07863), built on the benchmark of Antoniou et al. (arXiv
    2004.11967): ways, shots, number of support sets, class-change interval and overwriting; that overwritten units are
    shared is recalled. There items are images, and a model adapts to the stream; here it reads it.
    """

    ways: Annotated[int, Ge(1), Le(100)] = 5  # Classes of a support set.
    shots: PositiveInt = 1  # Items of each class in a support set.
    sets: PositiveInt = 4  # Support sets of a stream (NSS).
    change_every: PositiveInt = 2  # Support sets before the classes change (class-change interval, CCI).
    overwrite: bool = False  # Whether new classes take over the output units of earlier ones.
    test: Literal["class", "instance"] = "class"  # What the question shows: a class, or an item of the stream.
    features: PositiveInt = 4  # Letters of a word.
    letters: Annotated[int, Ge(2), Le(26)] = 16  # Letters of the alphabet.
    noise: Annotated[float, Ge(0), Le(1)] = 0.1  # Chance of a letter to be replaced.

    @property
    def classes(self) -> int:
        """Classes of a stream."""
        return self.ways * (self.sets // self.change_every)

    @property
    def outputs(self) -> int:
        """Output units of the classes."""
        return self.ways if self.overwrite else self.classes

    @property
    def targets(self) -> int:
        """Questions of a stream."""
        return self.classes if self.test == "class" else self.ways * self.shots * self.sets

    def check(self) -> None:
        if self.sets % self.change_every:
            raise InputError(f"sets={self.sets}: expected a multiple of change_every={self.change_every}")
        if self.letters**self.features < 2 * self.classes:
            raise InputError(
                f"letters={self.letters} and features={self.features} write {self.letters**self.features} words, too "
                f"few for {self.classes} classes; raise one of them"
            )

    def damaged(self, word: str, drawn: random.Random) -> str:
        """A word with each letter replaced with the chance `noise`."""
        alphabet = LETTERS[: self.letters]
        return "".join(drawn.choice(alphabet) if drawn.random() < self.noise else one for one in word)

    def stream(self, number: int) -> tuple[tuple[str, ...], tuple[tuple[Item, ...], ...]]:
        """The words of the classes of stream `number`, and its support sets."""
        return _stream(self, number)

    def problem(self, number: int) -> Problem:
        """Question `number % targets` of stream `number // targets`."""
        place, target = divmod(number, self.targets)
        words, sets = self.stream(place)
        items = [item for items in sets for item in items]
        unit = {kind: output for _, kind, output in items}
        drawn = self.generator("question", self.split, number)
        asked, answer = (words[target], unit[target]) if self.test == "class" else (items[target][0], target)
        shown = [[item[0], item[2]] for item in items]
        if self.test == "instance":
            shown = [[word, n] for n, (word, _) in enumerate(shown)]
        size = self.ways * self.shots
        parts = ["\n".join(f"{word}={n}" for word, n in shown[i : i + size]) for i in range(0, len(shown), size)]
        question = "\n\n".join([*parts, f"{self.damaged(asked, drawn)}="])
        name = f"few_shot_stream[{self.seed}:{self.split}:{place}:{target}]"
        return Problem(name, question, str(answer), (str(answer),), source="few_shot_stream")


@functools.lru_cache(maxsize=1024)
def _stream(source: FewShotStream, number: int) -> tuple[tuple[str, ...], tuple[tuple[Item, ...], ...]]:
    drawn, words = source.generator("stream", source.split, number), list[str]()
    while len(words) < source.classes:
        word = "".join(drawn.choice(LETTERS[: source.letters]) for _ in range(source.features))
        words += [word] if word not in words else []
    units = drawn.sample(range(source.outputs), source.outputs)
    sets = []
    for number_of_set in range(source.sets):
        first = source.ways * (number_of_set // source.change_every)
        kinds = [kind for kind in range(first, first + source.ways) for _ in range(source.shots)]
        drawn.shuffle(kinds)
        sets.append(tuple((source.damaged(words[k], drawn), k, units[k % source.outputs]) for k in kinds))
    return tuple(words), tuple(sets)
