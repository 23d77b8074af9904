"""Advantages for pass@k: a candidate counts for what it adds to the chance that one of k is right."""

import dataclasses
from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from mtjax.data.advantages.base import ADVANTAGES, Advantage, checked
from mtjax.errors import InputError


def solved_by(n: int, right: int, k: int) -> float:
    """Chance that k of n candidates, drawn without replacement, hold one of the `right`: `1 - C(n-c, k) / C(n, k)`.

    >>> round(solved_by(4, 1, 2), 4)
    0.5
    """
    wrong = n - right
    return 1.0 if wrong < k else 1.0 - float(np.prod(1.0 - k / np.arange(wrong + 1, n + 1)))


def right_of(rewards: Float[np.ndarray, " n"], k: int, name: str) -> np.ndarray:
    """Which candidates are right; InputError for rewards other than two values, or fewer than k candidates."""
    rewards = checked(rewards)
    values = np.unique(rewards)
    if not ({*values.tolist()} <= {0.0, 1.0} or {*values.tolist()} <= {-1.0, 1.0}):
        raise InputError(
            f"advantage '{name}' needs rewards of 0 and 1 (or -1 and 1), got {values.tolist()[:4]}; choose "
            "data.task.advantage:pkpo for other rewards"
        )
    if len(rewards) < k:
        raise InputError(f"advantage '{name}' with k={k}: a group of {len(rewards)} candidates is too small; lower k")
    return rewards == 1


@ADVANTAGES.register("pass_at_k")
@dataclasses.dataclass(frozen=True)
class PassAtK(Advantage):
    """The analytic advantage of pass@k training: how the best of k fares, in deviations, over all subsets.

    Formula: with c of n right, `rho = 1 - C(n-c, k) / C(n, k)` and `s = sqrt(rho (1 - rho)) + 1e-6`, a right candidate
    has `(1 - rho) / s` and a wrong one `(1 - rho - C(n-c-1, k-1) / C(n-1, k-1)) / s`. The mean over the group is 0, and
    k = 1 is `grpo` with the deviation of the population. All are 0 where `c > n - k`: what is solved often enough is
    left alone. Rewards are 0 and 1, or -1 and 1.

    Source: Chen et al., "Pass@k Training for Adaptively Balancing Exploration and Exploitation of Large Reasoning
    Models", 2025 (arXiv 2508.10751).
    """

    k: Annotated[int, Ge(1)] = 4  # Candidates of which one must be right.

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        right = right_of(rewards, self.k, "pass_at_k")
        n, c, k = len(right), int(right.sum()), self.k
        if c in (0, n) or c > n - k:
            return np.zeros(n)
        rho = solved_by(n, c, k)
        scale = np.sqrt(rho * (1 - rho)) + 1e-6
        others_wrong = 1 - solved_by(n - 1, c, k - 1) if k > 1 else 1.0  # the k - 1 beside a wrong one are wrong too
        return np.where(right, 1 - rho, 1 - rho - others_wrong) / scale


@ADVANTAGES.register("pkpo")
@dataclasses.dataclass(frozen=True)
class Pkpo(Advantage):
    """Credit for the best of k, centred (PKPO): unbiased for the expected maximum of k rewards, so for pass@k.

    Formula: `k / n E[max of i and k - 1 of the other candidates]`, minus its mean over the group. On rewards of 0 and 1
    that is `k / n` for a right candidate and `k / n (1 - C(n-1-c, k-1) / C(n-1, k-1))` for a wrong one. Any rewards.

    Source: Walder and Karkhanis, "Pass@K Policy Optimization: Solving Harder Reinforcement Learning Problems", 2025
    (arXiv 2505.15201).
    """

    k: Annotated[int, Ge(1)] = 4  # Candidates of which the best counts.

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        rewards = checked(rewards)
        n, k = len(rewards), self.k
        if n < k:
            raise InputError(f"advantage 'pkpo' with k={k}: a group of {n} candidates is too small; lower k")
        if rewards.max() == rewards.min():
            return np.zeros(n)
        order = np.argsort(rewards, kind="stable")
        ranked, credit = rewards[order], np.zeros(n)
        for rank in range(n):
            # The best of the k - 1 others, by how many of the n - 1 others are below it.
            others = np.delete(ranked, rank)
            chance = _best_is(n - 1, k - 1)
            credit[order[rank]] = np.maximum(others, ranked[rank]) @ chance if k > 1 else ranked[rank]
        credit *= k / n
        return credit - credit.mean()


def _best_is(n: int, k: int) -> Float[np.ndarray, " n"]:
    """Chance that the best of k of n ranked items is the one of rank j: `C(j, k-1) / C(n, k)`, from below."""
    chance = np.zeros(n)
    for rank in range(k - 1, n):
        below = 1 - solved_by(n, n - rank, k) if rank < n else 1.0  # all k among the first `rank`
        until = 1 - solved_by(n, n - rank - 1, k)
        chance[rank] = until - below
    return chance


@ADVANTAGES.register("top2")
@dataclasses.dataclass(frozen=True)
class Top2(Advantage):
    """Only the best candidate learns, by its lead over the second best; the advantage for the maximum of the group.

    Formula: `(r_1st - r_2nd) / (std r + 1e-6)` for the best candidate and 0 for all others, with the sample's deviation
    (verl's `grpo_passk`). 0 for all where two share the first place.

    Source: Tang et al., "Optimizing Language Models for Inference Time Objectives using Reinforcement Learning", 2025
    (arXiv 2503.19595); the deviation is verl's.
    """

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        rewards = checked(rewards)
        second, first = np.sort(rewards)[-2:]
        lead = 0.0 if first == second else (first - second) / (np.std(rewards, ddof=1) + 1e-6)
        return np.where(rewards == first, lead, 0.0)
