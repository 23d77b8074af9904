"""Text tasks that a rule decides, with answers that are likely texts and answers that are not (Embers)."""

import dataclasses
import hashlib
import random
from collections.abc import Callable
from typing import Annotated, Literal

from annotated_types import Ge, Le

from mtjax.data.problem import OnError, Problem, Problems, Split, in_split
from mtjax.data.sources.base import SOURCES, Source, fingerprint_of
from mtjax.errors import InputError
from mtjax.validation import PositiveInt, check_types

TaskName = Literal["shift_cipher", "pig_latin", "reversal", "swap_articles", "acronym", "counting", "sorting"]
Tier = Literal["high", "low", "adversarial"]

SUBJECTS = "The old man,The young woman,My brother,The teacher,Our neighbor,The little girl,His mother,The doctor"
VERBS = "walked to,looked at,waited near,came back from,stood outside,drove past,stopped at,ran toward"
PLACES = "the river,the house,the station,the school,the market,the garden,the hotel,the church"
TIMES = (
    "in the morning,before dinner,after the storm,late at night,on Sunday,for a long time,last summer,without a word"
)
NEAR = {
    "the": "thy", "river": "rover", "house": "horse", "station": "stallion", "school": "scroll", "market": "marked",
    "garden": "warden", "hotel": "motel", "church": "churn", "man": "mat", "woman": "women", "brother": "bother",
    "teacher": "preacher", "morning": "mourning", "dinner": "sinner", "storm": "story", "night": "knight",
    "time": "tame", "summer": "simmer", "word": "wood", "walked": "talked", "looked": "locked", "waited": "wanted",
    "came": "cape", "stood": "stoop", "drove": "prove", "stopped": "stooped", "ran": "rat",
}  # fmt: skip
"""A word at one or two edits from another, that does not fit in its place."""

INSTRUCTION: dict[TaskName, str] = {
    "shift_cipher": "Decode this text, in which each letter is moved {shift} places forward in the alphabet: {input}",
    "pig_latin": "Translate from Pig Latin: {input}",
    "reversal": "Write these words in reverse order: {input}",
    "swap_articles": "Here each article (the, a, an) stands behind its word. Put it back in front: {input}",
    "acronym": "Join the first letters of these words: {input}",
    "counting": "How many words are in this list? {input}",
    "sorting": "Sort these words alphabetically: {input}",
}


def shifted(text: str, by: int) -> str:
    """Letters moved forward in the alphabet; negative numbers move them back.

    >>> shifted("Stay here!", 13), shifted(shifted("Zoo", 2), -2)
    ('Fgnl urer!', 'Zoo')
    """
    out = []
    for sign in text:
        first = "a" if "a" <= sign <= "z" else "A" if "A" <= sign <= "Z" else ""
        out.append(chr((ord(sign) - ord(first) + by) % 26 + ord(first)) if first else sign)
    return "".join(out)


def pig_latin(text: str) -> str:
    """Each word with its first consonants behind a hyphen and `ay` after them, so that it can be inverted.

    >>> pig_latin("the old man"), from_pig_latin(pig_latin("the old man"))
    ('e-thay old-ay an-may', 'the old man')
    """
    words = []
    for word in text.split():
        size = next((place for place, sign in enumerate(word) if sign.lower() in "aeiou"), len(word))
        words.append(f"{word[size:]}-{word[:size]}ay")
    return " ".join(words)


def from_pig_latin(text: str) -> str:
    """The text that `pig_latin` was given."""
    parts = [word.rpartition("-") for word in text.split()]
    return " ".join(last.removesuffix("ay") + rest for rest, _, last in parts)


ARTICLES = ("the", "a", "an")


def articles_behind(text: str) -> str:
    """Each article behind the word that follows it.

    >>> articles_behind("the man saw a dog"), articles_in_front(articles_behind("the man saw a dog"))
    ('man the saw dog a', 'the man saw a dog')
    """
    return _moved(text, lambda word, following: word in ARTICLES)


def articles_in_front(text: str) -> str:
    """The text that `articles_behind` was given, if no two articles stand side by side."""
    return _moved(text, lambda word, following: following in ARTICLES)


def _moved(text: str, changes: Callable[[str, str], bool]) -> str:
    """The words, two of which change places where `changes(word, following)`."""
    words, out, place = text.split(), list[str](), 0
    while place < len(words):
        both = words[place : place + 2]
        if len(both) == 2 and changes(*both):
            both, place = both[::-1], place + 1
        else:
            both = both[:1]
        out, place = out + both, place + 1
    return " ".join(out)


@SOURCES.register("embers")
@dataclasses.dataclass(frozen=True)
class Embers(Source):
    """Ciphers, Pig Latin, reversals, article swaps, acronyms, counting and sorting, whose answers are likely or not.

    Answers of the tier `high` are plain sentences; of `low`, the same words in random order; of `adversarial`, the
    sentence with one word replaced by a similar one that does not fit. The rule is the same, so a model that follows it
    does as well in each; the metric `probability_slope` says whether one does. Counting has numbers of which round ones
    (`high`) are commoner in texts; sorting and acronyms of random words are `low`.

    Source: McCoy et al., "Embers of Autoregression: Understanding Large Language Models Through the Problem They are
    Trained to Solve", 2023 (arXiv 2309.13638). Sentences are ours, made of 4,096 combinations; the paper has eleven
    families, and a tier of medium probability that was chosen by hand.
    """

    task: TaskName = "shift_cipher"  # What is asked.
    tiers: tuple[Tier, ...] = ("high", "low", "adversarial")  # How likely the answers are, in turn.
    count: PositiveInt = 300  # How many problems.
    seed: int = 0  # Another seed, other problems.
    split: Split = "all"  # Which part, by hash of the question.
    shift: Annotated[int, Ge(1), Le(25)] = 13  # Places in the alphabet, of the cipher; 13 is the commonest in texts.

    def problem(self, number: int) -> Problem:
        """Problem `number`."""
        tier = self.tiers[number % len(self.tiers)]
        rng = random.Random(hashlib.sha256(repr((self.seed, number // len(self.tiers))).encode()).digest())
        parts = [rng.choice(pool.split(",")) for pool in (SUBJECTS, VERBS, PLACES, TIMES)]
        sentence = " ".join(parts).lower()
        words = sentence.split()
        if tier == "low":  # an article stays with its word where the task is about the two
            units = sentence.replace("the ", "the~").split() if self.task == "swap_articles" else words
            rng.shuffle(units)
            words = " ".join(units).replace("~", " ").split()
        elif tier == "adversarial":
            place = rng.choice([n for n, word in enumerate(words) if word in NEAR])
            words[place] = NEAR[words[place]]
        given, answer = self._asked(words, tier, rng)
        question = INSTRUCTION[self.task].format(shift=self.shift, input=given)
        name = f"embers[{self.task}:{self.seed}:{number}]"
        return Problem(name, question, answer, (f"Answer: {answer}",), source=f"{self.task}/{tier}")

    def _asked(self, words: list[str], tier: Tier, rng: random.Random) -> tuple[str, str]:
        """Input and answer."""
        text = " ".join(words)
        if self.task == "counting":
            size = rng.choice((10, 20, 30)) if tier == "high" else rng.choice((9, 11, 17, 19, 23, 29, 31))
            return " ".join(rng.choice(words) for _ in range(size)), str(size)
        if self.task == "sorting":
            distinct = list(dict.fromkeys(words))
            listed = sorted(distinct) if tier == "high" else rng.sample(distinct, len(distinct))
            return " ".join(listed), " ".join(sorted(distinct))
        if self.task == "acronym":
            return text, "".join(word[0] for word in words)
        given = {
            "shift_cipher": lambda: shifted(text, self.shift),
            "pig_latin": lambda: pig_latin(text),
            "reversal": lambda: " ".join(words[::-1]),
            "swap_articles": lambda: articles_behind(text),
        }[self.task]()
        return given, text

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems of the split; InputError where there are none."""
        check_types(self, "Embers")
        if not self.tiers:
            raise InputError("Embers.tiers is (); expected some of high, low, adversarial")
        items = [one for number in range(self.count) if in_split((one := self.problem(number)).question, self.split)]
        if not items:
            raise InputError(f"none of the {self.count} problems is in the split {self.split!r}; raise count")
        return Problems(items)

    def fingerprint(self) -> str:
        return fingerprint_of(self)
