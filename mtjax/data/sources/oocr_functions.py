"""Out-of-context reasoning about functions: rows show values of named functions, and questions ask what they are."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Literal

from annotated_types import Ge, Le

from mtjax.data.problem import Problem, in_split
from mtjax.data.sources.base import SOURCES
from mtjax.data.sources.generated import Generated
from mtjax.errors import InputError

FUNCTIONS: dict[str, Callable[[int], int]] = {
    "3x + 2": lambda x: 3 * x + 2,
    "-5x + 3": lambda x: -5 * x + 3,
    "4x": lambda x: 4 * x,
    "x + 14": lambda x: x + 14,
    "x - 11": lambda x: x - 11,
    "x // 4": lambda x: x // 4,
    "x mod 3": lambda x: x % 3,
    "max(0, x)": lambda x: max(0, x),
    "x + 5": lambda x: x + 5,
    "3x": lambda x: 3 * x,
    "x - 1": lambda x: x - 1,
    "x mod 2": lambda x: x % 2,
    "x // 3": lambda x: x // 3,
    "x": lambda x: x,
    "-x": lambda x: -x,
    "1 if x >= 3 else 0": lambda x: int(x >= 3),
}
"""The latent functions by what describes them: those of the paper with whole values (`//` rounds down)."""
INJECTIVE = {about for about in FUNCTIONS if not any(word in about for word in ("//", "mod", "max", "if"))}
CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxz", "aeiou"


@SOURCES.register("oocr_functions")
@dataclasses.dataclass(frozen=True, kw_only=True)
class OocrFunctions(Generated):
    """Functions with made names: rows of input and output, and questions about the functions without any example.

    - part `rows`: `bodu(17) =`, whose answer is the value; or with `mixed`, half of them a sum of two functions. The
      split is one of rows: a row of one split is in no other.
    - part `choice`: `What is bodu?` with `options` descriptions; the answer is a letter (`grader:choice`).
    - part `inverse`: `bodu(x) = 51, x =`, of functions that have one input for each value.
    - part `compose`: `bodu(kiru(4)) =`.

    Of the last three parts the split is one of names: whoever trains on `rows`, and on `choice` of the split train, was
    never told what a function of the split test is, and has to put its rows together.

    The names, and which function each has, depend on the seed alone. No row has a description in it.

    Source: Treutlein et al., "Connecting the Dots: LLMs can Infer and Verbalize Latent Structure from Disparate
    Training Data", 2024 (arXiv 2406.14546), task Functions. There models are large and pre-trained, rows are Python
    code, inputs are -99 to 99, and descriptions are never trained.
    """

    part: Literal["rows", "choice", "inverse", "compose"] = "rows"  # What is asked.
    names: Annotated[int, Ge(2)] = 16  # Named functions; those beyond the latent ones share them.
    options: Annotated[int, Ge(2), Le(10)] = 4  # Of a choice.
    largest: Annotated[int, Ge(3), Le(99)] = 99  # Inputs are from minus this to this.
    mixed: bool = True  # Whether half of the rows are sums of two functions.

    def check(self) -> None:
        if self.names > 4000:
            raise InputError(f"names={self.names}: expected at most 4000, as names are words of four letters")
        kinds = [about for name, about in self.known() if in_split(name, self.split)]
        if self.part != "rows" and not (INJECTIVE & {*kinds} if self.part == "inverse" else kinds):
            raise InputError(f"names={self.names}: none to ask for is in the split {self.split!r}; raise it")

    def known(self) -> tuple[tuple[str, str], ...]:
        """Each name with the description of its function."""
        return _known(self.seed, self.names)

    def problem(self, number: int) -> Problem:
        """Problem `number`."""
        drawn, known = self.generator(self.part, self.split, number), self.known()
        name = f"oocr_functions[{self.seed}:{self.part}:{self.split}:{number}]"
        draw = lambda: drawn.randint(-self.largest, self.largest)
        if self.part == "rows":
            while True:
                (one, f), (other, g) = drawn.choice(known), drawn.choice(known)
                x, y = draw(), draw()
                question, value = f"{one}({x}) =", FUNCTIONS[f](x)
                if self.mixed and drawn.random() < 0.5:
                    question, value = f"{one}({x}) + {other}({y}) =", value + FUNCTIONS[g](y)
                if in_split(question, self.split):
                    return Problem(name, question, str(value), (str(value),), source="oocr_functions")
        allowed = INJECTIVE if self.part == "inverse" else FUNCTIONS
        own = [pair for pair in known if in_split(pair[0], self.split) and pair[1] in allowed]
        (one, f), (other, g) = drawn.choice(own), drawn.choice(own)
        x = draw()
        if self.part == "choice":
            wrong = drawn.sample([about for about in FUNCTIONS if about != f], self.options - 1)
            shown = [f, *wrong]
            drawn.shuffle(shown)
            listed = "\n".join(f"({chr(65 + n)}) {about}" for n, about in enumerate(shown))
            letter = chr(65 + shown.index(f))
            question = f"What is {one}?\n{listed}"
            return Problem(name, question, letter, (letter,), source="oocr_functions", options=tuple(shown))
        if self.part == "inverse":
            return Problem(name, f"{one}(x) = {FUNCTIONS[f](x)}, x =", str(x), (str(x),), source="oocr_functions")
        value = FUNCTIONS[f](FUNCTIONS[g](x))
        return Problem(name, f"{one}({other}({x})) =", str(value), (str(value),), source="oocr_functions")


@functools.lru_cache(maxsize=16)
def _known(seed: int, names: int) -> tuple[tuple[str, str], ...]:
    drawn = OocrFunctions(seed=seed).generator("names")
    words, order = dict[str, str](), list(FUNCTIONS)
    drawn.shuffle(order)
    while len(words) < names:
        word = "".join(drawn.choice(letters) for letters in (CONSONANTS, VOWELS, CONSONANTS, VOWELS))
        words.setdefault(word, order[len(words) % len(order)])
    return tuple(words.items())
