"""Grading: which samples solve their problem, which do not, and which cannot be decided."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from mtjax.data.answers import Verdict, extract_answer, parse_number
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.graders import AnswerGrader, Grader, gold_answer
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample
from mtjax.types import short_repr


@short_repr
class Graded(NamedTuple):
    """n samples of each of N problems, graded; every field holds N lists of n."""

    samples: list[list[Sample | TokenSample]]
    answers: list[list[str | None]]  # the answer found in each text; None where there is none
    verdicts: list[list[Verdict]]

    @property
    def texts(self) -> list[list[str]]:
        """What was decoded."""
        return [[sample.text for sample in row] for row in self.samples]

    @property
    def right(self) -> Bool[np.ndarray, "N n"]:
        """True where the sample is known to be right; undecided ones are not."""
        return np.array([[found is Verdict.RIGHT for found in row] for row in self.verdicts], bool)

    @property
    def unknown(self) -> Bool[np.ndarray, "N n"]:
        """True where the grader could not decide; such a sample counts as not right, and must be reported apart."""
        return np.array([[found is Verdict.UNKNOWN for found in row] for row in self.verdicts], bool)

    @property
    def without_answer(self) -> Bool[np.ndarray, "N n"]:
        """True where no answer was found; such a sample has no vote."""
        return np.array([[answer is None for answer in row] for row in self.answers], bool)

    @property
    def cut(self) -> Bool[np.ndarray, "N n"]:
        """True where the sample did not end before `max_new_tokens`."""
        return np.array([[not sample.finished for sample in row] for row in self.samples], bool)

    @property
    def log_probs(self) -> list[list[float | None]]:
        """The log-probability of each sample (nats); None where it is unknown."""
        return [[sample.logprob for sample in row] for row in self.samples]

    @property
    def votes(self) -> list[list[Hashable | None]]:
        """The answers as exact numbers (`1,000` and `1000.0` are one vote), else as words without case."""
        words = lambda answer: " ".join(answer.casefold().split())
        return [[None if one is None else parse_number(one) or words(one) for one in row] for row in self.answers]


def check_gold(problems: Sequence[Problem]) -> list[str]:
    """The gold answers of all problems; InputError naming the first that has none."""
    golds = [gold_answer(problem) for problem in problems]
    for problem, gold in zip(problems, golds, strict=True):
        if gold is None:
            raise InputError(
                f"problem {problem.id} has no answer to compare with ({golds.count(None)} of {len(golds)} have none): "
                "give it an 'answer', or a right solution that ends in one (`#### 18`, `Answer: 18`)"
            )
    return [gold for gold in golds if gold is not None]


def grade(
    samples: Sequence[Sequence[Sample | TokenSample]], problems: Sequence[Problem], grader: Grader | None = None
) -> Graded:
    """Grade n samples of each of N problems, by default by their final answers (`AnswerGrader`).

    Raises InputError where the numbers of problems differ.
    """
    if len(samples) != len(problems):
        raise InputError(f"{len(samples)} problems were sampled and {len(problems)} given: expected as many")
    judge: Grader = AnswerGrader() if grader is None else grader
    graded = Graded([list(row) for row in samples], [], [])
    for problem, row in zip(problems, samples, strict=True):
        known = {sample.text: judge(problem, sample) for sample in {sample.text: sample for sample in row}.values()}
        graded.verdicts.append([known[sample.text] for sample in row])
        graded.answers.append([_answer(sample.text, known[sample.text], problem) for sample in row])
    return graded


def _answer(text: str, verdict: Verdict, problem: Problem) -> str | None:
    """The answer in the text. One line without any form or number is an answer by itself, such as a word."""
    alone = text.strip() if "\n" not in text.strip() else ""
    right = verdict is Verdict.RIGHT  # all right samples of a problem are one vote
    return extract_answer(text) or alone or ((gold_answer(problem) or text.strip() or "right") if right else None)
