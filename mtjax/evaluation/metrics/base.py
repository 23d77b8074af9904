"""The contract of a metric, and what it is computed from."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from mtjax.evaluation.grading import Graded
from mtjax.registry import Registry
from mtjax.reporting.intervals import Interval, mean_interval, ratio_interval, statistic_interval
from mtjax.types import short_repr

METRICS = Registry("metric", requires=("needs", "order"))  # Every metric of `python -m mtjax.evaluate` by name.

Need = Literal[
    "samples", "greedy", "scores", "wrong_prefix", "entropies", "perturbed", "choices", "prior", "sureness", "accepted",
    "stages", "random_scores",
]  # fmt: skip
"""What a metric may need; the fields of `Evaluation` below say what each is."""

SHARED: frozenset[Need] = frozenset({"scores", "wrong_prefix", "random_scores"})
"""Needs of which an evaluation has one for all its prompts: metrics with one of them are computed once."""

DRAWN: frozenset[Need] = frozenset(
    {"samples", "greedy", "entropies", "perturbed", "choices", "prior", "sureness", "accepted"}
)
"""Needs that a policy alone can meet (`accepted` with a second grader)."""


@short_repr
class Likelihood(NamedTuple):
    """How surprised a model is by answers it has not seen; one entry per answer."""

    ids: Int[np.ndarray, " A"]  # the examples' numbers (`segment_id`), each once, in the order met
    nats: Float[np.ndarray, " A"]  # weighted negative log-probability, summed over the answer's target tokens
    weight: Float[np.ndarray, " A"]  # sum of the answer's target weights: its tokens, where weights are 1
    polarity: Float[np.ndarray, " A"]  # 1 for right answers, 0 for wrong ones; 1 where there is no polarity

    def only(self, polarity: float | int) -> "Likelihood":
        """The answers of one polarity: 1 right, 0 wrong; may be empty."""
        return Likelihood(*(column[self.polarity == polarity] for column in self))


class Choice(NamedTuple):
    """What a model makes of the options of one problem."""

    log_probs: Float[np.ndarray, " K"]  # log-probability of the letter of each option right after the prompt
    right: int  # place of the right option
    options: tuple[str, ...] = ()  # their texts, by which wordings of one question are compared; () for their places


@short_repr
class Evaluation(NamedTuple):
    """What is known of one policy on N problems; a field that no chosen metric needs is None."""

    ids: list[str]  # names of the problems
    golds: Sequence[str | None]  # their gold answers
    samples: Graded | None = None  # n graded samples of each
    greedy: Graded | None = None  # one graded greedy answer of each (n = 1)
    scores: Likelihood | None = None  # nats of the problems' own right and wrong solutions
    wrong_prefix: "Evaluation | None" = None  # the same after the wrong prefix of a mistake task
    sources: Sequence[str] = ()  # `Problem.source` of each problem
    entropies: list[Float[np.ndarray, " T"]] | None = None  # entropy (nats) at each token of the greedy answers
    perturbed: Mapping[str, Graded] | None = None  # n answers that leave the greedy one at a token, by which token
    choices: "list[Choice] | None" = None  # the letters of the options
    prior: Float[np.ndarray, " N"] | None = None  # log-probability of each gold answer with nothing before it
    sureness: Float[np.ndarray, " N"] | None = None  # probability of "sure" after the greedy answer, against "unsure"
    accepted: Bool[np.ndarray, "N n"] | None = None  # whether a second, imperfect grader takes each sample as right
    stages: Bool[np.ndarray, "S N"] | None = None  # whether the greedy answers of earlier models were right
    random_scores: Float[np.ndarray, " K"] | None = None  # nats per token of models with random parameters

    @property
    def best(self) -> Graded:
        """`greedy` of an evaluation that has it."""
        assert self.greedy is not None, "the metric must declare that it needs greedy"
        return self.greedy

    def has(self, needs: Collection[Need]) -> bool:
        """Whether it holds everything in `needs`."""
        return all(getattr(self, need) is not None for need in needs)

    @property
    def sampled(self) -> Graded:
        """`samples` of an evaluation that has them."""
        assert self.samples is not None, "the metric must declare that it needs samples"
        return self.samples

    @property
    def per_problem(self) -> Float[np.ndarray, " N"]:
        """Share of right samples of each problem, its pass@1: what a paired comparison of two models takes."""
        return self.sampled.right.mean(axis=1)


class MetricSettings(NamedTuple):
    """What all metrics of an evaluation share."""

    ks: tuple[int, ...] = ()  # sample counts for pass@k and maj@k
    level: float = 0.95  # share of the bootstrap intervals
    seed: int = 0  # seed of the bootstrap
    aggregation: str = "majority"  # registered name of what chooses an answer for maj@k

    def interval(self, values: Sequence[float] | np.ndarray) -> Interval:
        """The mean of one number per problem, with its bootstrap interval over problems."""
        return mean_interval(np.asarray(values, float), level=self.level, seed=self.seed)

    def ratio(self, totals: np.ndarray, counts: np.ndarray) -> Interval:
        """`sum totals / sum counts` over problems, with its bootstrap interval."""
        return ratio_interval(np.asarray(totals, float), np.asarray(counts, float), level=self.level, seed=self.seed)

    def statistic(self, statistic: Callable[[np.ndarray], np.ndarray], size: int) -> Interval | None:
        """Any statistic of problems; see `mtjax.reporting.intervals.statistic_interval`."""
        return statistic_interval(statistic, size, level=self.level, seed=self.seed)


class Metric(Protocol):
    """A frozen dataclass. With `by_default: ClassVar[bool] = False` it is computed only if it is chosen by name.

    `least_samples: ClassVar[int]` is how many samples of a problem it takes, 1 by default, and `asks: ClassVar[str]`
    says when it finds no number, with the way out. A function `check(problems)` raises InputError for problems that are
    not of its kind.
    """

    needs: ClassVar[tuple[Need, ...]]  # it is called only with an evaluation that has them
    order: ClassVar[int]  # its place in tables, ascending; equal ones by name

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        """The numbers by the names that they have in tables and files; empty where they do not apply."""
        ...
