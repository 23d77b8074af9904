"""Grading: which samples solve their problem, which do not, and which cannot be decided."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from mtjax.data.answers import Verdict, extract_answer, options_in, vote
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.graders import AnswerGrader, Grader, gold_answer
from mtjax.sampling.sampler import Sample, silence
from mtjax.sampling.texts import TokenSample
from mtjax.types import short_repr


@short_repr
class Graded(NamedTuple):
    """n samples of each of N problems, graded; every field holds N lists of n."""

    samples: list[list[Sample | TokenSample]]
    answers: list[list[str | None]]  # the answer found in each text; None where there is none
    verdicts: list[list[Verdict]]
    votes: list[list[Hashable | None]]  # one for equal answers (`1,000` and `1000 dollars`); None without an answer

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

    def silent(self, why: str) -> Bool[np.ndarray, "N n"]:
        """True where a sample says nothing that can be graded, for this reason (`mtjax.sampling.sampler.Silence`)."""
        return np.array([[silence(sample) == why for sample in row] for row in self.samples], bool)


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
    graded = Graded([list(row) for row in samples], [], [], [])
    for problem, row in zip(problems, samples, strict=True):
        known = {
            key: Verdict.UNKNOWN if silence(sample) else judge(problem, sample)
            for key, sample in {(sample.text, sample.finished, silence(sample)): sample for sample in row}.items()
        }
        verdicts = [known[sample.text, sample.finished, silence(sample)] for sample in row]
        graded.verdicts.append(verdicts)
        both = [_answer(sample, verdict, problem) for sample, verdict in zip(row, verdicts, strict=True)]
        graded.answers.append([answer for answer, _ in both])
        graded.votes.append([ballot for _, ballot in both])
    return graded


def _answer(sample: Sample | TokenSample, verdict: Verdict, problem: Problem) -> tuple[str | None, Hashable | None]:
    """The answer of a sample and its vote. One line without any form or number is an answer by itself, as a word."""
    if silence(sample):
        return None, None
    text, options = sample.text, problem.options or options_in(problem.question)
    answer = extract_answer(text, choice=bool(options)) or (text.strip() if "\n" not in text.strip() else None)
    ballot = vote(text, options=options)
    if verdict is Verdict.RIGHT:  # all right samples of a problem are one vote
        answer = answer or gold_answer(problem) or text.strip() or "right"
        ballot = answer if ballot is None else ballot
    return answer, ballot
