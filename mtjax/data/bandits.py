"""Bandits and their teachers: instances, the pulls of UCB, Thompson sampling, LinUCB and others, regret and its growth.

A chooser is called with the history so far and gives the number of an arm; `play_all` asks until the horizon.
"""

import dataclasses
import math
import random
from collections.abc import Callable, Generator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

Kind = Literal["bernoulli", "gaussian", "linear"]  # Rewards of 0 or 1, with normal noise, or linear in a context.
Context = tuple[float, ...]


class Bandit(NamedTuple):
    """One instance."""

    kind: Kind
    means: tuple[float, ...]  # mean reward of each arm; of `linear` unused
    noise: float  # deviation of the rewards; of `bernoulli` unused
    weights: tuple[Context, ...] = ()  # of `linear`: the weights of each arm on the context

    @property
    def arms(self) -> int:
        """How many arms there are."""
        return len(self.weights) or len(self.means)

    def expected(self, context: Context) -> list[float]:
        """The mean reward of each arm in a context."""
        if self.kind != "linear":
            return list(self.means)
        return [sum(w * x for w, x in zip(row, context, strict=True)) for row in self.weights]

    def reward(self, arm: int, context: Context, drawn: random.Random) -> float:
        """A reward of an arm."""
        mean = self.expected(context)[arm]
        return float(drawn.random() < mean) if self.kind == "bernoulli" else mean + self.noise * drawn.gauss(0, 1)


@dataclasses.dataclass
class History:
    """What a player has seen: arms, rewards, and contexts (with that of the next pull)."""

    arms: int
    pulled: list[int] = dataclasses.field(default_factory=list)
    rewards: list[float] = dataclasses.field(default_factory=list)
    contexts: list[Context] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts, self.sums = [0] * self.arms, [0.0] * self.arms  # pulls and rewards of each arm
        for arm, reward in zip(self.pulled, self.rewards, strict=True):
            self._count(arm, reward)

    def _count(self, arm: int, reward: float) -> None:
        self.counts[arm] += 1
        self.sums[arm] += reward

    def add(self, arm: int, reward: float) -> None:
        """One more pull."""
        self.pulled.append(arm)
        self.rewards.append(reward)
        self._count(arm, reward)

    def until(self, pulls: int) -> "History":
        """What was seen before a later pull."""
        return History(self.arms, self.pulled[:pulls], self.rewards[:pulls], self.contexts[: pulls + 1])

    def means(self) -> list[float]:
        """Mean reward of each arm, 0 before its first pull."""
        return [total / max(count, 1) for total, count in zip(self.sums, self.counts, strict=True)]


Chooser = Callable[[History], int]


class Play(NamedTuple):
    """A finished game."""

    history: History
    regret: tuple[float, ...]  # best expected reward less that of the pulled arm, pull by pull


Game = Generator[History, int, Play]


def game(bandit: Bandit, horizon: int, drawn: random.Random, features: int = 0) -> Game:
    """A game that gives the history before each of `horizon` pulls and is sent the arm to pull; ends with the `Play`.

    Contexts have `features` numbers from N(0, 1).
    """
    history, regret = History(bandit.arms), list[float]()
    for _ in range(horizon):
        context = tuple(drawn.gauss(0, 1) for _ in range(features))
        history.contexts.append(context)
        arm, expected = (yield history), bandit.expected(context)
        history.add(arm, bandit.reward(arm, context, drawn))
        regret.append(max(expected) - expected[arm])
    return Play(history, tuple(regret))


def play_all(games: Sequence[Game], choose: Callable[[list[History]], list[int]]) -> list[Play]:
    """Games of one horizon, pull by pull together: `choose` gives the arms for the histories of all."""
    histories, plays = [next(one) for one in games], list[Play]()
    while not plays:
        for place, (one, arm) in enumerate(zip(games, choose(histories), strict=True)):
            try:
                histories[place] = one.send(arm)
            except StopIteration as ended:
                plays.append(ended.value)
    return plays


def bonuses(history: History, alpha: float = 0.5) -> list[float]:
    """UCB's exploration bonus of each arm, `sqrt(alpha ln t / n)` at pull t; infinite before its first pull.

    >>> [round(x, 4) for x in bonuses(History(2, [0, 0, 1], [1.0, 0.0, 1.0]))]
    [0.5887, 0.8326]
    """
    t = len(history.pulled) + 1
    return [math.sqrt(alpha * math.log(t) / n) if n else math.inf for n in history.counts]


def best(values: Sequence[float]) -> int:
    """The number of the largest value, the first of equal ones."""
    return max(range(len(values)), key=lambda arm: (values[arm], -arm))


def ucb(history: History, alpha: float = 0.5) -> int:
    """Each arm once, then the largest mean plus bonus."""
    return best([mean + bonus for mean, bonus in zip(history.means(), bonuses(history, alpha), strict=True)])


def greedy(history: History) -> int:
    """Each arm once, then the largest mean: never explores again."""
    return ucb(history, 0.0) if len(history.pulled) >= history.arms else len(history.pulled)


def thompson(drawn: random.Random) -> Chooser:
    """The largest of one draw per arm from its posterior: Beta(1, 1) before rewards of 0 and 1, else N(0, 1)."""

    def choose(history: History) -> int:
        binary = all(reward in (0.0, 1.0) for reward in history.rewards)
        draws = []
        for mean, n in zip(history.means(), history.counts, strict=True):
            won = mean * n
            shrunk, deviation = won / (n + 1), (n + 1) ** -0.5
            draws.append(drawn.betavariate(1 + won, 1 + n - won) if binary else drawn.gauss(shrunk, deviation))
        return best(draws)

    return choose


def linear_values(history: History, alpha: float = 0.5) -> tuple[list[float], list[float]]:
    """LinUCB's value and bonus of each arm in the present context: `x theta` and `alpha sqrt(x A^-1 x)`.

    `A = I + sum x x^T` and `theta = A^-1 sum r x` over the pulls of the arm.
    """
    x, values, bonus = np.asarray(history.contexts[-1]), list[float](), list[float]()
    seen, pulled = np.asarray(history.contexts[:-1]).reshape(-1, len(x)), np.asarray(history.pulled)
    for arm in range(history.arms):
        own, rewards = seen[pulled == arm], np.asarray(history.rewards)[pulled == arm]
        inverse = np.linalg.inv(np.eye(len(x)) + own.T @ own)
        values.append(float(x @ inverse @ (rewards @ own)))
        bonus.append(float(alpha * np.sqrt(x @ inverse @ x)))
    return values, bonus


def linucb(history: History, alpha: float = 0.5) -> int:
    """The largest linear value plus bonus."""
    return best([value + bonus for value, bonus in zip(*linear_values(history, alpha), strict=True)])


class Growth(NamedTuple):
    """Cumulative regret as `logarithmic ln t + linear t`, least squares with coefficients of at least 0."""

    logarithmic: float
    linear: float
    unexplained: float  # share of the squares that the fit leaves


def regret_growth(regret: Float[np.ndarray, "N T"]) -> Growth:
    """How cumulative regret grows, from the regret of each pull of N games: a good player has no linear part.

    EVOLvE fits `a ln(T)^b / gap + c T + d`; this is the part of it that is linear in its coefficients.
    """
    from scipy.optimize import nnls

    total = np.asarray(regret, np.float64).cumsum(-1).mean(0)
    t = np.arange(1, len(total) + 1)
    (logarithmic, linear), rest = nnls(np.stack([np.log(t), t], -1), total)
    return Growth(float(logarithmic), float(linear), float(rest**2 / max(total @ total, 1e-300)))
