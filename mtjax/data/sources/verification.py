"""Three-way verification: is the retrieved knowledge beside the point, the answer not what it says, or all right."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from mtjax.data.problem import OnError, Problem, Problems
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError

OPTIONS = ("The knowledge does not help to answer.", "The knowledge helps, and the answer does not follow it.",
           "The answer is correct.")  # fmt: skip
"""What A, B and C mean."""

WORDINGS = (
    "Check the answer to a question by some knowledge.",
    "Here are a question, knowledge that was looked up for it, and an answer. What is wrong, if anything?",
    "Verify whether the knowledge fits the question, and whether the answer fits the knowledge.",
    "Someone looked something up and answered. Which of these is the case?",
    "Judge the knowledge and the answer.",
)
"""Five instructions, as many as the paper has; these words are ours."""


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation and articles."""
    return [word for word in re.findall(r"\w+", text.lower()) if word not in ("a", "an", "the")]


def answer_accuracy(answer: str, gold: str) -> float:
    """F1 of the words that an answer shares with the gold one.

    >>> answer_accuracy("in Paris", "Paris"), answer_accuracy("Rome", "Paris")
    (0.6666666666666666, 0.0)
    """
    said, true = set(words_of(answer)), set(words_of(gold))
    return 2 * len(said & true) / (len(said) + len(true)) if said & true else 0.0


def retrieval_score(knowledge: str, entities: Sequence[str]) -> float:
    """The share of the gold answer's entities that the knowledge mentions."""
    text = f" {' '.join(words_of(knowledge))} "
    named = [entity for entity in entities if words_of(entity)]
    return sum(f" {' '.join(words_of(entity))} " in text for entity in named) / len(named) if named else 0.0


def three_way_label(retrieval: float, accuracy: float) -> int:
    """0 (A): irrelevant knowledge; 1 (B): the knowledge helps (`retrieval > 0`); 2 (C): `accuracy > 0.5`, whatever it.

    >>> three_way_label(0, 0), three_way_label(0.5, 0.2), three_way_label(1, 1), three_way_label(0, 1)
    (0, 1, 2, 2)
    """
    return 2 if accuracy > 0.5 else 1 if retrieval > 0 else 0


@SOURCES.register("verification")
@dataclasses.dataclass(frozen=True)
class Verification(FileSource):
    """Questions with knowledge, an answer and the gold answer, as a choice of three: A, B or C.

    A record is `{"question", "knowledge", "answer", "gold"}`, and `gold` may be a list of entities. The label is made
    as the paper's: A at first, B if the knowledge mentions an entity of the gold answer, C if more than half of the
    words agree (F1). Each record is asked in `wordings` ways, whose probabilities the metric `choices` adds up; with
    `data.task:completion` it trains a verifier.

    Source: Baek et al., "Knowledge-Augmented Language Model Verification", EMNLP 2023 (arXiv 2310.12836);
    `JinheonBaek/KALMV`.
    """

    marks: ClassVar[tuple[str, ...]] = ("question", "knowledge", "answer", "gold")
    example: ClassVar[str] = (
        '{"question": "Where is the Louvre?", "knowledge": "The Louvre is a museum in Paris.", "answer": "Rome",'
        ' "gold": ["Paris"]}\n'
    )

    wordings: Annotated[int, Ge(1), Le(5)] = 5  # In how many ways each record is asked.

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The record in the first wording."""
        question, knowledge, answer = (field_of(record, key, str, where) for key in ("question", "knowledge", "answer"))
        gold = field_of(record, "gold", (str, list), where)
        entities = [gold] if isinstance(gold, str) else gold
        if not entities or not all(isinstance(one, str) and words_of(one) for one in entities):
            raise InputError(f"{where}: 'gold' is {gold!r:.80}; expected the gold answer, or a list of its entities")
        accuracy = max(answer_accuracy(answer, one) for one in (" ".join(entities), *entities))
        letter = "ABC"[three_way_label(retrieval_score(knowledge, entities), accuracy)]
        asked = prompt_of(question, knowledge, answer, 0)
        return Problem(f"{id}#0", asked, letter, (letter,), source="verification", options=OPTIONS)

    def problems(self, on_error: OnError = "raise") -> Problems:
        """Every record in all its wordings, side by side."""
        found = super().problems(on_error)
        items = [
            dataclasses.replace(
                one, id=f"{one.id.removesuffix('#0')}#{way}",
                question=f"{WORDINGS[way]}{one.question.removeprefix(WORDINGS[0])}",
            )
            for one in found.items for way in range(self.wordings)
        ]  # fmt: skip
        return found._replace(items=items)


def prompt_of(question: str, knowledge: str, answer: str, wording: int = 0) -> str:
    """What a verifier is asked, in one of `WORDINGS`."""
    listed = "\n".join(f"({letter}) {option}" for letter, option in zip("ABC", OPTIONS, strict=True))
    return (
        f"{WORDINGS[wording]}\n\nQuestion: {question.strip()}\nKnowledge: {knowledge.strip()}\nAnswer: {answer.strip()}"
        f"\n\n{listed}\nReply with A, B or C."
    )
