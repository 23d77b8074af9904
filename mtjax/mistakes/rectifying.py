"""Rectify answers from knowledge: look further where it does not help, answer anew where the answer is not faithful."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.errors import InputError

Retrieve = Callable[[str, int], str | None]
"""From a question and a number from 0 to the text that comes in this place of the search; None where there is none."""
GenerateAnswer = Callable[[str, str, int], str]
"""From a question, knowledge, and the number of answers so far (another number may give another answer)."""
Verify = Callable[[str, str, str], Float[np.ndarray, "W 3"]]
"""From question, knowledge and answer to the probabilities of A, B and C in each of W wordings."""


class Rectified(NamedTuple):
    """What came of a question."""

    answer: str  # the last one
    verdicts: tuple[str, ...]  # of each answer: "A" irrelevant knowledge, "B" unfaithful answer, "C" correct
    retrieved: int  # texts that were looked up


def ensemble(probabilities: Float[np.ndarray, "W 3"]) -> str:
    """The letter with the highest sum of probabilities over the wordings.

    >>> ensemble(np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3]]))
    'B'
    """
    sums = np.asarray(probabilities, float).sum(axis=0)
    if sums.shape != (3,):
        raise InputError(f"probabilities of shape {np.shape(probabilities)}: expected (wordings, 3), for A, B and C")
    return "ABC"[int(sums.argmax())]


def rectify(
    question: str, retrieve: Retrieve, generate: GenerateAnswer, verify: Verify, *, max_edits: int = 3
) -> Rectified:
    """Answer a question by knowledge that is looked up, and correct the answer at most `max_edits` times.

    After A the next knowledge is looked up and a new answer made from it; after B a new answer is made from the same;
    C, or the end of the edits or of the search, stops. InputError where nothing at all is found.

    Source: Baek et al., "Knowledge-Augmented Language Model Verification", EMNLP 2023 (arXiv 2310.12836);
    `JinheonBaek/KALMV`.
    """
    knowledge = retrieve(question, 0)
    if knowledge is None:
        raise InputError(f"nothing is found for the question {question!r:.60}: give `retrieve` something to search")
    looked, verdicts = 1, list[str]()
    answer = generate(question, knowledge, 0)
    for edits in range(max_edits + 1):
        verdicts.append(ensemble(verify(question, knowledge, answer)))
        if verdicts[-1] == "C" or edits == max_edits:
            break
        if verdicts[-1] == "A":
            following = retrieve(question, looked)
            if following is None:
                break
            knowledge, looked = following, looked + 1
        answer = generate(question, knowledge, edits + 1)
    return Rectified(answer, tuple(verdicts), looked)


def search_in(texts: Sequence[str]) -> Retrieve:
    """A search over texts that are ranked already, the best first.

    >>> search_in(["first", "second"])("any question", 1), search_in([])("any question", 0)
    ('second', None)
    """
    return lambda question, place: texts[place] if place < len(texts) else None
