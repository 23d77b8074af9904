"""The contract of an advantage and its registry."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.errors import InputError
from mtjax.registry import Registry

ADVANTAGES = Registry("advantage", requires=("__call__",))
"""Every advantage by name."""


class About(NamedTuple):
    """What is known of the n candidates of a group besides their rewards."""

    lengths: Float[np.ndarray, " n"]  # tokens of each, an end token included
    numbers: Mapping[str, Float[np.ndarray, " n"]]  # what records say of all of them, by name


class Advantage:
    """Base class of advantages: frozen dataclasses that are called with the rewards of one group.

    A reward that is not known is left out before, since it is not a 0. Numbers are float64: an advantage is computed
    once per candidate on the host. One with `needs_about = True` takes an `About` as second argument.
    """

    needs_about: ClassVar[bool] = False

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The advantage of each of n candidates, n at least 2; the order of the candidates does not matter."""
        raise NotImplementedError


def checked(rewards: Float[np.ndarray, " n"], least: int = 2) -> Float[np.ndarray, " n"]:
    """The rewards in float64; InputError for fewer than `least`, or one that is not finite."""
    rewards = np.asarray(rewards, np.float64)
    if len(rewards) < least:
        raise InputError(f"a group of {len(rewards)} candidates; expected at least {least} to compare them")
    if not np.isfinite(rewards).all():
        raise InputError(f"rewards {rewards.tolist()}: expected finite numbers; leave out those that are not known")
    return rewards


def centred(rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """`r_i - mean`; exactly 0 where all rewards are equal, which rounding would prevent."""
    rewards = checked(rewards)
    return np.zeros_like(rewards) if rewards.max() == rewards.min() else rewards - rewards.mean()
