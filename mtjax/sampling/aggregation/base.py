"""The contract of an aggregation."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from mtjax.errors import InputError
from mtjax.registry import Registry

AGGREGATIONS = Registry("aggregation", settings=False)  # Every aggregation by name.


class Aggregation(Protocol):
    """A function from the samples of one problem to weights of its answers."""

    def __call__(
        self,
        answers: Sequence[Hashable | None],
        log_probs: Sequence[float | None],
        samples: Sequence[Any] | None = None,
    ) -> Mapping[Hashable, float]:
        """The weight of each distinct answer, summing to 1; empty if there is no answer.

        Args:
            answers: the answer of each sample; equal answers compare equal. None is not an answer and has no weight.
            log_probs: the summed log-probability of each sample (nats); None if unknown.
            samples: the samples themselves (`Sample` or `TokenSample`), for what depends on their texts or lengths.
        """
        ...


def best(weights: Mapping[Hashable, float]) -> Hashable | None:
    """The answer with the highest weight, the first one of several; None without answers."""
    return max(weights, key=weights.__getitem__, default=None)


def distinct_paths(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None
) -> list[tuple[Hashable, float]]:
    """Answer and log-probability of each distinct solution that has an answer, in order.

    Solutions are told apart by their texts; without `samples` all are distinct. InputError if a log-probability is
    unknown.
    """
    texts: Sequence[Hashable] = range(len(answers)) if samples is None else [one.text for one in samples]
    known = {
        (answer, text): log
        for answer, log, text in zip(answers, log_probs, texts, strict=True)
        if answer is not None
    }  # fmt: skip
    if any(log is None for log in known.values()):
        raise InputError("a sample has no log-probability; expected one for each: use the aggregation majority instead")
    return [(answer, log) for (answer, _), log in known.items() if log is not None]


def valued(aggregation: Any) -> Any:
    """Mark an aggregation that takes what a verifier says of each sample; whoever samples then asks one."""
    aggregation.needs_value = True
    return aggregation


def verifier_values(samples: Sequence[Any] | None, count: int) -> list[float]:
    """The value of each sample by a verifier, from -1 to 1; InputError where there is none."""
    found = [getattr(sample, "value", None) for sample in samples or [None] * count]
    values = [float(value) for value in found if value is not None]
    if len(values) < len(found):
        raise InputError(
            "a sample has no value by a verifier: take python -m mtjax.evaluate with a model that has a value head, or "
            "with --verifier, or use the aggregation majority instead"
        )
    return values


def token_count(sample: Any) -> int | None:
    """How many tokens a sample has; None if unknown."""
    tokens = sample.tokens
    return tokens if tokens is None or isinstance(tokens, int) else len(tokens)


def normalised(weights: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """The weights divided by their sum."""
    total = sum(weights.values())
    return {answer: weight / total for answer, weight in weights.items()}
