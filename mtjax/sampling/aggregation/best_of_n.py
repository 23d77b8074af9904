"""Best of n: the answer of the sample that the model finds most likely."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mtjax.errors import InputError
from mtjax.sampling.aggregation.base import AGGREGATIONS, token_count


@AGGREGATIONS.register("best_of_n")
def best_of_n(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None = None
) -> Mapping[Hashable, float]:
    """All weight on the answer of the sample with the highest log-probability per token; equally likely ones share it.

    Without `samples` lengths are not known, and the summed log-probability decides. InputError if a log-probability is
    unknown.
    """
    lengths = [1] * len(answers) if samples is None else [token_count(one) or 1 for one in samples]
    scores = {
        number: log / length if log is not None else None
        for number, (answer, log, length) in enumerate(zip(answers, log_probs, lengths, strict=True))
        if answer is not None
    }  # fmt: skip
    if None in scores.values():
        raise InputError("a sample has no log-probability; expected one for each: use the aggregation majority instead")
    known = {number: score for number, score in scores.items() if score is not None}
    first = [answers[number] for number, score in known.items() if score == max(known.values())]
    return {answer: first.count(answer) / len(first) for answer in dict.fromkeys(first) if answer is not None}
