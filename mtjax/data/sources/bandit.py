"""Decisions of bandit algorithms as text: what a player saw, and which arm its teacher pulls next."""

import dataclasses
import functools
import random
import re
from collections.abc import Generator
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from mtjax.data import bandits
from mtjax.data.bandits import Bandit, Chooser, History, Play
from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES
from mtjax.data.sources.generated import Generated
from mtjax.errors import InputError
from mtjax.validation import PositiveInt


@SOURCES.register("bandit")
@dataclasses.dataclass(frozen=True, kw_only=True)
class BanditDecisions(Generated):
    """Algorithm distillation: trajectories of a bandit algorithm as text, whose next arm is the answer.

    Views of what was seen:

    - history: a line for each pull, the last reward and then the arm, such as `1=3`. Problem i is game i up to its
      last pull; with `data.task:in_context` every arm of the game is a target, and no reward is.
    - summary: pulls and mean reward of each arm. Problem i is a decision of game i, at a pull drawn at random.
    - guide: the summary with the teacher's value and bonus of each arm.

    Teachers are `ucb` (bonus `sqrt(alpha ln t / n)`, each arm once first), `thompson`, `greedy`, and for `kind=linear`
    `linucb` (identity prior). Instances: `bernoulli` has one arm of mean `0.5 + gap / 2` and others of `0.5 - gap / 2`;
    `gaussian` draws means from N(0, 1) and rewards with the deviation `noise`; `linear` draws weights on a context of
    `features` numbers, which the text shows before the decision.

    With `game`, anything that reads the text can play (docs/examples/papers/bandit_player.py), and
    `mtjax.data.bandits.regret_growth` says whether its regret grows like a logarithm, as UCB's does, or in a line.

    Source: Nie et al., "EVOLvE: Evaluating and Optimizing LLMs for Exploration", 2024 (arXiv 2410.06238), and its code:
    alpha 0.5, Bernoulli gaps of 0.5 (easy) and 0.2 (hard), 5 or 20 arms. The wording is ours and short, and contexts
    are drawn in place of MovieLens.
    """

    kind: bandits.Kind = "bernoulli"  # What rewards are.
    arms: Annotated[int, Ge(2), Le(100)] = 5  # Arms, numbered from 0.
    horizon: PositiveInt = 30  # Pulls of a game.
    teacher: Literal["ucb", "thompson", "linucb", "greedy"] = "ucb"  # Whose decisions are the answers.
    view: Literal["history", "summary", "guide"] = "history"  # What the question shows.
    gap: Annotated[float, Gt(0), Le(1)] = 0.5  # Of bernoulli: best mean less the others.
    noise: Annotated[float, Gt(0)] = 1.0  # Of gaussian and linear: deviation of the rewards.
    features: PositiveInt = 3  # Of linear: numbers of a context.
    alpha: Annotated[float, Ge(0)] = 0.5  # Of ucb and linucb: exploration.

    def check(self) -> None:
        if (self.kind == "linear") != (self.teacher == "linucb"):
            raise InputError(
                f"teacher={self.teacher!r} and kind={self.kind!r} do not go together: linucb is for linear, and the "
                "others for bernoulli and gaussian"
            )
        if self.kind == "linear" and self.view == "summary":
            raise InputError("view='summary' has no contexts, which kind='linear' is about; use history or guide")
        if self.view == "guide" and self.teacher in ("thompson", "greedy"):
            raise InputError(f"view='guide' shows values and bonuses, which teacher={self.teacher!r} has not; use ucb")

    def instance(self, number: int) -> Bandit:
        """The bandit of game `number`."""
        drawn = self.generator("instance", self.split, number)
        if self.kind == "linear":
            weights = tuple(tuple(drawn.gauss(0, 1) for _ in range(self.features)) for _ in range(self.arms))
            return Bandit("linear", (), self.noise, weights)
        if self.kind == "gaussian":
            return Bandit("gaussian", tuple(drawn.gauss(0, 1) for _ in range(self.arms)), self.noise)
        means = [0.5 - self.gap / 2] * self.arms
        means[drawn.randrange(self.arms)] += self.gap
        return Bandit("bernoulli", tuple(means), 0.0)

    def chooser(self, drawn: random.Random) -> Chooser:
        """The teacher."""
        if self.teacher == "thompson":
            return bandits.thompson(drawn)
        ours = {"ucb": bandits.ucb, "linucb": bandits.linucb}
        return bandits.greedy if self.teacher == "greedy" else functools.partial(ours[self.teacher], alpha=self.alpha)

    def game(self, number: int) -> Generator[History, int, Play]:
        """Game `number`; its rewards are drawn from the same seed for every player."""
        features = self.features if self.kind == "linear" else 0
        return bandits.game(
            self.instance(number), self.horizon, self.generator("rewards", self.split, number), features
        )

    def play(self, number: int) -> Play:
        """Game `number`, played by its teacher."""
        choose = self.chooser(self.generator("teacher", self.split, number))
        return bandits.play_all([self.game(number)], lambda seen: [choose(seen[0])])[0]

    def arm_of(self, reply: str) -> int:
        """The arm that a reply names, its first number; 0 for a reply without an arm."""
        found = re.search(r"\d+", reply)
        return int(found[0]) if found and len(found[0]) < 20 and int(found[0]) < self.arms else 0

    def question(self, history: History) -> str:
        """What a player sees before its next pull."""
        context = "".join(f"{x:.1f} " for x in history.contexts[-1]) if self.kind == "linear" else ""
        if self.view == "history":
            last = [f"{x:g}" if self.kind == "bernoulli" else f"{x:.1f}" for x in history.rewards]
            shown = ["".join(f"{x:.1f} " for x in one) for one in history.contexts]
            lines = zip(shown, ["-", *last], history.pulled, strict=False)
            return "\n".join([*(f"{x}{reward}={arm}" for x, reward, arm in lines), f"{context}{['-', *last][-1]}="])
        values, bonus = history.means(), bandits.bonuses(history, self.alpha)
        if self.kind == "linear":
            values, bonus = bandits.linear_values(history, self.alpha)
        guide = [f" {x:.2f} + {y:.2f}" if self.view == "guide" else "" for x, y in zip(values, bonus, strict=True)]
        rows = zip(history.counts, history.means(), guide, strict=True)
        lines_ = [f"{arm}: {n} x {mean:.2f}{more}" for arm, (n, mean, more) in enumerate(rows)]
        return "\n".join([*lines_, f"{context}pull {len(history.pulled) + 1} of {self.horizon}="])

    def problem(self, number: int) -> Problem:
        """The last pull of game `number`, or one of its pulls where the view is not the history."""
        played = self.play(number).history
        last = self.horizon - 1
        at = last if self.view == "history" else self.generator("pull", self.split, number).randint(0, last)
        name, arm = f"bandit[{self.seed}:{self.split}:{number}]", str(played.pulled[at])
        return Problem(name, self.question(played.until(at)), arm, (arm,), source="bandit")
